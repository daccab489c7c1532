"""What autograd keeps, counted by torch's own hooks on saved tensors: each storage once and whole, by the module that
runs when it is kept first, without parameters and buffers.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

__all__ = ["Saved", "saved_in", "saved_while"]


@dataclass
class Saved:
    """In all, and in calls of each module with what they call, by qualified name; outside of all by ``None``."""

    total: int = 0
    by_module: Counter[str | None] = field(default_factory=Counter)


@contextmanager
def saved_while(net: nn.Module) -> Iterator[Saved]:
    """Counts what is kept in the block. Unlike a recorder, it keeps all of it alive."""
    names = {module: name for name, module in net.named_modules()}
    own = {tensor.untyped_storage()._cdata for tensor in (*net.parameters(), *net.buffers())}
    stack: list[str] = []
    found: dict[int, Tensor] = {}
    saved = Saved()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in found:
            found[storage._cdata] = tensor.detach()
            saved.total += storage.nbytes()
            for name in dict.fromkeys(stack) or (None,):
                saved.by_module[name] += storage.nbytes()
        return tensor

    def enter(module: nn.Module, *_: Any) -> None:
        if module in names:
            stack.append(names[module])

    def leave(module: nn.Module, *_: Any) -> None:
        if module in names:
            stack.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield saved
    finally:
        for handle in handles:
            handle.remove()


def saved_in(net: nn.Module, step: Callable[[], Any]) -> Saved:
    """What is kept while ``step()`` runs."""
    with saved_while(net) as saved:
        step()
    return saved
