"""What is wrong with the gradients of a recording: read off a graph alone, which may have been saved and loaded.

Everything comes from ``meta["backward"]``, which `recorder.assembly.backward_marks` describes, and from dataflow.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from recorder.analysis.registration import Unregistered, with_registration
from recorder.graph.core import Graph, Node, Value
from recorder.terminal import in_one_line, printable

__all__ = ["FACTOR", "GradientReport", "LayerGradient", "MissingGradient", "NotFinite", "gradient_report"]

FACTOR = 1000.0
"""By so much a gradient has to shrink to have vanished, or to grow to have exploded."""

_DETACHES = frozenset({"detach", "detach_", "data", "item", "tolist", "numpy"})


@dataclass(frozen=True)
class MissingGradient:
    """A parameter that received no gradient. ``where`` is the node that ``reason`` is about, if there is one."""

    parameter: str
    reason: str
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.parameter}: {self.reason}"


@dataclass(frozen=True)
class NotFinite:
    """The first place in backward order with a gradient that is not finite.

    ``call`` is the module call; ``born`` says where in regard to it: ``"inside"`` if what arrived was finite and what
    left, or the gradient of ``parameter``, was not; ``"before"`` if it arrived so, as far as one can tell, and then
    ``suspects`` are the nodes between this call and those whose gradients were seen. ``nan`` and ``inf`` count
    elements, ``order`` what backward had reached before.
    """

    call: str
    born: str
    nan: int
    inf: int
    parameter: str | None = None
    suspects: tuple[str, ...] = ()
    order: int = 0

    def __str__(self) -> str:
        counts = " and ".join(f"{n} {what}" for n, what in ((self.nan, "NaN"), (self.inf, "Inf")) if n)
        if self.parameter is not None:
            seen = "" if self.born == "inside" else ", the first that was seen: recomputed calls tell less"
            return f"in {self.call}: the gradient of {self.parameter} has {counts}{seen}"
        if self.born == "inside":
            return f"born in {self.call}: what left it has {counts}, and what arrived was finite"
        between = ", ".join(self.suspects)
        why = f"born in {between}" if between else "begun so, or made so by a hook or by what was not recorded"
        return f"arrived at {self.call} with {counts}: {why}"


@dataclass(frozen=True)
class LayerGradient:
    """A module call whose gradient vanished or exploded: its norm, and that divided by the norm that it began with."""

    call: str
    norm: float
    ratio: float

    def __str__(self) -> str:
        return f"{self.call}: norm {self.norm:.3g}, {self.ratio:.3g} of what backward began with"


@dataclass(frozen=True)
class GradientReport:
    """What is wrong with the gradients of a recording; ``str()`` is text to read.

    Attributes:
        missing: parameters without a gradient, in the order of the model.
        not_finite: where the first NaN or Inf was seen, in backward order; None if there was none.
        vanishing: module calls, in backward order, with norm <= start / 1000.
        exploding: module calls, in backward order, with norm >= start * 1000.
        unknown: what the recording cannot tell, and what to do about it.
        unregistered: parameters that were used inside the recorded models, and that no optimizer over theirs sees.

    The norm of a call is the 2-norm over all gradients that arrived at it. ``start`` is that of the call that the same
    backward pass reached first with more than one element: the head of the network, not its loss. It is not the median
    over the calls: where most layers have vanished, the median has too.
    """

    missing: tuple[MissingGradient, ...] = ()
    not_finite: NotFinite | None = None
    vanishing: tuple[LayerGradient, ...] = ()
    exploding: tuple[LayerGradient, ...] = ()
    unknown: tuple[str, ...] = ()
    unregistered: tuple[Unregistered, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found. What is ``unknown`` may be wrong all the same."""
        return not (self.missing or self.not_finite or self.vanishing or self.exploding or self.unregistered)

    def __str__(self) -> str:
        parts: list[str] = []
        for title, found in (
            ("parameters without a gradient", self.missing),
            ("parameters that are not registered", self.unregistered),
            ("first gradient that is not finite", (self.not_finite,) if self.not_finite else ()),
            ("vanishing gradients", self.vanishing),
            ("exploding gradients", self.exploding),
            ("cannot be told", self.unknown),
        ):
            if found:
                parts += [f"{title}:", *(f"  {in_one_line(str(item))}" for item in found)]
        return printable("\n".join(["no fault found in the gradients", *parts] if self.ok else parts))


def gradient_report(graph: Graph) -> GradientReport:
    """See `Graph.gradient_report`."""
    return with_registration(_report(graph), graph)


def _report(graph: Graph) -> GradientReport:
    calls = sorted((n for n in graph.nodes if "backward" in n.meta), key=lambda n: _told(n)["order"])
    scopes = [scope for scope in graph.scopes if "backward" in scope.meta]
    parameters = [v for v in graph.initializers if v.role == "parameter"]
    if not calls and not scopes and not any("backward" in p.meta for p in parameters):
        return GradientReport(unknown=("no backward pass was recorded: call backward inside the Recorder's block",))
    recorded = graph.meta.get("gradients") in ("on", "stats")
    detached = _Ends(graph.nodes, lambda node: node.op_type in _DETACHES)
    lost = _Ends(graph.nodes, lambda node: any(v.requires_grad for v in node.inputs))
    missing: list[MissingGradient] = []
    doubtful: list[str] = []
    for parameter in parameters:
        if "backward" in parameter.meta:
            continue
        reached = [node for node, _ in parameter.uses if "backward" in node.meta]
        if recorded or not parameter.requires_grad or not (reached or _out_of_view(parameter)):
            missing.append(_why_missing(parameter, reached, detached, lost))
        elif not reached:
            doubtful.append(parameter.name)
    unknown = []
    if not recorded:
        unknown.append("whether a gradient reached each parameter of a call: record with gradients='on' or 'stats'")
    if doubtful:
        unknown.append(f"whether a gradient reached {', '.join(doubtful)} at all: the same")
    unseen = [node for node in graph.nodes if _unseen(node)]
    for graded, why in (
        (False, "checkpoint(use_reentrant=True) hides it"),
        (True, "what it returned is a part of a tensor, and was written in place, or is hidden otherwise"),
    ):
        names = [node.name for node in unseen if any(v.requires_grad for v in node.outputs) is graded]
        if names:
            unknown.append(f"what arrived at {', '.join(names)}: {why}")
    told: list[Node | Value] = [*calls, *parameters]
    if not any("norm" in caption for item in told for caption in _captions(item)):
        unknown.append("NaN, Inf, vanishing and exploding gradients: record with gradients='stats'")
        return GradientReport(tuple(missing), unknown=tuple(unknown))
    vanishing, exploding = _shrunk_and_grown(calls)
    return GradientReport(tuple(missing), _first_not_finite(calls, parameters), vanishing, exploding, tuple(unknown))


def _told(item: Any) -> dict[str, Any]:
    told: dict[str, Any] = item.meta["backward"]
    return told


def _captions(item: Node | Value, *which: str) -> Iterator[dict[str, Any]]:
    told = item.meta.get("backward", {})
    for name in which or ("arrived", "left"):
        yield from (caption for caption in told.get(name, ()) if caption is not None)
    if not which and told.get("gradient") is not None:
        yield told["gradient"]


def _unseen(node: Node) -> bool:
    """Whether backward came by a call without being seen. Where its outputs require no gradient, it runs a recomputed
    call instead.
    """
    return node.kind == "module" and "backward" not in node.meta and any(
        "backward" in v.meta and not any("backward" in user.meta for user, _ in v.uses)
        for v in node.inputs
        if v.role == "parameter"
    )  # fmt: skip


# Parameters without a gradient


def _out_of_view(parameter: Value) -> bool:
    """Whether backward may have come by a use unseen: of a function, or of a call without gradients, which may be one
    that is recomputed in backward.
    """
    return any(node.kind != "module" or not any(v.requires_grad for v in node.outputs) for node, _ in parameter.uses)


def _why_missing(parameter: Value, reached: list[Node], detached: "_Ends", lost: "_Ends") -> MissingGradient:
    name = parameter.name
    if not parameter.requires_grad:
        return MissingGradient(name, "requires_grad is off")
    if not parameter.uses:
        return MissingGradient(name, "not used in any recorded call")
    if reached:
        where = reached[0].name
        return MissingGradient(
            name, f"backward went through {where} and accumulated nothing here, as torch.autograd.grad does", where
        )
    node = detached.nearest(parameter)
    if node is not None:
        return MissingGradient(name, f"detached by {node.name}", node.name)
    node = lost.nearest(parameter)
    if node is not None:
        return MissingGradient(name, f"used in {node.name}, whose result requires no gradient", node.name)
    user = parameter.uses[0][0].name
    return MissingGradient(
        name, f"used in {user}, and backward did not come by: what it computed is not in the loss", user
    )


class _Ends:
    """The nodes whose results require no gradient, so that backward does not come by, and of which something holds; for
    each node the nearest one that its results go into.
    """

    def __init__(self, nodes: Sequence[Node], holds: Callable[[Node], bool]) -> None:
        self._nearest: dict[int, tuple[int, Node]] = {}  # with the number of steps to it
        for node in reversed(nodes):
            going_on = [v for v in node.outputs if v.requires_grad]
            if going_on:
                found = self._of(user for v in going_on for user, _ in v.uses)
                if found is not None:
                    self._nearest[id(node)] = (found[0] + 1, found[1])
            elif holds(node):
                self._nearest[id(node)] = (0, node)

    def nearest(self, value: Value) -> Node | None:
        """The nearest one that a value goes into."""
        found = self._of(user for user, _ in value.uses)
        return None if found is None else found[1]

    def _of(self, users: Iterable[Node]) -> tuple[int, Node] | None:
        near = (self._nearest[id(user)] for user in users if id(user) in self._nearest)
        return min(near, key=lambda found: found[0], default=None)


# Gradients that are not finite


def _first_not_finite(calls: list[Node], parameters: list[Value]) -> NotFinite | None:
    found: list[NotFinite] = []
    for node in calls:
        order = _told(node)["order"]
        nan, inf = _count(node, "arrived")
        if nan or inf:
            found.append(NotFinite(node.name, "before", nan, inf, None, _between(node), order))
            break
        nan, inf = _count(node, "left")
        if nan or inf:
            found.append(NotFinite(node.name, "inside", nan, inf, None, (), order))
            break
    for parameter in parameters:
        told = parameter.meta.get("backward")
        if told is None or told["gradient"] is None:
            continue
        nan, inf = told["gradient"].get("nan", 0), told["gradient"].get("inf", 0)
        if nan or inf:
            user = parameter.uses[-1][0] if parameter.uses else None  # backward comes by the last one first
            born = "before" if user is not None and user.kind == "module" and "backward" not in user.meta else "inside"
            name = parameter.name if user is None else user.name
            found.append(NotFinite(name, born, nan, inf, parameter.name, (), told["order"]))
    return min(found, key=lambda one: one.order, default=None)


def _count(node: Node, which: str) -> tuple[int, int]:
    captions = list(_captions(node, which))
    return sum(c.get("nan", 0) for c in captions), sum(c.get("inf", 0) for c in captions)


def _between(node: Node) -> tuple[str, ...]:
    """The nodes that use what a call returned, up to the next ones whose gradients were seen, in backward order."""
    between: list[Node] = []
    seen: set[int] = set()
    pending = node.successors()
    for after in pending:
        if id(after) not in seen and "backward" not in after.meta:
            seen.add(id(after))
            between.append(after)
            pending += after.successors()
    return tuple(after.name for after in reversed(between))


# Gradients that shrink and grow


def _shrunk_and_grown(calls: list[Node]) -> tuple[tuple[LayerGradient, ...], tuple[LayerGradient, ...]]:
    starts: dict[int, float] = {}
    vanishing, exploding = [], []
    for node in calls:
        captions = [caption for caption in _captions(node, "arrived") if "norm" in caption]
        if not captions or any(caption["nan"] or caption["inf"] for caption in captions):
            continue
        if all(size == 1 for caption in captions for size in caption["shape"]):
            continue
        norm = math.hypot(*(caption["norm"] for caption in captions))
        start = starts.setdefault(_told(node)["pass"], norm)
        if start > 0 and norm <= start / FACTOR:
            vanishing.append(LayerGradient(node.name, norm, norm / start))
        elif start > 0 and norm >= start * FACTOR:
            exploding.append(LayerGradient(node.name, norm, norm / start))
    return tuple(vanishing), tuple(exploding)
