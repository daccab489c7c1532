"""What is wrong with the gradients of a recording: read off a graph alone, which may have been saved and loaded.

Everything comes from ``meta["backward"]``, which `recorder.assembly.backward_marks` describes, and from dataflow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recorder.analysis.gradient_places import captions, places, told_of
from recorder.analysis.gradient_sizes import LayerGradient, shrunk_and_grown
from recorder.analysis.missing_gradients import MissingGradient, missing_gradients
from recorder.analysis.nonfinite_gradients import NotFinite, first_not_finite
from recorder.analysis.registration import Unregistered, with_registration
from recorder.graph.core import Graph, Node
from recorder.terminal import in_one_line, printable

__all__ = ["GradientReport", "LayerGradient", "MissingGradient", "NotFinite", "gradient_report"]


@dataclass(frozen=True)
class GradientReport:
    """What is wrong with the gradients of a recording; ``str()`` is text to read, in which long lists are cut short.

    Attributes:
        missing: parameters without a gradient, in the order of the model.
        not_finite: where the first NaN or Inf was seen, in backward order; None if there was none.
        vanishing: calls, in backward order, with norm <= start / 1000, if what was computed before
            them gets no more by another way.
        exploding: calls, in backward order, with norm >= start * 1000.
        unknown: what the recording cannot tell, and what to do about it.
        unregistered: parameters that were used inside the recorded models, and that no optimizer over theirs sees.

    The norm of a call is the 2-norm over all gradients that arrived at it. ``start`` is that of the head of the
    network, not of its loss: of the calls with more than one element that the same backward pass reached by no other,
    the largest. It is not the median over the calls: where most layers have vanished, the median has too. Where it is
    0, all have vanished: the loss does not change with what the network returned.
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
                parts += [f"{title}:", *(f"  {line}" for line in _at_a_glance(found))]
        return printable("\n".join(["no fault found in the gradients", *parts] if self.ok else parts))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


_MANY = 10
"""So many lines of a kind are read at a glance."""


def _at_a_glance(found: Sequence[object]) -> list[str]:
    """What was found, a line each; of many, the first ones and the last, which of what vanished is where it ended."""
    if len(found) <= _MANY:
        return [in_one_line(str(item)) for item in found]
    first = [in_one_line(str(item)) for item in found[: _MANY - 2]]
    return [*first, f"… {len(found) - len(first) - 1:,} more …", in_one_line(str(found[-1]))]


def gradient_report(graph: Graph) -> GradientReport:
    """See `Graph.gradient_report`."""
    return with_registration(_report(graph), graph)


def _report(graph: Graph) -> GradientReport:
    reached = places(graph)
    parameters = [v for v in graph.initializers if v.role == "parameter"]
    if not any(told_of(item) for item in (*reached, *graph.scopes, *parameters)):
        return GradientReport(unknown=("no backward pass was recorded: call backward inside the Recorder's block",))
    recorded = graph.meta.get("gradients") in ("on", "stats", "digest")
    missing, doubtful = missing_gradients(graph, parameters, recorded)
    unknown = []
    if not recorded:
        unknown.append("whether a gradient reached each parameter of a call: record with gradients='on' or 'stats'")
    if doubtful:
        unknown.append(f"whether a gradient reached {', '.join(doubtful)} at all: the same")
    unknown += _out_of_sight(graph.nodes)
    if not any("norm" in caption for item in (*reached, *parameters) for caption in captions(item)):
        unknown.append("NaN, Inf, vanishing and exploding gradients: record with gradients='stats'")
        return GradientReport(missing, unknown=tuple(unknown))
    vanishing, exploding = shrunk_and_grown(graph, reached)
    return GradientReport(missing, first_not_finite(graph, reached, parameters), vanishing, exploding, tuple(unknown))


def _out_of_sight(nodes: Sequence[Node]) -> list[str]:
    unseen = [node for node in nodes if _unseen(node)]
    found = []
    for graded, why in (
        (False, "checkpoint(use_reentrant=True) hides it"),
        (True, "what it returned is a part of a tensor, and was written in place, or is hidden otherwise"),
    ):
        names = [node.name for node in unseen if any(v.requires_grad for v in node.outputs) is graded]
        if names:
            found.append(f"what arrived at {', '.join(names)}: {why}")
    return found


def _unseen(node: Node) -> bool:
    """Whether backward came by a call without being seen. Where its outputs require no gradient, it runs a recomputed
    call instead.
    """
    return node.kind == "module" and not told_of(node) and any(
        told_of(v) and not any(told_of(user) for user, _ in v.uses)
        for v in node.inputs
        if v.role == "parameter"
    )  # fmt: skip
