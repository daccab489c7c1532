"""Record what a PyTorch model really did, without changing what it does, and hand it to any exporter.

    from recorder import Recorder

    with Recorder(net) as r:
        criterion(net(x), y).backward()
    r.save("net.svg")

Importing this package does not import torch, so that graphs are drawn where torch is not needed: what records loads it
on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recorder.analysis.gradient_flow import backward_reached
from recorder.analysis.metrics import add_metrics
from recorder.assembly.assembler import assemble
from recorder.errors import (
    ExportError,
    FormatError,
    GraphError,
    OptionError,
    PluginError,
    RecorderError,
    StreamError,
)
from recorder.events.stream import EventStream
from recorder.files import utf8
from recorder.graph.core import Edge, Graph, Node, Scope, Value
from recorder.graph.document import dumps
from recorder.graph.holdings import remarks
from recorder.graph.links import Link
from recorder.graph.schema import json_schema
from recorder.plugins.annotate import annotate
from recorder.plugins.exporting import export, formats, save
from recorder.plugins.hookspecs import Exporter, Register, Sink, hookimpl
from recorder.views.accumulation import without_accumulation
from recorder.views.collapse import collapse, collapse_to_fit, expand
from recorder.views.fold import fold, unfold
from recorder.views.hide import hide
from recorder.views.repeats import Repetition, repetitions
from recorder.views.room import ROOM, readable
from recorder.views.select import select

if TYPE_CHECKING:
    from recorder.analysis.gradient_report import gradient_report as gradient_report
    from recorder.analysis.memory_report import memory_report as memory_report
    from recorder.analysis.metrics import metrics_of as metrics_of
    from recorder.analysis.value_report import value_report as value_report
    from recorder.autograd.graph import autograd_graph
    from recorder.autograd.make_dot import make_dot
    from recorder.graph.architecture import architecture
    from recorder.graph.document import equal as equal
    from recorder.graph.lint import problems_in as problems_in
    from recorder.notebook import mimebundle as mimebundle
    from recorder.recorder import Recorder
    from recorder.relations.desync import Desync, Finding, desync
    from recorder.relations.diff import Change, Diff, diff
    from recorder.relations.divergence import Divergence, diverge
    from recorder.relations.ranks import merge
    from recorder.relations.recordings import load, loads

__version__ = "0.1.0"

__all__ = [
    "ROOM",
    "Change",
    "Desync",
    "Diff",
    "Divergence",
    "Edge",
    "EventStream",
    "ExportError",
    "Exporter",
    "Finding",
    "FormatError",
    "Graph",
    "GraphError",
    "Link",
    "Node",
    "OptionError",
    "PluginError",
    "Recorder",
    "RecorderError",
    "Register",
    "Repetition",
    "Scope",
    "Sink",
    "StreamError",
    "Value",
    "add_metrics",
    "annotate",
    "architecture",
    "assemble",
    "autograd_graph",
    "backward_reached",
    "collapse",
    "collapse_to_fit",
    "desync",
    "diff",
    "diverge",
    "dumps",
    "expand",
    "export",
    "fold",
    "formats",
    "hide",
    "hookimpl",
    "json_schema",
    "load",
    "loads",
    "make_dot",
    "merge",
    "readable",
    "remarks",
    "repetitions",
    "save",
    "select",
    "unfold",
    "utf8",
    "without_accumulation",
]


_LAZY = {
    "Change": "recorder.relations.diff",
    "Desync": "recorder.relations.desync",
    "Diff": "recorder.relations.diff",
    "Divergence": "recorder.relations.divergence",
    "Finding": "recorder.relations.desync",
    "Recorder": "recorder.recorder",
    "architecture": "recorder.graph.architecture",
    "autograd_graph": "recorder.autograd.graph",
    "desync": "recorder.relations.desync",
    "diff": "recorder.relations.diff",
    "diverge": "recorder.relations.divergence",
    "load": "recorder.relations.recordings",
    "loads": "recorder.relations.recordings",
    "make_dot": "recorder.autograd.make_dot",
    "merge": "recorder.relations.ranks",
}
"""What needs torch, or not every recording needs, and where it stands."""

_FROM_BELOW = {
    "equal": "recorder.graph.document",
    "gradient_report": "recorder.analysis.gradient_report",
    "memory_report": "recorder.analysis.memory_report",
    "metrics_of": "recorder.analysis.metrics",
    "mimebundle": "recorder.notebook",
    "problems_in": "recorder.graph.lint",
    "value_report": "recorder.analysis.value_report",
}
"""Not public: what a `Graph` asks for that stands above it. Imports go down only, so it asks here, by name."""


def __getattr__(name: str) -> Any:
    place = _LAZY.get(name) or _FROM_BELOW.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(place), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "events", "figures", "testing", *(name for name in globals() if name.startswith("__"))])
