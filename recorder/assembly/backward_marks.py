"""What backward did, put on the graph: times, and in ``meta["backward"]`` what does not differ from run to run.

Of a module call, a node or a scope:

    passes      in how many backward passes it was reached
    pass        the pass told of, from 0: the first in which a gradient was not finite, else the last
    order       how many things backward had reached before it
    arrived     the gradients with regard to its outputs, those of its last autograd node first; null where none is.
                Those who used a tensor view before it was written in place, and after, have one each
    left        the gradients that its last autograd node handed on: to its inputs and, for most layers, to its
                parameters too. Of a scope, what left the call inside that was left last
    parameters  the names of the parameters of its own that received a gradient; missing where that was not recorded

A gradient is ``{"shape", "dtype"}``, and ``"norm"``, ``"largest"``, ``"nan"``, ``"inf"``, ``"zeros"`` if it was
measured (see `recorder.events.GradStats`). Of a parameter that received one: ``passes``, ``pass``, ``order``, and
``gradient``, the parameter's ``grad`` right afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recorder.events.types import Grad, GradStats, Module, ParameterGrad, TensorMeta
from recorder.graph.core import Node, Scope, Value

__all__ = ["Reached"]

Caption = dict[str, Any]
"""A gradient as JSON: see above."""


@dataclass(slots=True)
class _Visit:
    """One call in one backward pass. ``first`` and ``last`` in nanoseconds, ``last`` None if nothing was seen to leave;
    ``left_order`` tells who was left last.
    """

    order: int
    first: int
    last: int | None = None
    arrived: list[Caption | None] = field(default_factory=list)
    left: list[Caption | None] = field(default_factory=list)
    left_order: int = -1

    def absorb(self, inner: "_Visit") -> None:
        """What happened to a call inside happened to the one around it."""
        self.order = min(self.order, inner.order)
        self.first = min(self.first, inner.first)
        if inner.last is not None:
            self.last = inner.last if self.last is None else max(self.last, inner.last)
        if inner.left_order > self.left_order:
            self.left, self.left_order = inner.left, inner.left_order


class Reached:
    """Collects the events of backward; `put` writes what they say."""

    def __init__(self) -> None:
        self._count = 0
        self._calls: dict[int, dict[int, _Visit]] = {}
        self._parameters: dict[int, dict[int, tuple[int, Caption | None]]] = {}

    def grad(self, event: Grad) -> None:
        """A gradient at a module call."""
        passes = self._calls.setdefault(event.call, {})
        visit = passes.get(event.backward)
        if visit is None:
            visit = passes[event.backward] = _Visit(self._count, event.ns)
        captions = [
            _caption(meta, event.stats[i] if i < len(event.stats) else None) for i, meta in enumerate(event.gradients)
        ]
        visit.first = min(visit.first, event.ns)
        if event.phase == "arrive":
            visit.arrived += captions
        else:
            visit.last = event.ns if visit.last is None else max(visit.last, event.ns)
            visit.left += captions
            visit.left_order = self._count
        self._count += 1

    def parameter(self, event: ParameterGrad) -> None:
        """A gradient of a parameter."""
        passes = self._parameters.setdefault(event.tensor, {})
        passes[event.backward] = (self._count, _caption(event.gradient, event.stats))
        self._count += 1

    def put(
        self,
        called: Mapping[int, object],
        module_of: Mapping[int, Module],
        parameters: Mapping[int, Value],
        with_parameters: bool,
    ) -> None:
        """Write times and meta into the nodes and scopes among ``called``, by call, and into ``parameters``, by tensor
        number. ``with_parameters`` says that gradients of parameters were recorded.
        """
        visits = self._with_those_around(called)
        for call, place in called.items():
            passes = visits.get(id(place))
            if not isinstance(place, Node | Scope) or not passes:
                continue
            place.backward_ns = _total(passes)
            number = _told(passes, {n: [*visit.arrived, *visit.left] for n, visit in passes.items()})
            visit = passes[number]
            told: dict[str, Any] = {
                "passes": len(passes),
                "pass": number,
                "order": visit.order,
                "arrived": list(visit.arrived),
                "left": list(visit.left),
            }
            if with_parameters:
                own = module_of[call].parameters
                told["parameters"] = [member.name for member in own if member.tensor in self._parameters]
            place.meta["backward"] = told
        for tensor, value in parameters.items():
            accumulated = self._parameters.get(tensor)
            if accumulated:
                number = _told(accumulated, {n: [caption] for n, (_, caption) in accumulated.items()})
                order, caption = accumulated[number]
                value.meta["backward"] = {
                    "passes": len(accumulated), "pass": number, "order": order, "gradient": caption
                }  # fmt: skip

    def _with_those_around(self, called: Mapping[int, object]) -> dict[int, dict[int, _Visit]]:
        """The visits of each place, by its id: what was inside a scope counts for the scope."""
        visits: dict[int, dict[int, _Visit]] = {}
        for call, passes in self._calls.items():
            place = called.get(call)
            if isinstance(place, Node | Scope):
                for number, visit in passes.items():
                    mine = visits.setdefault(id(place), {}).setdefault(number, visit)
                    mine.arrived = visit.arrived
                    mine.absorb(visit)
                    scope = place.scope if isinstance(place, Node) else place.parent
                    for around in scope.ancestors() if scope is not None else ():
                        its = visits.setdefault(id(around), {}).setdefault(number, _Visit(visit.order, visit.first))
                        its.absorb(visit)
        return visits


def _caption(meta: TensorMeta | None, stats: GradStats | None) -> Caption | None:
    if meta is None:
        return None
    caption: Caption = {"shape": list(meta.shape), "dtype": meta.dtype}
    if stats is not None:
        caption |= {
            "norm": stats.norm, "largest": stats.largest, "nan": stats.nan, "inf": stats.inf, "zeros": stats.zeros
        }  # fmt: skip
    return caption


def _told(passes: Mapping[int, object], captions: Mapping[int, list[Caption | None]]) -> int:
    """The pass to tell of."""
    for number in sorted(passes):
        if any(caption is not None and (caption.get("nan") or caption.get("inf")) for caption in captions[number]):
            return number
    return max(passes)


def _total(passes: Mapping[int, _Visit]) -> int | None:
    spans = [visit.last - visit.first for visit in passes.values() if visit.last is not None]
    return sum(spans) if spans else None
