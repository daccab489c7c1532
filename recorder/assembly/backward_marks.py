"""What backward did, put on the graph: times, and in ``meta["backward"]`` what does not differ from run to run.

Of a call, a node or a scope:

    passes      in how many backward passes it was reached
    pass        the pass told of, from 0: the first in which a gradient was not finite, else the last
    order       how many things backward had reached before it
    arrived     the gradients with regard to its outputs, those of its last autograd node first; null where none is.
                Those who used a tensor view before it was written in place, and after, have one each
    left        the gradients that its last autograd node handed on: to its inputs and, for most layers, to its
                parameters too. Of a scope, those that the call inside handed on by which backward left it. Missing
                where that was not seen, and of a scope that backward leaves by several calls
    several     true where it has more autograd nodes, of which nothing is in ``left``
    computed    of a node that several passes came to: for each, whether it computed each of the gradients that
                ``left`` has; null where that was not seen
    differentiated  true where a gradient requires a gradient itself
    parameters  the names of the parameters of its own that received a gradient; missing where that was not recorded

Of functions it is there where gradients were asked for, with ``gradients="on"``, ``"stats"`` or ``"digest"``.

A gradient is ``{"shape", "dtype"}``, and ``"norm"``, ``"largest"``, ``"nan"``, ``"inf"``, ``"zeros"`` if it was
measured (see `recorder.events.GradStats`), with ``"digest"`` if that was asked for. Of a parameter that received one:
``passes``, ``pass``, ``order``, and ``gradient``, the parameter's ``grad`` right afterwards.

``graph.meta["backward_starts"]`` has what backward was called on, where gradients were measured: each a gradient's
description, with ``value``, the tensor's name, and ``order``.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from recorder.assembly.backward_spans import Called, Spans
from recorder.assembly.value_marks import in_meta
from recorder.assembly.ways_out import ways_out
from recorder.events.types import BackwardStart, Grad, GradStats, Module, ParameterGrad, TensorMeta
from recorder.graph.core import Graph, Node, Scope, Value

__all__ = ["Reached"]

Caption = dict[str, Any]
"""A gradient as JSON: see above."""


@dataclass(slots=True)
class _Visit:
    """A place in one backward pass. ``inside`` are the calls in it that were reached. The rest is None if only these
    were: ``arrived``, and what ``left``; and the time from the one to the other, if nothing is known of the numbers of
    autograd nodes.
    """

    order: int
    arrived: list[Caption | None] = field(default_factory=list)
    left: list[Caption | None] | None = None
    first: int | None = None
    last: int | None = None
    differentiated: bool = False
    inside: list[int] = field(default_factory=list)


class Reached:
    """Collects the events of backward; `put` writes what they say.

    Attributes:
        calls: the module of every call, None of a function's, and the number of autograd's next node when it began.
    """

    def __init__(self) -> None:
        self.calls: dict[int, tuple[Module | None, int | None]] = {}
        self._count = 0
        self._visits: dict[int, dict[int, _Visit]] = {}
        self._called: dict[int, Called] = {}
        self._spans = Spans(self._called)
        self._parameters: dict[int, dict[int, tuple[int, Caption | None]]] = {}
        self._starts: list[tuple[Value, Caption]] = []
        self._places: dict[int, Node | Scope] = {}
        self._ways_out: Mapping[int, set[int]] | None = None

    def modules(self) -> dict[int, Module]:
        """The modules of calls, but those of functions."""
        return {call: module for call, (module, _) in self.calls.items() if module is not None}

    def grad(self, event: Grad) -> None:
        """A gradient at a call."""
        if event.call not in self._called:
            module, began = self.calls[event.call]
            self._called[event.call] = Called(began, "" if module is None else module.target)
        self._spans.see(event)
        visit = self._visits.setdefault(event.call, {}).setdefault(event.backward, _Visit(self._count))
        captions = [
            _caption(meta, event.stats[i] if i < len(event.stats) else None) for i, meta in enumerate(event.gradients)
        ]
        visit.differentiated = visit.differentiated or any(
            meta is not None and meta.requires_grad for meta in event.gradients
        )
        visit.first = event.ns if visit.first is None else min(visit.first, event.ns)
        if event.phase == "arrive":
            visit.arrived += captions
        else:
            visit.last = event.ns if visit.last is None else max(visit.last, event.ns)
            visit.left = [*(visit.left or ()), *captions]
        self._count += 1

    def parameter(self, event: ParameterGrad, known: Container[int]) -> None:
        """A gradient of a parameter. ``known`` are the tensors that there were until then.

        Raises:
            KeyError: it is none of them.
        """
        if event.tensor not in known:
            raise KeyError(f"tensor {event.tensor}")
        passes = self._parameters.setdefault(event.tensor, {})
        passes[event.backward] = (self._count, _caption(event.gradient, event.stats))
        self._count += 1

    def start(self, event: BackwardStart, value: Value) -> None:
        """Backward is called on a value."""
        caption = _caption(event.meta, event.stats)
        assert caption is not None
        self._starts.append((value, caption | {"order": self._count}))
        self._count += 1

    def put(self, graph: Graph, called: Mapping[int, object], parameters: Mapping[int, Value]) -> None:
        """Write times and meta into the nodes and scopes of a graph that are among ``called``, by call, and into its
        ``parameters``, by tensor number.
        """
        self._places = {call: place for call, place in called.items() if isinstance(place, Node | Scope)}
        self._ways_out = ways_out(graph.nodes) if self._visits else None
        with_parameters = graph.meta.get("gradients") in ("on", "stats", "digest")
        for call, passes in self._with_those_around().items():
            place = self._places[call]
            place.backward_ns = self._time(call, place, passes)
            lefts = {number: self._left(call, place, number, visit) for number, visit in passes.items()}
            number = _told(passes, {n: [*visit.arrived, *(lefts[n] or ())] for n, visit in passes.items()})
            visit, left = passes[number], lefts[number]
            told: dict[str, Any] = {
                "passes": len(passes), "pass": number, "order": visit.order, "arrived": list(visit.arrived)
            }  # fmt: skip
            if left is not None:
                told["left"] = list(left)
            if call in self._spans.several and isinstance(place, Node):
                told["several"] = True
            if len(passes) > 1 and isinstance(place, Node):
                told["computed"] = [
                    None if left is None else [gradient is not None for gradient in left]
                    for _, left in sorted(lefts.items())
                ]
            if any(visit.differentiated for visit in passes.values()):
                told["differentiated"] = True
            own = self.calls[call][0]
            if with_parameters and own is not None:
                told["parameters"] = [member.name for member in own.parameters if member.tensor in self._parameters]
            place.meta["backward"] = told
        for tensor, value in parameters.items():
            accumulated = self._parameters.get(tensor)
            if accumulated:
                number = _told(accumulated, {n: [caption] for n, (_, caption) in accumulated.items()})
                order, caption = accumulated[number]
                value.meta["backward"] = {
                    "passes": len(accumulated), "pass": number, "order": order, "gradient": caption
                }  # fmt: skip
        if self._starts:
            graph.meta["backward_starts"] = [{"value": value.name, **caption} for value, caption in self._starts]

    def _with_those_around(self) -> dict[int, dict[int, _Visit]]:
        """The visits of each call, and of the scopes around it."""
        places = self._places
        visits = {call: dict(passes) for call, passes in self._visits.items() if call in places}
        scopes = {id(place): call for call, place in places.items() if isinstance(place, Scope)}
        for call, passes in self._visits.items():
            if call not in places:
                continue
            place = places[call]
            scope = place.scope if isinstance(place, Node) else place.parent
            around = () if scope is None else [scopes[id(one)] for one in scope.ancestors() if id(one) in scopes]
            for number, visit in passes.items():
                for outer in around:
                    its = visits.setdefault(outer, {}).setdefault(number, _Visit(visit.order))
                    its.order = min(its.order, visit.order)
                    its.inside.append(call)
        return visits

    def _time(self, call: int, place: Node | Scope, passes: Mapping[int, _Visit]) -> int | None:
        """Of all passes; None if it is not known of each."""
        total = 0
        for number, visit in passes.items():
            if self.calls[call][1] is not None:
                span = self._spans.time(call, number, visit.inside)
            elif isinstance(place, Scope) or visit.first is None or visit.last is None:
                span = None
            else:  # an older recording
                span = visit.last - visit.first
            if span is None:
                return None
            total += span
        return total

    def _left(self, call: int, place: Node | Scope, number: int, visit: _Visit) -> list[Caption | None] | None:
        """What left it in a pass."""
        spans = self._spans
        if not spans.came(call, number):
            return None
        if spans.handed_on(call, number):
            return None if spans.time(call, number, visit.inside) is None else visit.arrived
        if isinstance(place, Node):
            return visit.left
        last = spans.left_by(call, number)
        if last is None or self._ways_out is None or not self._ways_out[id(place)] <= {id(self._places[last])}:
            return None
        return self._visits[last][number].left


def _caption(meta: TensorMeta | None, stats: GradStats | None) -> Caption | None:
    if meta is None:
        return None
    caption: Caption = {"shape": list(meta.shape), "dtype": meta.dtype}
    if stats is not None:
        caption |= {
            "norm": stats.norm, "largest": stats.largest, "nan": stats.nan, "inf": stats.inf, "zeros": stats.zeros
        }  # fmt: skip
        if stats.digest is not None:
            caption["digest"] = in_meta(stats.digest)
    return caption


def _told(passes: Mapping[int, object], captions: Mapping[int, list[Caption | None]]) -> int:
    """The pass to tell of."""
    for number in sorted(passes):
        if any(caption is not None and (caption.get("nan") or caption.get("inf")) for caption in captions[number]):
            return number
    return max(passes)
