"""The same program unrecorded and recorded, compared to the bit: for what `models.record` cannot copy or compare."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from support.models import tensors
from torch import Tensor, nn
from torch._subclasses.fake_tensor import is_fake

from recorder import Graph, Recorder

__all__ = ["both", "run_twice"]


@dataclass
class Run:
    """What one run shows. ``found`` says of each tensor among results and gradients all that there is to say."""

    found: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    graph: Graph | None = None


def both(net: nn.Module, *args: Any) -> Any:
    """Forward, and backward from what of its results requires a gradient."""
    results = net(*args)
    reached = [t for t in tensors(results) if t.requires_grad]
    if reached:
        ones = [torch.ones(t.shape, dtype=t.dtype, device=t.device) for t in reached]
        torch.autograd.backward(reached, ones)  # type: ignore[arg-type]
    return results


def run_twice(
    make: Callable[[], tuple[Any, ...]], step: Callable[..., Any] = both, said: Sequence[str] = (), **options: Any
) -> Graph:
    """The graph of ``step(net, *args)``, where ``make()`` gives ``net, *args``.

    On the way: results, gradients, random state and warnings are the same unrecorded, recorded, and with modules alone;
    the graphs lint, and export. ``said``: patterns of the warnings that the recorder gives besides, in order; options
    are the recorder's.
    """
    _run(make, step)  # what torch warns of but once is over with
    plain = _run(make, step)
    for functions in (False, True):
        recorded = _run(make, step, recorded=True, functions=functions, **options)
        assert recorded.found == plain.found
        theirs, ours = recorded.warnings[: len(plain.warnings)], recorded.warnings[len(plain.warnings) :]
        assert theirs == plain.warnings
        assert len(ours) == len(said)
        assert all(map(re.search, said, ours))
    assert recorded.graph is not None
    return recorded.graph


def _run(make: Callable[[], tuple[Any, ...]], step: Callable[..., Any], recorded: bool = False, **options: Any) -> Run:
    torch.manual_seed(0)
    net, *args = make()
    run = Run()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if recorded:
            with Recorder(net, **options) as r:
                results = step(net, *args)
            run.graph = r.graph
        else:
            results = step(net, *args)
    if run.graph is not None:
        run.graph.lint()
        assert "digraph" in r.export("dot")
    run.warnings = [str(warning.message) for warning in warned]
    leaves = (*net.parameters(), *(a for a in args if isinstance(a, Tensor) and a.requires_grad))
    run.found = [*map(_said, tensors(results)), *(leaf.grad is not None and _said(leaf.grad) for leaf in leaves)]
    run.found.append(_said(torch.random.get_rng_state()))
    return run


def _said(tensor: Tensor) -> Any:
    size = None if tensor.is_nested else tuple(tensor.size())
    return type(tensor), tensor.dtype, tensor.layout, size, tensor.requires_grad, list(_parts(tensor.detach()))


def _parts(tensor: Tensor) -> Iterator[bytes]:
    """The bytes of the plain tensors that one is made of; nothing of those that have no data."""
    if tensor.is_meta or is_fake(tensor):
        return
    if tensor.layout is torch.sparse_coo:
        parts: Any = (tensor._indices(), tensor._values())
    elif tensor.layout is torch.sparse_csr:
        parts = (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    elif tensor.is_nested:
        parts = tensor.unbind()
    elif hasattr(tensor, "__tensor_flatten__"):
        parts = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    else:
        plain = tensor.int_repr() if tensor.is_quantized else tensor.as_subclass(Tensor)
        yield plain.resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return
    for part in parts:
        yield from _parts(part)
