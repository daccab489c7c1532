"""What is shown while something takes longer than a second: a line on a terminal's stderr, gone afterwards."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from recorder.terminal import in_one_line

__all__ = ["waiting"]

PATIENCE = 1.0
"""Seconds before anything is shown."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is being done, with a clock, where it takes long enough for somebody to wonder.

    Not where Python is already at its end, where stderr is no terminal, or within another one.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    console = Console(file=sys.stderr)
    shown = Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    shown.add_task(Text(in_one_line(what)).plain)
    timer = threading.Timer(PATIENCE, shown.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        shown.stop()
