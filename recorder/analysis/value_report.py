"""Where forward made the first NaN or Inf, and what is dead or saturated: read off a graph alone, which may have been
saved and loaded. `recorder.analysis.not_finite` finds out; here it is put in words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recorder.analysis.dead_outputs import dead, saturated
from recorder.analysis.not_finite import LARGEST, Came, Flow, Made
from recorder.analysis.unmeasured_values import unmeasured
from recorder.graph.core import Graph, Node
from recorder.terminal import in_one_line

__all__ = ["ValueReport", "value_report"]

_MANY = 5
"""So many of a kind are listed."""

_ADVICE = "NaN, Inf, dead and saturated outputs: record with Recorder(net, values='stats')"


@dataclass(frozen=True)
class ValueReport:
    """What is wrong with the values of forward; ``str()`` is text to read.

    Attributes:
        origin: the node where forward first made a NaN or Inf; None if there is none, or if it was given.
        others: further nodes that made one, of finite inputs, in execution order.
        given: the names of values that came with a NaN or Inf which no recorded call had made.
        dead: activations that made nothing but zeros, as ReLUs do that are never above zero.
        saturated: sigmoids, tanhs and the like with hardly anything but the ends of their range.
        unknown: what the recording cannot tell, and what to do about it.
        findings: all of that in words, by heading.

    Infinities that were asked for, as those of masks are, and what was discarded before anything came of it, are no
    faults; a NaN that was asked for, and that came to something, is one.
    """

    origin: Node | None = None
    others: tuple[Node, ...] = ()
    given: tuple[str, ...] = ()
    dead: tuple[Node, ...] = ()
    saturated: tuple[Node, ...] = ()
    unknown: tuple[str, ...] = ()
    findings: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether values were measured, and nothing was found."""
        return not self.findings

    def __str__(self) -> str:
        lines: list[str] = ["no fault found in the values"] if self.ok else []
        for title, found in self.findings:
            lines += [f"{title}:", *(f"  {in_one_line(item)}" for item in found[:_MANY])]
            if len(found) > _MANY:
                lines.append(f"  … {len(found) - _MANY} more")
        return "\n".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def value_report(graph: Graph) -> ValueReport:
    """See `Graph.value_report`."""
    if graph.meta.get("values") is None and not any("stats" in value.meta for value in graph.values()):
        return ValueReport(unknown=(_ADVICE,), findings=(("cannot be told", (_ADVICE,)),))
    flow = Flow(graph)
    unknown = _not_measured(unmeasured(graph))
    if flow.unknown and not flow.made and not flow.came:
        at = flow.unknown[0].name
        unknown += (f"where it was made that the result of {at} is not finite: not all that it was given was measured",)
    silent, full = dead(graph), saturated(graph)
    first, *more = [_made_in_words(made) for made in flow.made] or [""]
    found = (
        ("first value that is not finite", (first,) if first else ()),
        ("made elsewhere, too", tuple(more)),
        ("given, and not finite", tuple(_came_in_words(came) for came in flow.came)),
        ("dead: nothing but zeros", _places(silent)),
        ("saturated: hardly anything but the ends of the range", _places(full)),
        ("cannot be told", unknown),
    )
    return ValueReport(
        origin=flow.made[0].node if flow.made else None,
        others=tuple(made.node for made in flow.made[1:]),
        given=tuple(came.value.name for came in flow.came),
        dead=silent,
        saturated=full,
        unknown=unknown,
        findings=tuple((title, items) for title, items in found if items),
    )


def _not_measured(nodes: Sequence[Node]) -> tuple[str, ...]:
    if not nodes:
        return ()
    what = f"what {_listed([node.name for node in nodes])} made"
    return (f"whether {what} is finite: it could not be measured, nor was anything that was made of it",)


def _made_in_words(made: Made) -> str:
    counts = " and ".join(f"{n} {what}" for n, what in ((made.nan, "NaN"), (made.inf, "Inf")) if n)
    return f"{_place(made.node)} made {counts} of {made.elements} elements: {_why(made)}"


def _why(made: Made) -> str:
    """What is known of the inputs: that they were finite, and what may have been too large, or zero."""
    if made.of_inf is not None:
        maker = made.of_inf.producer
        where = f", from {maker.name}" if maker is not None else ""
        return f"{made.of_inf.name} had Inf{where}, and {'NaN' if made.nan else 'Inf'} was made of it"
    if made.asked:
        return "it was asked to, by an argument that is NaN"
    inputs = [v for v in made.node.inputs if "stats" in v.meta]
    if not inputs:
        return "what it was given was finite"
    largest = max(value.meta["stats"]["largest"] for value in inputs)
    zeros = [value.name for value in inputs if value.meta["stats"]["zeros"]]
    told = [f"the largest that it was given was {largest:.5g}"]
    if zeros and not _overflowed(made, largest):
        told.append(f"{_listed(zeros)} had zeros")
    if _overflowed(made, largest):
        told.append(f"{made.value.dtype} holds no more than {LARGEST[made.value.dtype]:.5g}")
    return f"its inputs were finite; {', and '.join(told)}"


def _overflowed(made: Made, largest: float) -> bool:
    """Whether an Inf is what was too large. Of a small number or a zero, it may be made otherwise."""
    limit = LARGEST.get(made.value.dtype)
    return bool(limit and made.inf and largest > 1 and made.node.op_type.rstrip("_") not in _POLES)


_POLES = frozenset({
    "div", "divide", "log", "log10", "log1p", "log2", "rdiv", "reciprocal", "rsqrt", "rtruediv", "true_divide",
    "truediv",
})  # fmt: skip


def _came_in_words(came: Came) -> str:
    value, what = came.value, "NaN" if came.content == "nan" else "Inf"
    if value.producer is not None:
        return f"{value.name} had {what} when {_place(came.node)} was given it, and had none when it was made"
    kind = value.role if value.role in ("input", "parameter", "buffer") else f"{value.role}, made unseen,"
    return f"{kind} {value.name} came with {what}, seen first in {_place(came.node)}"


def _places(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(map(_place, nodes))


def _place(node: Node) -> str:
    """A node with the module that it is in, and where it was called, if that was recorded."""
    told = []
    if node.kind != "module" and node.scope is not None:
        told.append(f"in {node.scope.op_type} {node.scope.name}")
    elif node.kind == "module":
        told.append(node.op_type)
    if "source" in node.meta:
        told.append(str(node.meta["source"]))
    return f"{node.name} ({', '.join(told)})" if told else node.name


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
