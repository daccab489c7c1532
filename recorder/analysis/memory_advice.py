"""What could be kept less for backward: blocks to checkpoint, with what that saves and what it costs.

`torch.utils.checkpoint` keeps what a block is given, and computes the rest again in backward. So a block saves what
autograd keeps for nothing but it, without what is given to it; and it costs the FLOPs of its forward once more. While
one block is computed again all that it keeps is there, so of several blocks the largest one's part is not won.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recorder.analysis.metrics import bytes_of
from recorder.analysis.op_kinds import allocates
from recorder.graph.core import Graph, Scope, Value

__all__ = ["Advice", "advice", "pattern"]

_WORTH = 0.1
"""What saves less than this share of what is kept is no advice."""


@dataclass(frozen=True)
class Advice:
    """Checkpoint these calls, each by itself.

    Attributes:
        scopes: the calls, in the order of execution.
        bytes: how much less is kept for backward, with all of them checkpointed.
        flops: how many floating-point operations are done once more; None if that is not known.
        share: these as a share of all of forward's; None if that is not known.
    """

    scopes: tuple[Scope, ...]
    bytes: int
    flops: int | None
    share: float | None


def advice(graph: Graph, kept: Sequence[Mapping[str, Any]]) -> tuple[Advice, ...]:
    """The best first; none that lies in what is checkpointed by a better one.

    Args:
        graph: a whole recording.
        kept: what autograd keeps, as `recorder.assembly.memory` says it.
    """
    inside = _inside(graph)
    total = sum(storage["bytes"] for storage in kept)
    found: list[tuple[int, Advice]] = []
    for scopes in _alike(graph):
        saved = _saved(scopes, kept, inside)
        largest = max(_saved((scope,), kept, inside) for scope in scopes)
        if saved - largest > _WORTH * total:
            found.append((saved - largest, Advice(scopes, saved, *_costs(graph, scopes))))
    found.sort(key=lambda one: -one[0])
    chosen: list[Advice] = []
    for _, one in found:
        around = {id(scope) for other in chosen for scope in other.scopes}
        under = {id(a) for other in chosen for scope in other.scopes for a in scope.ancestors()}
        if all(id(scope) not in under and around.isdisjoint(map(id, scope.ancestors())) for scope in one.scopes):
            chosen.append(one)
    return tuple(chosen)


def pattern(name: str) -> str:
    """A name with ``*`` for each of its numbers: what repeats has the same."""
    return re.sub(r"\d+", "*", name)


def _alike(graph: Graph) -> Iterator[tuple[Scope, ...]]:
    """Scopes that repeat: of one class, under names that differ by numbers alone."""
    groups: dict[tuple[str, str], list[Scope]] = defaultdict(list)
    for scope in graph.scopes:
        if scope.parent is not None:
            groups[scope.target, pattern(scope.name)].append(scope)
    return (tuple(scopes) for scopes in groups.values() if len(scopes) > 1)


def _inside(graph: Graph) -> dict[str, set[str]]:
    """The names of all places in each scope, by its name."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in graph.nodes:
        for around in () if node.scope is None else node.scope.ancestors():
            found[around.name].add(node.name)
    for scope in graph.scopes:
        for around in scope.ancestors():
            found[around.name].add(scope.name)
    return found


def _saved(scopes: Iterable[Scope], kept: Sequence[Mapping[str, Any]], inside: Mapping[str, set[str]]) -> int:
    scopes = tuple(scopes)
    places = set().union(*(inside[scope.name] for scope in scopes))
    given = {value.name: value for scope in scopes for value in map(_in_memory, scope.inputs)}
    saved = 0
    for storage in kept:
        within = all(place in places for place in storage["by"])
        if storage.get("value") in given:
            del given[storage["value"]]  # it is kept already, and goes on to be
        elif within:
            saved += int(storage["bytes"])
    return saved - sum(bytes_of(value) for value in given.values() if value.role not in ("parameter", "buffer"))


def _in_memory(value: Value) -> Value:
    """The value whose memory one shows: itself, if it is no tensor view."""
    while value.producer is not None and value.producer.inputs and not allocates(value.producer):
        value = value.producer.inputs[0]
    return value


def _costs(graph: Graph, scopes: Iterable[Scope]) -> tuple[int | None, float | None]:
    flops = [graph.metrics.get(scope, {}).get("flops") for scope in scopes]
    if any(count is None for count in flops):
        return None, None
    again = int(sum(count for count in flops if count is not None))
    whole = sum(graph.metrics.get(s, {}).get("flops", 0) for s in graph.scopes if s.parent is None)
    return again, again / whole if whole else None
