"""The program that lays graphs out: found, and run. For those who write drawings in a language of their own, too.

    layout = json.loads(graphviz("json0", timeout=60).run(text, "-Tjson0"))

It is Graphviz's ``dot``, or graphviz-pure where that is not installed: two programs with one command line, which differ
in the formats that they write. These names are as stable as `recorder`'s.
"""

import os
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

from recorder import ExportError

__all__ = ["Graphviz", "graphviz"]

INSTALL = 'install Graphviz (apt install graphviz), or pip install "graph-recorder[graphviz]"'

PURE = "graphviz-pure"


def graphviz(format: str, timeout: float) -> "Graphviz":
    """The program that is installed.

    Args:
        format: what it is to write, ``svg``, ``pdf``, ``json``, …
        timeout: seconds that all its runs may take together, from now on.

    Raises:
        ExportError: there is none that writes the format; says what to install.
    """
    if found := shutil.which("dot"):
        return Graphviz(found, timeout)
    # Next to this Python too: an environment that is used without being activated is not on PATH.
    pure = shutil.which(PURE) or shutil.which(PURE, path=sysconfig.get_path("scripts"))
    if pure is None:
        raise ExportError(f"no program to draw {format} with: there is no 'dot' on PATH; {INSTALL}")
    if format in ("pdf", "eps"):
        raise ExportError(
            f"{PURE} writes no {format}, and there is no 'dot' on PATH: apt install graphviz, or take svg"
        )
    return Graphviz(pure, timeout)


class Graphviz:
    """A program and the time it has. ``is_pure`` tells that it is graphviz-pure, which draws nothing that is laid out
    already.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path, self._timeout, self._end = path, timeout, time.monotonic() + timeout
        self.is_pure = Path(path).stem == PURE

    def run(self, text: str, *arguments: str) -> bytes:
        """What it writes of a text in DOT.

        Raises:
            ExportError: it could not be started, failed, has no time left, or would have shrunk a picture to what can
                be drawn; says what to do.
        """
        try:
            done = subprocess.run(
                [self.path, *arguments],
                input=text.encode(),
                capture_output=True,
                timeout=max(0.0, self._end - time.monotonic()),
                env={**os.environ, "SOURCE_DATE_EPOCH": "0"},  # newer ones write the time of writing into a PDF
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ExportError(
                f"{self.path} has not finished after {self._timeout:g} seconds; draw less (depth=1), lay out fast "
                "(fast=True), or give it more time (timeout=...)"
            ) from None
        except OSError as error:
            raise ExportError(f"{self.path} could not be started: {error}") from error
        if done.returncode or not done.stdout:
            complaint = done.stderr.decode(errors="replace").strip() or f"it ended with status {done.returncode}"
            raise ExportError(f"{self.path} could not draw the graph: {complaint}")
        if b"too large for" in done.stderr:  # it has scaled the picture down, so that nobody can read it
            raise ExportError(
                "the picture has more than the 32,767 pixels that can be drawn one way; take svg or pdf, fewer pixels "
                "an inch (dpi=...), or draw less (depth=1)"
            )
        return done.stdout
