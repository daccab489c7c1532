"""Backward of a call that was made again with fake tensors: each pass computes what it did in the run."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recorder.analysis.backward_passes import Computed

__all__ = ["back_again"]


def back_again(made: Sequence[Tensor], computed: Computed) -> bool:
    """Go back from what a call made, once for each pass, or once for everything if nothing is said of passes. Returns
    whether that is what the passes did, as far as can be told.
    """
    if not computed:
        torch.autograd.backward(made, [torch.empty_like(t) for t in made])
        return True
    nodes = _nodes([t.grad_fn for t in made])
    for flags in computed:
        leaves = None if flags is None else _asked_for(nodes, flags)
        if leaves is None:
            return False
        if leaves:
            gradients = [torch.empty_like(t) for t in made]
            torch.autograd.grad(made, leaves, gradients, retain_graph=True, allow_unused=True)
    return True


def _nodes(ends: Sequence[Any]) -> list[Any]:
    """The autograd nodes of a call without those of leaves, in the order in which they were made."""
    found: dict[Any, int] = {}
    pending = [node for node in ends if node is not None]
    while pending:
        node = pending.pop()
        if node not in found and not hasattr(node, "variable"):
            found[node] = node._sequence_nr()
            pending += _next(node)
    return sorted(found, key=lambda node: found[node])


def _next(node: Any) -> list[Any]:
    return [after for after, _ in node.next_functions if after is not None]


def _asked_for(nodes: Sequence[Any], flags: tuple[bool, ...]) -> list[Tensor] | None:
    """The leaves whose gradients were computed, by what the first autograd node of a call handed on; None if that is
    not known: it tells of itself alone.
    """
    leaves = list(_leaves(nodes))
    first = next((node for node in nodes if len(node.next_functions) == len(flags)), None)
    if first is None:
        return leaves if sum(flags) >= len(leaves) else None
    left_out = [after for (after, _), flag in zip(first.next_functions, flags) if after is not None and not flag]
    if not left_out:
        return leaves
    if sum(len(_next(node)) > 1 for node in nodes) > 1:
        return None
    kept = [after for (after, _), flag in zip(first.next_functions, flags) if after is not None and flag]
    return list(_leaves([node for node in nodes if node is not first and node not in _behind(left_out)], kept))


def _behind(nodes: Sequence[Any]) -> set[Any]:
    found: set[Any] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += _next(node)
    return found


def _leaves(nodes: Sequence[Any], also: Sequence[Any] = ()) -> Iterator[Tensor]:
    """Those that any of these nodes hands a gradient to, and those among ``also``; each once."""
    reached = dict.fromkeys([*(after for node in nodes for after in _next(node)), *also])
    yield from (node.variable for node in reached if hasattr(node, "variable"))
