"""Parts of a recording: the events of each outermost call, cut out of a long stream while it grows or afterwards."""

from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Any

from recorder.events.memory import Freed, Kept, Storage
from recorder.events.memory_parts import Inheritance
from recorder.events.ranks import Carried, Collective, Group, RankSummary
from recorder.events.types import (
    BackwardStart,
    Derived,
    Enter,
    Event,
    Grad,
    Holdings,
    Leave,
    Measured,
    Members,
    Module,
    NotFinite,
    Op,
    ParameterGrad,
    Tensor,
    TensorMeta,
)

__all__ = ["Parts"]

FORGOTTEN = -1
"""The number of every part that is no longer kept."""


class Parts:
    """Events that are cut before each outermost call but the first, of which the last parts are kept.

    Each part can be assembled by itself: it begins with the modules described so far, and with what earlier parts left
    of the tensors that it uses, as constants, and of memory. What a backward pass says of an earlier part's calls goes
    to that part. A parameter's gradient goes to the part whose calls the pass reached last: the accumulation follows
    them.

    Args:
        keep: so many parts are kept, and those before them are forgotten; None for all of them.
        steps: cut only before the calls of the module that was called first, so that a part may hold further
            outermost calls, as a training step of several models does.

    Attributes:
        begun: whether there was an outermost call.
    """

    def __init__(self, keep: int | None = None, steps: bool = False) -> None:
        self.begun = False
        self._steps = steps
        self._first: int | None = None
        self._parts: deque[list[Event]] = deque([[]], keep)
        self._last = 0  # parts are numbered from the first that there ever was
        self._modules: dict[int, Module] = {}
        self._replaced: dict[int, Members] = {}
        self._held: dict[int, Tensor] = {}
        self._not_finite: NotFinite | None = None
        self._measured: dict[int, Measured] = {}
        self._metas: dict[int, TensorMeta] = {}
        self._known: set[int] = set()
        self._part_of_call: dict[int, int] = {}
        self._part_of_pass: dict[int, int] = {}
        self._part_of_held: dict[int, int] = {}
        self._holdings: Holdings | None = None
        self._memory = Inheritance()
        self._collectives = _Collectives()

    def __iter__(self) -> Iterator[list[Event]]:
        """The events of each part that is kept."""
        return iter(self._parts)

    def joined(self) -> Iterator[Event]:
        """The parts that are kept as one."""
        modules: set[int] = set()
        tensors: set[int] = set()
        groups: set[int] = set()
        for part in self._parts:
            for event in part:
                if isinstance(event, Module):
                    if event.module in modules:
                        continue
                    modules.add(event.module)
                elif isinstance(event, Tensor):
                    if event.tensor in tensors:
                        continue
                    tensors.add(event.tensor)
                elif isinstance(event, Op):
                    tensors.update(output.tensor for output in event.outputs)
                elif isinstance(event, Group):
                    if event.group in groups:
                        continue
                    groups.add(event.group)
                elif isinstance(event, Holdings):
                    continue
                yield event
        if self._holdings is not None:
            yield self._holdings

    def forget(self, tensors: Container[int], modules: Container[int]) -> None:
        """Forget what no later event can speak of: all tensors and modules but these."""
        _keep_only(self._held, tensors)
        _keep_only(self._metas, tensors)
        _keep_only(self._measured, tensors)
        _keep_only(self._part_of_held, tensors)
        _keep_only(self._modules, modules)
        gone = [key for key, members in self._replaced.items() if any(n not in tensors for n in _used(members))]
        for key in gone:
            del self._replaced[key]
        if self._not_finite is not None and any(tensor not in tensors for tensor in _used(self._not_finite)):
            self._not_finite = None  # the next one says all that is still to be said

    def extend(self, events: Iterable[Event]) -> None:
        """Add events at the end, in order."""
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        if isinstance(event, Grad):
            self._memory.reached(event.call)
            at = self._part_of_call.get(event.call, self._last if self._parts.maxlen is None else FORGOTTEN)
            self._part_of_pass[event.backward] = at
            self._put(at, event)
            return
        if isinstance(event, ParameterGrad):
            at = self._part_of_pass.get(event.backward, self._last)
            self._put(max(at, self._part_of_held.get(event.tensor, 0)), event)
            return
        if isinstance(event, Holdings):  # it is of the whole recording
            self._holdings = event
            for part in self._parts:
                part.append(event)
            return
        if isinstance(event, Group | Collective | Carried):
            self._between_ranks(event)
            return
        if isinstance(event, RankSummary):  # of no part
            return
        told: tuple[Event, ...] = (event,)
        if isinstance(event, Enter | Op) and event.outermost and self._begin(event.module):
            told = (*self._replaced.values(), *(() if self._not_finite is None else (self._not_finite,)), event)
        part = self._parts[-1]
        if isinstance(event, Op) and event.collective is not None:
            part += self._collectives.issued_by(event, self._last)
        for one in told:
            for tensor in _used(one):
                if tensor not in self._known:
                    self._known.add(tensor)
                    part.append(Tensor(tensor, self._metas[tensor]))
                    if tensor in self._measured:
                        part.append(self._measured[tensor])
            part.append(one)
        if isinstance(event, Module):
            self._modules[event.module] = event
        elif isinstance(event, Members):
            self._replaced[event.module] = event
        elif isinstance(event, Measured):
            self._measured[event.tensor] = event
        elif isinstance(event, NotFinite):
            self._not_finite = event
        elif isinstance(event, Storage | Freed | Kept):
            self._memory.take(event)
        elif isinstance(event, Tensor):
            self._known.add(event.tensor)
            self._metas[event.tensor] = event.meta
            if event.role != "constant":
                self._held[event.tensor] = event
                self._part_of_held[event.tensor] = self._last
        elif isinstance(event, Enter):
            self._part_of_call[event.call] = self._last
        elif isinstance(event, Op):
            if event.call is not None:
                self._part_of_call[event.call] = self._last
            for output in event.outputs:
                self._known.add(output.tensor)
                self._metas[output.tensor] = output.meta

    def _begin(self, module: int | None) -> bool:
        """An outermost call begins, and with it a part, unless it is the first call or within a step."""
        if not self.begun:
            self.begun, self._first = True, module
            return False
        if self._steps and module != self._first:
            return False
        self._parts.append([*self._held.values(), *self._modules.values(), *self._memory.told()])
        self._known = set(self._held)
        self._last += 1
        oldest = self._last - len(self._parts) + 1
        if self._parts.maxlen is not None:
            for places in (self._part_of_call, self._part_of_pass, self._collectives.parts):
                for key in [key for key, part in places.items() if part < oldest]:
                    del places[key]
        return True

    def _between_ranks(self, event: Group | Collective | Carried) -> None:
        """It goes where the call goes that it is of."""
        if isinstance(event, Carried):
            self._put(self._collectives.parts.get(event.collective, FORGOTTEN), event)
        else:
            self._collectives.take(event)

    def _put(self, number: int, event: Event) -> None:
        """Add an event to a part that may no longer be kept."""
        at = number - self._last - 1
        if -at <= len(self._parts):
            self._parts[at].append(event)


class _Collectives:
    """What is to be said of operations between ranks in the part that has the call. It may be told long before.

    Attributes:
        parts: the part of each.
    """

    def __init__(self) -> None:
        self.parts: dict[int, int] = {}
        self._groups: dict[int, Group] = {}
        self._waiting: dict[int, Collective] = {}
        self._told: set[tuple[int, int]] = set()

    def take(self, event: Group | Collective) -> None:
        """Keep it until the call comes."""
        if isinstance(event, Group):
            self._groups[event.group] = event
        else:
            self._waiting[event.collective] = event

    def issued_by(self, op: Op, part: int) -> Iterator[Event]:
        """What stands before a call in its part."""
        event = self._waiting.pop(op.collective or 0, None)
        if event is None:
            return
        self.parts[event.collective] = part
        if (part, event.group) not in self._told:
            self._told.add((part, event.group))
            yield self._groups[event.group]
        yield event


def _keep_only(numbered: dict[int, Any], numbers: Container[int]) -> None:
    for number in [number for number in numbered if number not in numbers]:
        del numbered[number]


def _used(event: Event) -> Iterator[int]:
    """The tensors that an event takes as known."""
    if isinstance(event, Enter | Op):
        yield from event.inputs
    elif isinstance(event, Leave):
        yield from event.inputs
        yield from event.outputs
    elif isinstance(event, Members):
        yield from event.tensors
    elif isinstance(event, Measured | BackwardStart):
        yield event.tensor
    elif isinstance(event, NotFinite):
        yield from (*event.nan, *event.inf, *event.unknown)
    elif isinstance(event, Derived):
        yield event.tensor
        yield from event.sources
