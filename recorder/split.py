"""One stream for each outermost call, cut out of a long recording."""

from collections.abc import Iterator

from recorder.events import Derived, Enter, Event, Grad, Leave, Members, Module, Op, ParameterGrad, Tensor, TensorMeta
from recorder.stream import EventStream

__all__ = ["split"]


def split(stream: EventStream) -> list[EventStream]:
    """Cut a stream before each outermost call but the first.

    Each part can be assembled by itself: it begins with the modules described so far, and with what earlier parts
    left of the tensors that it uses, as constants. What a backward pass says of an earlier part's calls goes to that
    part. A parameter's gradient goes to the part whose calls the pass reached last: the accumulation follows them.
    """
    parts: list[list[Event]] = [[]]
    modules: list[Module] = []
    replaced: dict[int, Members] = {}
    held: dict[int, Tensor] = {}
    metas: dict[int, TensorMeta] = {}
    part_of_call: dict[int, int] = {}
    known: set[int] = set()
    part_of_pass: dict[int, int] = {}
    first_part: dict[int, int] = {}
    begun = False
    for event in stream:
        first: list[Members] = []
        if isinstance(event, Enter | Op) and event.outermost:
            if begun:
                parts.append([*held.values(), *modules])
                known = set(held)
                first = list(replaced.values())
            begun = True
        part = parts[-1]
        if isinstance(event, Grad):
            part_of_pass[event.backward] = part_of_call.get(event.call, len(parts) - 1)
            parts[part_of_pass[event.backward]].append(event)
            continue
        if isinstance(event, ParameterGrad):
            at = part_of_pass.get(event.backward, len(parts) - 1)
            parts[max(at, first_part.get(event.tensor, 0))].append(event)
            continue
        for told in (*first, event):
            for tensor in _used(told):
                if tensor not in known:
                    known.add(tensor)
                    part.append(Tensor(tensor, metas[tensor]))
            part.append(told)
        if isinstance(event, Module):
            modules.append(event)
        elif isinstance(event, Members):
            replaced[event.module] = event
        elif isinstance(event, Tensor):
            known.add(event.tensor)
            metas[event.tensor] = event.meta
            if event.role != "constant":
                held[event.tensor] = event
                first_part[event.tensor] = len(parts) - 1
        elif isinstance(event, Enter):
            part_of_call[event.call] = len(parts) - 1
        elif isinstance(event, Op):
            if event.call is not None:
                part_of_call[event.call] = len(parts) - 1
            for output in event.outputs:
                known.add(output.tensor)
                metas[output.tensor] = output.meta
    return [EventStream(part, stream.header) for part in parts] if begun else []


def _used(event: Event) -> Iterator[int]:
    """The tensors that an event takes as known."""
    if isinstance(event, Enter | Op):
        yield from event.inputs
    elif isinstance(event, Leave):
        yield from event.inputs
        yield from event.outputs
    elif isinstance(event, Members):
        yield from event.tensors
    elif isinstance(event, Derived):
        yield event.tensor
        yield from event.sources
