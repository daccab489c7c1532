"""What a call costs, in figures: what `Graph.metrics` says of each node and scope.

They are flat dicts of numbers:

    parameters        elements of its parameters; of one that is used twice, once
    trainable         those of them that require a gradient
    parameter_bytes   what the parameters take
    activation_bytes  what its results take, by their shapes; nothing for views and for what is written in place
    flops             floating-point operations of forward: see `recorder.analysis.flops`
    macs              multiply-adds: half of them, since every formula counts a multiply-add as two
    flops_backward    those of backward, where a gradient came back; without what a checkpoint computes again
    flops_unknown     how many operations have no formula, where there are any
    flops_backward_unknown    of how many others backward is not known, or not all of it
    unseen            how many calls did more than was recorded of them, where there are any: `torch.func.jvp` computes
                      tangents, and without functions, what a module of one's own computes by itself is not recorded
    saved_bytes       what autograd keeps for backward because of it and of nothing before it, each storage once and
                      whole, without parameters and buffers: where it was recorded
    saved_unknown     how many autograd nodes do not say what they keep, where there are any
    time_share        of the wall-clock time of all forward calls, from 0 to 1
    backward_share    of that of backward
    gradient_norm     the 2-norm of all gradients that arrived at it, where it was measured and is finite

A scope has the sums over everything inside it, shared parameters counted once, and each repetition of what is folded.
What is not known is not there: no ``flops`` where there is no formula, and a zero where there is nothing to compute; a
sum over such operations, or over calls that did more, is a lower bound. An operation without parameters has no figures
for them. Without torch there are no figures of FLOPs.

Nothing is computed before somebody looks, since most graphs are only drawn; and then all of a graph's at once. How
people read them, `recorder.figures` says.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from recorder.analysis.gradient_flow import backward_reached
from recorder.analysis.op_kinds import allocates
from recorder.analysis.work import work_of
from recorder.figures import arrived_norm
from recorder.graph.core import Graph, Metrics, Node, Scope, Value
from recorder.limits import LARGEST

if TYPE_CHECKING:
    pass

__all__ = ["Measured", "add_metrics", "bytes_of", "elements", "measured", "metrics_of"]


@dataclass(frozen=True)
class Measured:
    """The metrics of a graph: of its nodes and scopes by their `id`, and of all of it. ``unknown`` counts operations
    without a formula by their type; None without torch.
    """

    of: dict[int, Metrics]
    total: Metrics
    unknown: Counter[str] | None


def add_metrics(graph: Graph) -> None:
    """Have what is written of a graph, its JSON and its ONNX, hold the metrics: as ``meta["metrics"]`` of nodes and
    scopes, in the document alone. Nothing is computed before one is written.

    Graphs of a `Recorder` have it so already, and so do views of a graph that has it.
    """
    graph._metrics_in_documents = True


def metrics_of(graph: Graph) -> dict[Node | Scope, Metrics]:
    """The metrics of every node and scope. In a view, a place has those of what it shows, and none if that is no single
    call; autograd nodes have none.
    """
    places: Iterable[Node | Scope] = chain(graph.nodes, graph.scopes)
    if graph._shown is not None:
        shown, whole = graph._shown.places, graph._shown.graph.metrics
        return {place: whole.get(shown[place], {}) if place in shown else {} for place in places}
    found = measured(graph).of
    return {place: {} if isinstance(place, Node) and place.kind == "autograd" else found[id(place)] for place in places}


def measured(graph: Graph) -> Measured:
    """The metrics of a graph, which is not changed. Of nodes that stand for more than one call, as in a view, those
    that they have already.
    """
    parameters_of, backward = _parameters(graph), backward_reached(graph)
    work = work_of(graph, backward)
    times = [_sum(place.duration_ns for place in _outermost(graph)), _sum(p.backward_ns for p in _outermost(graph))]
    # What is computed here may be what is asked for: then a graph that is no view knows nothing yet.
    known = graph.metrics if graph._shown is not None or "metrics" in vars(graph) else {}
    memory = "memory" in graph.meta
    of: dict[int, Metrics] = {}
    sums: dict[int, _Sum] = defaultdict(_Sum)
    whole = _Sum()
    whole.parameters |= {id(v): v for v in graph.initializers if v.role == "parameter"}
    for node in graph.nodes:
        told = known.get(node) or None if "collapsed" in node.meta else None
        parameters = parameters_of(node)
        if told is None:
            told = _of_parameters(parameters.values())
            if "collapsed" not in node.meta:  # of one that is, what is inside is not known
                told["activation_bytes"] = sum(map(bytes_of, node.outputs)) if allocates(node) else 0
                if any(value.meta.get("tangents") for value in node.outputs):
                    told["unseen"] = 1
            told |= {} if work is None else work.of(node, parameters)
            told |= _observed(node, *times)
            told |= _saved(node) if memory else {}
            told = _possible(told)
        of[id(node)] = told
        often = _repeats(node)
        for scope in () if node.scope is None else node.scope.ancestors():
            sums[id(scope)].add(node, told, parameters, often)
            often *= _repeats(scope)
        whole.add(node, told, parameters, often)
    told_of: tuple[str, ...] = _SUMMED[:2] if work is None else _SUMMED if backward else _SUMMED[:5]
    if memory:
        told_of += _SAVED
        _add_saved(graph, sums, whole)
    if graph.meta.get("functions") is False:
        _add_unseen(graph, sums, whole)
    for scope in graph.scopes:
        of[id(scope)] = sums[id(scope)].figures(told_of) | _possible(_observed(scope, *times))
        if sums[id(scope)].folded:  # each repetition may have parameters of its own, and the first one's are here
            of[id(scope)] |= {name: n for name, n in known.get(scope, {}).items() if name in _OF_PARAMETERS}
    return Measured(of, whole.figures(told_of), None if work is None else whole.unknown)


_SUMMED = ("activation_bytes", "unseen", "flops", "macs", "flops_unknown", "flops_backward", "flops_backward_unknown")
_CALL_PARTS_ALONE = ("torch.nn.modules.container.Sequential",)
"""Scopes whose own forward computes nothing."""

_OF_PARAMETERS = ("parameters", "trainable", "parameter_bytes")
_SAVED = ("saved_bytes", "saved_unknown")


def _saved(place: Node | Scope) -> Metrics:
    """What was kept for backward by it alone."""
    return {"saved_bytes": place.meta.get("saved", 0), "saved_unknown": place.meta.get("saved_unknown", 0)}


def _add_saved(graph: Graph, sums: "dict[int, _Sum]", whole: "_Sum") -> None:
    """What was kept for what scopes did unseen."""
    for scope in graph.scopes:
        often = 1
        for around in scope.ancestors():
            for name, size in _saved(scope).items():
                sums[id(around)].figures_of[name] += often * size  # type: ignore[assignment]
            often *= _repeats(around)
        for name, size in _saved(scope).items():
            whole.figures_of[name] += often * size  # type: ignore[assignment]


def _add_unseen(graph: Graph, sums: "dict[int, _Sum]", whole: "_Sum") -> None:
    """What a module of one's own computed between its parts is not there, where functions were not recorded. Its own
    parameters are its all the same, as those of a leaf are.
    """
    of_their_own: dict[str, dict[int, Value]] = defaultdict(dict)
    for value in graph.initializers:
        if value.role == "parameter":
            of_their_own[value.name.rpartition(".")[0]][id(value)] = value
    for scope in graph.scopes:
        own = of_their_own.get(scope.fqn, {})
        often = 0 if scope.target in _CALL_PARTS_ALONE else 1
        for around in scope.ancestors():
            sums[id(around)].parameters |= own
            sums[id(around)].figures_of["unseen"] += often
            often *= _repeats(around)
        whole.figures_of["unseen"] += often


def _repeats(place: Node | Scope) -> int:
    """How often what a folded place shows was there."""
    repeats = place.meta.get("repeats", 1)
    return repeats if isinstance(repeats, int) else 1


@dataclass(slots=True)
class _Sum:
    """Over everything in a scope, each repetition of what is folded too. ``folded`` says whether there is any."""

    parameters: dict[int, Value] = field(default_factory=dict)
    figures_of: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    folded: bool = False

    def add(self, node: Node, metrics: Metrics, parameters: dict[int, Value], often: int) -> None:
        self.parameters |= parameters
        self.folded = self.folded or often > 1
        for name in (*_SUMMED, *_SAVED):
            self.figures_of[name] += often * metrics.get(name, 0)  # type: ignore[assignment]
        if unknown := metrics.get("flops_unknown"):
            self.unknown[node.op_type] += often * int(unknown)

    def figures(self, names: Sequence[str]) -> Metrics:
        figures = _of_parameters(self.parameters.values()) | {name: self.figures_of[name] for name in names}
        for name in ("flops_backward_unknown", "saved_unknown", "unseen"):
            if not figures.get(name):
                figures.pop(name, None)
        if (self.unknown or self.figures_of["unseen"]) and not (
            figures.get("flops") or figures.get("flops_backward")
        ):  # a zero would say too much
            figures = {name: n for name, n in figures.items() if name not in ("flops", "macs", "flops_backward")}
        return _possible(figures)


def _possible(figures: Metrics) -> Metrics:
    """Without what no run does, and no JSON number holds: a file from a stranger may tell of any shape."""
    return {name: figure for name, figure in figures.items() if figure <= LARGEST}


def _of_parameters(parameters: Iterable[Value]) -> Metrics:
    parameters = list(parameters)
    if not parameters:
        return {}
    return {
        "parameters": sum(map(elements, parameters)),
        "trainable": sum(elements(v) for v in parameters if v.requires_grad),
        "parameter_bytes": sum(map(bytes_of, parameters)),
    }


def _parameters(graph: Graph) -> Callable[[Node], dict[int, Value]]:
    """What parameters a node uses: those among its inputs. Of a module that has children and recorded nothing inside,
    as one that ran as a single fused kernel, those under its name.
    """

    @cache
    def beneath() -> dict[str, dict[int, Value]]:
        found: dict[str, dict[int, Value]] = defaultdict(dict)
        for value in graph.initializers:
            if value.role == "parameter":
                parts = value.name.split(".")[:-1]
                for length in range(len(parts) + 1):
                    found[".".join(parts[:length])][id(value)] = value
        return found

    def of(node: Node) -> dict[int, Value]:
        own = {id(v): v for v in node.inputs if v.role == "parameter"}
        if own or node.fqn is None or "collapsed" in node.meta:
            return own
        return beneath().get(node.fqn, {})

    return of


# Sizes and times


def elements(value: Value) -> int:
    """How many elements a tensor has; 0 where its shape does not tell, or tells what no tensor can have."""
    total = 1
    for size in value.shape:
        total *= size
        if not 0 < total <= LARGEST:
            return 0
    return total


def bytes_of(value: Value) -> int:
    """What a tensor's elements take, as if it had memory of its own, all examples of a mapped one; 0 for a dtype that
    nobody knows.
    """
    return elements(value) * _bytes_of_one(value.dtype) * int(value.meta.get("examples", 1))


@lru_cache(256)
def _bytes_of_one(dtype: str) -> int:
    """By the bits in its name: float32, bfloat16, uint8, float8_e4m3fn, qint8."""
    if dtype in ("bool", "quint4x2", "quint2x4"):
        return 1
    bits = re.search("[0-9]{1,3}", dtype)
    return int(bits[0]) // 8 if bits else 0


def _outermost(graph: Graph) -> Iterator[Node | Scope]:
    yield from (scope for scope in graph.scopes if scope.parent is None)
    yield from (node for node in graph.nodes if node.scope is None)


def _sum(durations: Iterable[int | None]) -> int:
    return sum(duration for duration in durations if duration is not None)


def _observed(place: Node | Scope, forward: int, backward: int) -> Metrics:
    shares: Metrics = {}
    # A file may claim more than any clock counts, and a share of more than a float holds.
    if place.duration_ns is not None and forward > 0 and abs(place.duration_ns) <= LARGEST:
        shares["time_share"] = place.duration_ns / forward
    if place.backward_ns is not None and backward > 0 and abs(place.backward_ns) <= LARGEST:
        shares["backward_share"] = place.backward_ns / backward
    norm = arrived_norm(place)
    if norm is not None and math.isfinite(norm):
        shares["gradient_norm"] = norm
    return shares
