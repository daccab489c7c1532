"""What the recorded models hold when a block ends: which parameters are theirs, and which of their modules were called.

It is asked once for each block. A layer in a plain list is called like any other, and is none of the model's; one that
was made in forward and assigned is.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple
from weakref import ref

import torch
from torch import nn

from recorder import events
from recorder.capture.modules import Entry, Modules
from recorder.capture.raw_records import Tag
from recorder.capture.tensor_facts import Reference

__all__ = ["HOLDINGS", "Part", "RawHoldings", "holdings", "raw_holdings"]

HOLDINGS = Tag("HOLDINGS")
"""Begins a raw record of one thing, a `RawHoldings`."""


class Part(NamedTuple):
    """A module of which no call was recorded, with all that it holds."""

    fqn: str
    op_type: str
    tensors: list[Reference]


class RawHoldings(NamedTuple):
    """``called``: the parts of the models of which a call was recorded. ``uncalled``: the outermost of the others.
    ``unseen``: what requires a gradient may have been made of what they hold. ``nothing``: why nothing was recorded.
    """

    called: list[Entry]
    parameters: list[Reference]
    uncalled: list[Part]
    unseen: bool
    nothing: str | None


def raw_holdings(
    modules: Modules,
    began_with: list[Reference],
    elsewhere: Set[int],
    functions: bool,
    whole: bool,
    nothing: str | None,
) -> RawHoldings:
    """What there is to say now.

    Args:
        modules: those that were called, and those that are recorded.
        began_with: what the models held when the block began: it is their own, whatever took its place.
        elsewhere: the `id` of each module that was called on another thread.
        functions: calls of functions were recorded.
        whole: the block did what it was to do, and all of it was followed: otherwise nobody knows what it called.
        nothing: why nothing was recorded, if nothing was.
    """
    parts = list(modules.parts())
    entries, called, others = modules.entries, [], False
    for part in parts:
        entry = entries.get(id(part))
        if entry is not None and entry.met and entry.reference() is part:
            called.append(entry)
        else:
            others = others or _has_forward(part)
    own = [ref(parameter) for part in parts for parameter in part._parameters.values() if parameter is not None]
    uncalled: list[Part] = []
    # A replica of a part, as data parallelism makes them, is called on a thread of its own.
    if whole and called and others and elsewhere <= {id(part) for part in parts}:
        uncalled += _uncalled(modules.roots(), entries, elsewhere)
    # Shards are put together where nobody looks.
    sharded = any(kind.__name__.startswith(("FSDP", "FullySharded")) for kind in set(map(type, parts)))
    return RawHoldings(called, [*began_with, *own], uncalled, sharded or not functions, nothing)


def _called(entries: Mapping[int, Entry], module: nn.Module) -> Entry | None:
    entry = entries.get(id(module))
    return entry if entry is not None and entry.met and entry.reference() is module else None


class _Branch:
    """A module where it is met first. ``live``: it was called, or something in it was; ``mute``: nothing in it can be
    called.
    """

    __slots__ = ("above", "fqn", "live", "module", "mute")

    def __init__(self, fqn: str, module: nn.Module, above: "_Branch | None", live: bool) -> None:
        self.fqn = fqn
        self.module = module
        self.above = above
        self.live = live
        self.mute = not _has_forward(module)


def _has_forward(module: nn.Module) -> bool:
    """A `ModuleList`, say, has none. Its class is looked at and not asked: there may be a descriptor."""
    kinds = type(module).__mro__
    return "forward" in module.__dict__ or any("forward" in kind.__dict__ for kind in kinds[: kinds.index(nn.Module)])


def _uncalled(roots: Mapping[str, nn.Module], entries: Mapping[int, Entry], elsewhere: Set[int]) -> Iterator[Part]:
    """The outermost modules that were not called, and in which nothing was. A module of which no inside is recorded, or
    that may have run as one kernel, is not looked into.
    """
    met: dict[int, _Branch] = {}
    again: list[tuple[_Branch, _Branch]] = []  # where a module is met once more, and in what
    pending: list[tuple[str, nn.Module, _Branch | None]] = [(*item, None) for item in reversed([*roots.items()])]
    while pending:
        fqn, module, above = pending.pop()
        if id(module) in met:
            if above is not None:
                again.append((met[id(module)], above))
            continue
        entry = _called(entries, module)
        branch = met[id(module)] = _Branch(fqn, module, above, entry is not None or id(module) in elsewhere)
        if isinstance(module, torch.jit.ScriptModule) or (entry is not None and (entry.leaf or entry.kind.fusable)):
            continue
        before = f"{fqn}." if fqn else ""
        parts = [(before + name, part, branch) for name, part in module._modules.items() if part is not None]
        pending += reversed(parts)
    for branch in reversed(met.values()):
        if branch.above is not None:
            branch.above.live |= branch.live
            branch.above.mute &= branch.mute
    for branch, above in again:
        around: _Branch | None = above
        while around is not None and branch.live:
            around.live, around = True, around.above
    for branch in met.values():
        if not (branch.live or branch.mute) and (branch.above is None or branch.above.live):
            held_by = branch.module
            tensors = dict.fromkeys([*held_by.parameters(), *held_by.buffers()])
            yield Part(branch.fqn, type(held_by).__name__, [ref(tensor) for tensor in tensors])


def holdings(
    held: RawHoldings, number: Callable[[Reference], int | None], modules: Mapping[int, tuple[int, Entry]]
) -> events.Holdings:
    """The event for it, of tensors and modules that the events have told of: these have a ``number``, and are among the
    ``modules`` by the `id` of their entries.
    """

    def numbers(references: list[Reference]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(n for reference in references if (n := number(reference)) is not None))

    called = tuple([modules[id(entry)][0] for entry in held.called if id(entry) in modules])
    uncalled = tuple([events.Uncalled(fqn, op_type, numbers(tensors)) for fqn, op_type, tensors in held.uncalled])
    return events.Holdings(called, numbers(held.parameters), uncalled, held.unseen, held.nothing)
