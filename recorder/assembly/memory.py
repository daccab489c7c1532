"""What memory did, put on the graph, in a pass of its own over the streams that tell of it.

    graph.meta["memory"]   timeline   a row for each moment at which it changed: the time in ns, the place, the phase
                                      (``forward``, ``backward``, ``optimizer``), and bytes by kind, in the order of
                                      `KINDS`
                           kept       each storage that autograd kept in forward and that is no parameter or buffer:
                                      ``bytes``, ``by``: the places whose backward needs it, the one first that kept
                                      it first, ``value``, the name of a value in it if one is known, and
                                      ``estimated`` if nobody saw it
                           optimizers the classes of those that stepped
                           allocator  what torch's says of each device: ``bytes`` and ``peak``, before and after
    place.meta["saved"]    the bytes that it kept first, if it is a node, or unseen in it, if it is a scope
    place.meta["saved_unknown"]    how many autograd nodes do not say what they keep

A storage counts as kept from the call that autograd keeps it for until it is gone, or until the backward through the
last of these calls has ended. It then is temporary again, if somebody holds it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from recorder.events.memory import Allocated, Freed, Kept, OptimizerStep, Storage
from recorder.events.stream import EventStream
from recorder.events.types import Enter, Grad, Leave, Op, ParameterGrad
from recorder.graph.core import Graph, Node, Scope, Value

__all__ = ["KINDS", "LATER", "put_memory"]


def _later(_: Any) -> None:
    """Nothing is done with it in the first pass."""


LATER: dict[type, Callable[[Any], None]] = dict.fromkeys((Storage, Freed, Kept, OptimizerStep, Allocated), _later)
"""What events of memory are given to before the pass here."""

KINDS = ("parameters", "buffers", "gradients", "saved", "temporary", "optimizer")
"""Of bytes, in the order of a row of the timeline."""

_KIND_OF = {"parameter": "parameters", "buffer": "buffers", "gradient": "gradients", "optimizer": "optimizer"}

_Place = Node | Scope


def put_memory(graph: Graph, stream: EventStream, called: Mapping[int, object], values: Mapping[int, Value]) -> None:
    """Write it. ``called`` are nodes and scopes by the number of the call, ``values`` the first of each tensor."""
    if not stream.header.meta.get("memory"):
        return
    places = {call: place for call, place in called.items() if isinstance(place, Node | Scope)}
    states = {event.storage for event in stream if type(event) is Storage and event.kind == "optimizer"}
    began = next((event.start_ns for event in stream if isinstance(event, Enter | Op)), 0)
    memory = _Memory(places, values, states, began)
    for event in stream:
        memory.take(event)
    graph.meta["memory"] = memory.told()
    for place, size in memory.saved.items():
        place.meta["saved"] = size
    for place, unknown in memory.unknown.items():
        place.meta["saved_unknown"] = unknown


class _Stored:
    """A storage that is alive."""

    __slots__ = ("by", "bytes", "estimated", "kind", "value")

    def __init__(self, size: int, kind: str, value: str | None, estimated: bool) -> None:
        self.estimated = estimated
        self.bytes = size
        self.kind = kind
        self.value = value
        self.by: dict[int | None, None] = {}  # the calls that it is kept for


class _Memory:
    """The state of the pass."""

    def __init__(self, places: Mapping[int, _Place], values: Mapping[int, Value], states: set[int], began: int) -> None:
        self.saved: Counter[_Place] = Counter()
        self.unknown: Counter[_Place] = Counter()
        self._places, self._values = places, values
        self._states = states  # of optimizers, which say so only when they have stepped
        self._stored: dict[int, _Stored] = {}
        self._now: Counter[str] = Counter()
        self._kept: list[_Stored] = []
        self._left: set[int | None] = set()
        self._open: list[int] = []
        self._place: _Place | None = None
        self._phase, self._ns = "forward", began
        self._rows: list[list[Any]] = []
        self._highest: dict[str, int] | None = None
        self._optimizers: dict[str, None] = {}
        self._allocator: dict[str, list[dict[str, int]]] = {}

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is Storage:
            self._storage(event)
        elif kind is Freed:
            stored = self._stored.pop(event.storage, None)
            if stored is not None:
                self._now[stored.kind] -= stored.bytes
                self._note()
        elif kind is Kept:
            self._keep(event)
        elif kind is Allocated:
            said = {"bytes": event.bytes, "peak": event.peak}
            self._allocator.setdefault(event.device, []).append(said)
        else:
            self._flush()
            self._move(event)

    def told(self) -> dict[str, Any]:
        """What stands in the graph's ``meta``."""
        self._flush()
        if self._phase == "backward":
            self._release()
            self._flush()
        kept = [
            {"bytes": stored.bytes, "by": [self._name(call) for call in stored.by]}
            | ({} if stored.value is None else {"value": stored.value})
            | ({"estimated": True} if stored.estimated else {})
            for stored in self._kept
        ]
        return {
            "timeline": self._rows, "kept": kept, "optimizers": list(self._optimizers), "allocator": self._allocator
        }  # fmt: skip

    # Storages

    def _storage(self, event: Storage) -> None:
        kind = "optimizer" if event.storage in self._states else _KIND_OF.get(event.kind, "temporary")
        stored = self._stored.get(event.storage)
        if stored is None:
            value = None if event.tensor is None else self._values.get(event.tensor)
            name = None if value is None else value.name
            stored = self._stored[event.storage] = _Stored(event.bytes, kind, name, event.estimated)
        else:
            self._now[stored.kind] -= stored.bytes
            stored.bytes = event.bytes
            stored.kind = kind if stored.kind != "saved" or kind != "temporary" else "saved"
        self._now[stored.kind] += stored.bytes
        self._note()

    def _keep(self, event: Kept) -> None:
        place = None if event.call is None else self._places.get(event.call)
        if event.unknown and place is not None:
            self.unknown[place] += event.unknown
        for number in event.storages:
            stored = self._stored.get(number)
            if stored is None or stored.kind not in ("temporary", "saved"):
                continue
            if not stored.by:
                self._kept.append(stored)
                if place is not None:
                    self.saved[place] += stored.bytes
            stored.by.setdefault(event.call)
            if stored.kind == "temporary":
                self._turn(stored, "saved")
        self._note()

    def _turn(self, stored: _Stored, kind: str) -> None:
        self._now[stored.kind] -= stored.bytes
        stored.kind = kind
        self._now[kind] += stored.bytes

    def _release(self) -> None:
        """A backward is over: what is kept for nothing but what it went through is no longer kept."""
        for number, stored in list(self._stored.items()):
            if stored.estimated:
                self._now[stored.kind] -= stored.bytes
                del self._stored[number]
            elif stored.kind == "saved" and self._left.issuperset(stored.by):
                self._turn(stored, "temporary")
        self._left = set()
        self._note()

    # Moments

    def _note(self) -> None:
        """Something changed. Of several changes at one moment, the highest counts, the last of them."""
        if self._highest is None or sum(self._now.values()) >= sum(self._highest.values()):
            self._highest = dict(self._now)

    def _flush(self) -> None:
        highest, self._highest = self._highest, None
        if highest is None:
            return
        name = None if self._place is None else self._place.name
        for bytes_of in (highest, self._now):
            row = [self._ns, name, self._phase, *(bytes_of.get(kind, 0) for kind in KINDS)]
            if not self._rows or self._rows[-1][2:] != row[2:]:
                self._rows.append(row)

    def _move(self, event: Any) -> None:
        """Say where and when what follows happens."""
        if isinstance(event, Grad):
            self._phase, self._ns, self._place = "backward", event.ns, self._places.get(event.call, self._place)
            self._left.add(event.call)
        elif isinstance(event, ParameterGrad):
            self._phase, self._ns = "backward", event.ns
        elif isinstance(event, OptimizerStep):
            self._release()
            self._phase, self._ns, self._place = "optimizer" if event.phase == "begin" else "forward", event.ns, None
            self._optimizers.setdefault(event.optimizer)
        elif isinstance(event, Enter):
            self._open.append(event.call)
            self._forward(event.start_ns, event.call, event.recomputed)
        elif isinstance(event, Leave):
            if event.call in self._open:
                del self._open[self._open.index(event.call) :]
            self._forward(event.stop_ns, event.call, False)
        elif isinstance(event, Op):
            around = self._open[-1] if self._open else None
            self._forward(event.stop_ns, around if event.call is None else event.call, event.recomputed)

    def _forward(self, ns: int, call: int | None, recomputed: bool) -> None:
        if self._phase == "backward" and not recomputed and call in self._places:
            self._release()
        if self._phase != "backward" or call in self._places:
            self._phase = "forward"
            self._place = None if call is None else self._places.get(call, self._place)
        self._ns = ns

    def _name(self, call: int | None) -> str | None:
        place = None if call is None else self._places.get(call)
        return None if place is None else place.name
