"""What every exporter promises, as `recorder.testing.check_exporter` checks it."""

import hashlib
import inspect
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin
from xml.etree import ElementTree

from recorder.assembly.assembler import assemble
from recorder.errors import PluginError, RecorderError
from recorder.events.types import Grad, GradStats, TensorMeta
from recorder.files import utf8
from recorder.graph.core import Graph
from recorder.graph.document import dumps
from recorder.plugins.hookspecs import Exporter, Register, hookimpl
from recorder.plugins.manager import Option, Plugins, options_of
from recorder.testing.samples import HOSTILE_NAMES, bearing, chain, sample_graphs
from recorder.testing.stream_builder import StreamBuilder

__all__ = ["check_exporter", "digests"]

NAMES = (*HOSTILE_NAMES, "half of a character: \ud800")
"""The second half is missing, and UTF-8 cannot hold the first one alone."""

READERS: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "xml": ElementTree.fromstring}
"""By the last part of a media type: ``application/json``, ``image/svg+xml``."""


def check_exporter(exporter: Exporter) -> None:
    """Check what every exporter promises: for the first test of yours.

    That it can be registered. That it is documented, it and each option, which has a type and a default. That it writes
    every sample, also with each option, and names that have broken other formats: as JSON or XML that can be read, if
    that is its media type, and without changing the graph. That the same graph always gives the same text or bytes, in
    another process too. And that it works where torch is not installed.

    Args:
        exporter: an object of a class that another process can import: of a module, not of a function.

    Raises:
        AssertionError: a promise is not kept; says which one, and on which graph.
        RecorderError: it cannot be registered, or failed. Of a `PluginError` the cause is its own error.
    """
    plugins = Plugins(entries=())
    plugins.register(_Offering(exporter), "checked")
    _check_documentation(exporter)
    for name, graph in _graphs().items():
        before = dumps(graph)
        try:
            result = plugins.export(exporter, graph, {})
        except RecorderError:
            for bad in NAMES if name == "names" else ():  # which of them? its graph is in the traceback
                plugins.export(exporter, bearing(bad), {})
            raise
        _promise(exporter, dumps(graph) == before, f"changes the graph {name!r}")
        _promise(exporter, plugins.export(exporter, graph, {}) == result, f"writes {name!r} anew each time")
        _check_syntax(exporter, name, _as_bytes(result))
    for option in options_of(exporter):
        for value in _values(option):
            try:
                plugins.export(exporter, sample_graphs()["residual"], {option.name: value})
            except PluginError:
                raise
            except RecorderError:
                pass  # it says what it would need
    _check_elsewhere(exporter)


class _Offering:
    """A plugin with one exporter."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter

    @hookimpl
    def recorder_register_exporters(self, register: Register) -> None:
        register(self.exporter)


def _promise(exporter: Exporter, kept: bool, broken: str) -> None:
    if not kept:
        raise AssertionError(f"the exporter {exporter.name!r} {broken}")


def _graphs() -> dict[str, Graph]:
    more = {"trained": _trained(), "chain": chain(200, blocks=4), "names": bearing(*NAMES)}
    return sample_graphs() | more


def _trained() -> Graph:
    """With a backward pass, in which a gradient was not finite."""
    build = StreamBuilder("Trained")
    x = build.tensor((1, 4))
    with build.call("", "Trained", [x]) as net:
        h = build.op("fc", "Linear", [x], (1, 4), weight=(4, 4))
        net.outputs = [build.op("act", "Tanh", [h], (1, 4))]
    meta = TensorMeta((1, 4), "float32", "cpu")
    measured = GradStats(norm=0.5, largest=0.25, nan=1, zeros=0.5)
    for ns, (call, phase) in enumerate([(2, "arrive"), (0, "arrive"), (2, "leave"), (1, "arrive"), (1, "leave")]):
        build.append(Grad(call, phase, 100_000 + ns, 0, (meta, None), (measured, None)))  # type: ignore[arg-type]
    return assemble(build.stream)


def _as_bytes(result: str | bytes) -> bytes:
    """What `recorder.save` writes."""
    return utf8(result) if isinstance(result, str) else result


def _check_documentation(exporter: Exporter) -> None:
    told = inspect.getdoc(exporter)
    _promise(exporter, bool(told), "has no docstring to tell what it is")
    for option in options_of(exporter):
        documented = re.search(rf"\b{option.name}\b", f"{told}\n{inspect.getdoc(exporter.export)}")
        _promise(exporter, documented is not None, f"has an option {option.name!r} that no docstring tells of")
        _promise(exporter, option.type is not Any, f"has an option {option.name!r} without a type")
        _promise(exporter, option.default is not inspect.Parameter.empty, f"has no default for {option.name!r}")


def _check_syntax(exporter: Exporter, graph: str, data: bytes) -> None:
    kind = re.split(r"[/+]", exporter.media_type.partition(";")[0])[-1]
    try:
        READERS.get(kind, bytes)(data)
    except (ValueError, SyntaxError) as error:
        raise AssertionError(f"the exporter {exporter.name!r} writes {graph!r} as broken {kind}: {error}") from error


def _values(option: Option) -> list[Any]:
    """What can be tried of an option."""
    if get_origin(option.type) is Literal:
        return list(get_args(option.type))
    return [True, False] if option.type is bool else [option.default]


def digests(exporter: Exporter) -> list[str]:
    """Everything that is exported, in a few words for each."""
    return [
        f"{name} {hashlib.sha256(_as_bytes(exporter.export(graph))).hexdigest()}" for name, graph in _graphs().items()
    ]


ELSEWHERE = """
import pickle, sys
sys.modules["torch"] = None  # importing it raises
from recorder.testing.exporter_checks import digests
print(*digests(pickle.load(sys.stdin.buffer)), sep="\\n")
"""


def _check_elsewhere(exporter: Exporter) -> None:
    """Whether it gives the same in a process without torch, in which sets have another order."""
    try:
        pickled = pickle.dumps(exporter)
    except Exception as error:
        raise AssertionError(f"the exporter {exporter.name!r} cannot be handed to another process: {error}") from error
    environment = {**os.environ, "PYTHONHASHSEED": "42", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], input=pickled, env=environment, capture_output=True)
    complaint = (done.stderr.decode(errors="replace").splitlines() or [""])[-1]
    _promise(exporter, done.returncode == 0, f"fails in a process without torch: {complaint}")
    differing = set(done.stdout.decode().splitlines()) ^ set(digests(exporter))
    graphs = ", ".join(sorted({line.partition(" ")[0] for line in differing}))
    _promise(exporter, not differing, f"writes other text or bytes in another process: {graphs}")
