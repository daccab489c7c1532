"""What a graph's ``meta`` says in our own name, checked before anybody works with it.

``meta`` may hold anything that JSON holds, and belongs to plugins. A few keys are ours, and views, reports and drawings
take what stands there for what `recorder.assembly.backward_marks` and `recorder.views` write, and in a document `Graph`
for its metrics. A document can say something else.
"""

from typing import Annotated, Any, Literal

import msgspec

from recorder.errors import GraphError
from recorder.graph.core import Graph
from recorder.limits import Int64, Size

__all__ = ["check_told", "timeless"]

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Metrics = dict[str, _Count | Annotated[float, msgspec.Meta(ge=0)]]
_Repeats = Annotated[int, msgspec.Meta(ge=2, le=2**63 - 1)]
_Names = Annotated[list[str], msgspec.Meta(min_length=2)]
_Ends = tuple[str, str]


class _Digest(msgspec.Struct):
    """``meta["digest"]`` of a value, and ``"digest"`` of a gradient."""

    sample: list[float | None]
    sketch: list[float]
    bits: Int64


class _Caption(msgspec.Struct):
    """One gradient. If it was measured, all of the last five are there."""

    shape: list[Size]
    dtype: str
    norm: float | msgspec.UnsetType = msgspec.UNSET
    largest: float | msgspec.UnsetType = msgspec.UNSET
    nan: Int64 | msgspec.UnsetType = msgspec.UNSET
    inf: Int64 | msgspec.UnsetType = msgspec.UNSET
    zeros: float | msgspec.UnsetType = msgspec.UNSET

    digest: _Digest | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        measured = {getattr(self, name) is msgspec.UNSET for name in ("norm", "largest", "nan", "inf", "zeros")}
        if len(measured) > 1:
            raise ValueError("of norm, largest, nan, inf and zeros some are missing")


class _Stats(msgspec.Struct):
    """``meta["stats"]`` of a value."""

    norm: float
    largest: float
    mean: float
    nan: Int64
    inf: Int64
    zeros: float


class _Divergence(msgspec.Struct):
    """``meta["divergence"]`` of a node or scope."""

    given: float
    made: float
    added: float
    expected: float
    found: bool
    first: bool


_Given = dict[Annotated[str, msgspec.Meta(pattern="^[0-9]{1,9}$")], Literal["finite", "nan", "inf", "unknown"]]
"""``meta["given"]`` of a node: what its inputs were that their values do not say."""


class _AtCall(msgspec.Struct):
    """``meta["backward"]`` of a node or scope."""

    passes: Int64
    number: Int64 = msgspec.field(name="pass")
    order: Int64
    arrived: list[_Caption | None]
    left: list[_Caption | None] | msgspec.UnsetType = msgspec.UNSET
    several: bool = False
    computed: list[list[bool] | None] | msgspec.UnsetType = msgspec.UNSET
    differentiated: bool = False
    parameters: list[str] = []


class _AtParameter(msgspec.Struct):
    """``meta["backward"]`` of a value."""

    passes: Int64
    number: Int64 = msgspec.field(name="pass")
    order: Int64
    gradient: _Caption | None


class _Start(_Caption, kw_only=True):
    """An item of a graph's ``meta["backward_starts"]``."""

    value: str
    order: Int64


_Name = str | None
_Phase = Literal["forward", "backward", "optimizer"]


class _Kept(msgspec.Struct):
    """An item of ``kept`` in a graph's ``meta["memory"]``."""

    bytes: _Count
    by: list[_Name]
    value: str | msgspec.UnsetType = msgspec.UNSET
    estimated: bool = False


class _Memory(msgspec.Struct):
    """``meta["memory"]`` of a graph: see `recorder.assembly.memory`."""

    timeline: list[tuple[int, _Name, _Phase, _Count, _Count, _Count, _Count, _Count, _Count]]
    kept: list[_Kept]
    optimizers: list[str]
    allocator: dict[str, Annotated[list[dict[Literal["bytes", "peak"], _Count]], msgspec.Meta(min_length=1)]]


def timeless(meta: dict[str, Any]) -> dict[str, Any]:
    """A graph's ``meta`` without measured times: every moment of ``memory`` is at 0."""
    try:
        memory = msgspec.convert(meta.get("memory"), _Memory)
    except msgspec.ValidationError:  # none, or somebody else's
        return meta
    return {**meta, "memory": {**meta["memory"], "timeline": [[0, *row[1:]] for row in memory.timeline]}}


def check_told(graph: Graph) -> None:
    """Check what a graph from outside says in ``meta`` under the keys ``backward``, ``stats``, ``digest``, ``given``,
    ``divergence``, ``examples``, ``tangents``, ``metrics``, ``collapsed``, ``between``, ``source``, ``hook`` and those
    of `fold`.

    Raises:
        GraphError: it is not what this package writes there; says whose and where.
    """
    problems: list[str] = []

    def check(kind: str, name: str, meta: dict[str, Any], key: str, expected: Any) -> None:
        if key in meta:
            try:
                msgspec.convert(meta[key], expected)
            except ValueError as error:  # msgspec's own are, too
                problems.append(f"""meta["{key}"] of {kind} {name!r} is not what this package writes there: {error}""")

    def check_repetition(kind: str, name: str, meta: dict[str, Any]) -> None:
        check(kind, name, meta, "repeats", _Repeats)
        check(kind, name, meta, "repeated", _Names)
        if ("repeats" in meta) != ("repeated" in meta):
            problems.append(f"""meta of {kind} {name!r} has one of "repeats" and "repeated" without the other""")

    check("graph", graph.name, graph.meta, "backward_starts", list[_Start])
    if graph.meta.get("memory") is not True:  # as a header has it
        check("graph", graph.name, graph.meta, "memory", _Memory)
    for node in graph.nodes:
        if node.meta:
            check("node", node.name, node.meta, "backward", _AtCall)
            check("node", node.name, node.meta, "collapsed", _Count)
            check("node", node.name, node.meta, "between", _Ends)
            check("node", node.name, node.meta, "metrics", _Metrics)
            check("node", node.name, node.meta, "source", str)
            check("node", node.name, node.meta, "saved", _Count)
            check("node", node.name, node.meta, "saved_unknown", _Count)
            check("node", node.name, node.meta, "hook", bool)
            check("node", node.name, node.meta, "given", _Given)
            check("node", node.name, node.meta, "divergence", _Divergence)
            check_repetition("node", node.name, node.meta)
    for scope in graph.scopes:
        if scope.meta:
            check("scope", scope.name, scope.meta, "backward", _AtCall)
            check("scope", scope.name, scope.meta, "metrics", _Metrics)
            check("scope", scope.name, scope.meta, "unseen", _Count)
            check("scope", scope.name, scope.meta, "saved", _Count)
            check("scope", scope.name, scope.meta, "saved_unknown", _Count)
            check("scope", scope.name, scope.meta, "divergence", _Divergence)
            check_repetition("scope", scope.name, scope.meta)
    for value in graph.values():
        if value.meta:
            check("value", value.name, value.meta, "backward", _AtParameter)
            check("value", value.name, value.meta, "repeats", _Repeats)
            check("value", value.name, value.meta, "stats", _Stats)
            check("value", value.name, value.meta, "digest", _Digest)
            check("value", value.name, value.meta, "examples", _Count)
            check("value", value.name, value.meta, "tangents", bool)
    if problems:
        raise GraphError(problems)
