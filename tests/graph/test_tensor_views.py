from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recorder.graph.tensor_views import SAME_ELEMENTS, SHARE_MEMORY


def test_views_are_those_of_torchs_schemas() -> None:
    """An operator that returns a view says so in its schema. Some of our names are none of ATen's."""

    def looks(name: str) -> bool | None:
        packet = getattr(torch.ops.aten, name, None)
        if packet is None:
            return None
        schemas = [getattr(packet, overload)._schema for overload in packet.overloads()]
        return any(r.alias_info is not None and not r.alias_info.is_write for s in schemas for r in s.returns)

    known = {name: looks(name) for name in SHARE_MEMORY}
    composite = {"flatten", "broadcast_to", "unsafe_chunk", "unsafe_split"}
    assert {name for name, view in known.items() if view is False} <= composite
    assert sum(view is True for view in known.values()) > 30


MODULES = {"Flatten", "Unflatten"}
INTERNAL = {"alias"}  # no function of the user's
CALLS: dict[str, Callable[[Tensor], Any]] = {
    "H": lambda x: x[0].H,
    "T": lambda x: x[0].T,
    "adjoint": lambda x: x.adjoint(),
    "as_strided": lambda x: x.as_strided((2, 2), (1, 2)),
    "broadcast_to": lambda x: torch.broadcast_to(x, (3, *x.shape)),
    "chunk": lambda x: x.chunk(2),
    "contiguous": lambda x: x.mT.contiguous(),
    "detach": lambda x: x.detach(),
    "diagonal": lambda x: x.diagonal(),
    "dsplit": lambda x: x.dsplit(2),
    "expand": lambda x: x.expand(3, *x.shape),
    "expand_as": lambda x: x.expand_as(torch.empty(3, *x.shape)),
    "flatten": lambda x: x.flatten(),
    "hsplit": lambda x: x.hsplit(2),
    "imag": lambda x: x.imag,
    "mH": lambda x: x.mH,
    "mT": lambda x: x.mT,
    "moveaxis": lambda x: x.moveaxis(0, 1),
    "movedim": lambda x: x.movedim(0, 1),
    "narrow": lambda x: x.narrow(0, 0, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "ravel": lambda x: x.ravel(),
    "real": lambda x: x.real,
    "reshape": lambda x: x.reshape(-1),
    "reshape_as": lambda x: x.reshape_as(torch.empty(x.numel())),
    "select": lambda x: x.select(0, 1),
    "split": lambda x: x.split(1),
    "split_with_sizes": lambda x: x.split_with_sizes([1, 1]),
    "squeeze": lambda x: x.squeeze(),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "swapdims": lambda x: x.swapdims(0, 1),
    "t": lambda x: x[0].t(),
    "tensor_split": lambda x: x.tensor_split(2),
    "transpose": lambda x: x.transpose(0, 1),
    "unbind": lambda x: x.unbind(),
    "unflatten": lambda x: x.unflatten(0, (1, 2)),
    "unfold": lambda x: x.unfold(0, 1, 2),
    "unsafe_chunk": lambda x: x.unsafe_chunk(2),
    "unsafe_split": lambda x: x.unsafe_split(1),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "view": lambda x: x.view(-1),
    "view_as": lambda x: x.view_as(torch.empty(x.numel())),
    "view_as_complex": lambda x: torch.view_as_complex(x.real.contiguous()),
    "view_as_real": lambda x: torch.view_as_real(x),
    "vsplit": lambda x: x.vsplit(2),
}
"""Each name's function, where its arguments can leave elements out so that they do, of a tensor of sizes 2, 2, 2."""


def test_there_is_a_call_of_each() -> None:
    assert set(CALLS) | MODULES | INTERNAL == SHARE_MEMORY | SAME_ELEMENTS


@pytest.mark.parametrize("name", CALLS)
def test_what_shares_memory_does(name: str) -> None:
    x = _numbers()
    results = [y for y in _tensors(CALLS[name](x)) if name != "view_as_complex"]  # whose argument the call copies
    shares = all(y.untyped_storage().data_ptr() == x.untyped_storage().data_ptr() for y in results)
    assert shares == (name in SHARE_MEMORY)


@pytest.mark.parametrize("name", CALLS)
def test_same_elements_are_shown_by_one_result_that_leaves_none_out_as_they_were_given(name: str) -> None:
    x = _numbers()
    given = x[0] if name in ("H", "T", "t") else x
    first, *others = _tensors(CALLS[name](x))
    same = (
        not others
        and first.dtype == given.dtype
        and first.requires_grad
        and set(first.abs().flatten().tolist()) == set(given.abs().flatten().tolist())
    )
    assert same == (name in SAME_ELEMENTS)


def test_modules_are_those_that_show_the_same_elements() -> None:
    x = _numbers()
    for module in (nn.Flatten(), nn.Unflatten(0, (1, 2))):
        assert type(module).__name__ in MODULES
        assert torch.equal(module(x).flatten(), x.flatten())


def _numbers() -> Tensor:
    """Eight complex numbers, no two of which are as large."""
    return torch.complex(torch.arange(1.0, 9), torch.arange(1.0, 9)).reshape(2, 2, 2).requires_grad_()


def _tensors(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)
