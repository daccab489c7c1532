"""Modules that may run as one fused kernel: what they do before they take one path or the other is seen, one that takes
its fused path is one node, and which path that is stays as it was.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from support.models import Block, Net, linear, x
from support.untouched import Kernels
from torch import Tensor, nn
from torch.overrides import has_torch_function

from recorder import Graph, Recorder, Scope, Value

pytestmark = pytest.mark.filterwarnings("ignore")  # nested tensors are a prototype, torch says

FUSED = "aten._transformer_encoder_layer_fwd.default"


class Heir(nn.TransformerEncoderLayer):
    """A user's class with nothing of its own."""


class Doubling(nn.TransformerEncoderLayer):
    """One that does something before and after."""

    def forward(self, src: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(src * 2, *args, **kwargs) + 1


class Widened(nn.TransformerEncoderLayer):
    """One that calls a child of its own first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first, self.last = linear(8, 8), linear(8, 8)

    def forward(self, src: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = self.last(super().forward(self.first(src), *args, **kwargs))
        return out


class Inverting(nn.TransformerEncoder):
    """One that computes the mask."""

    def forward(self, src: Tensor, mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = None) -> Tensor:
        return super().forward(src, mask, src_key_padding_mask.logical_not().logical_not(), is_causal)


class Attention(nn.MultiheadAttention):
    """A user's class with nothing of its own."""


def layer(kind: type[nn.TransformerEncoderLayer] = nn.TransformerEncoderLayer, **how: Any) -> nn.Module:
    torch.manual_seed(0)
    return kind(8, 2, 16, **({"batch_first": True} | how))


def encoder(kind: type[nn.TransformerEncoder] = nn.TransformerEncoder, nested: bool = True, **how: Any) -> nn.Module:
    return kind(layer(**how), 2, enable_nested_tensor=nested)  # type: ignore[arg-type]


MODULES: dict[str, Callable[[], nn.Module]] = {
    "layer": layer,
    "norm first": lambda: layer(norm_first=True),
    "never fused": lambda: layer(activation=nn.functional.silu),
    "batch second": lambda: layer(batch_first=False),
    "user's layer": lambda: layer(Heir),
    "user's layer with a forward": lambda: layer(Doubling),
    "user's layer with children": lambda: layer(Widened),
    "encoder": encoder,
    "encoder, not nested": lambda: encoder(nested=False),
    "encoder, never fused": lambda: encoder(nested=False, activation=nn.functional.silu),
    "user's encoder": lambda: encoder(Inverting),
    "encoder of user's layers": lambda: nn.TransformerEncoder(layer(Heir), 2),  # type: ignore[arg-type]
}

MASKS: dict[str, dict[str, Tensor]] = {
    "padding": {"padding": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])},
    "padding at the front": {"padding": torch.tensor([[False] * 5, [True] + [False] * 4])},
    "causal": {"causal": torch.ones(5, 5, dtype=torch.bool).triu(1), "padding": torch.arange(10).view(2, 5) == 9},
}

MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {"grad": nullcontext, "no_grad": torch.no_grad}


def around(part: nn.Module) -> Net:
    """A net that hands its masks on to a part."""

    def forward(net: Any, x: Tensor, padding: Tensor, causal: Tensor | None = None) -> Tensor:
        named = "src_mask" if isinstance(part, nn.TransformerEncoderLayer) else "mask"
        masks = {} if causal is None else {named: causal}
        out: Tensor = net.part(x.relu(), src_key_padding_mask=padding, **masks)
        return out.exp()

    return Net(forward, part=part)


def step(net: nn.Module, batch: Tensor, masks: dict[str, Tensor], block: Any, mode: Any) -> tuple[Any, ...]:
    torch.manual_seed(1)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else a warning that torch gives once is missing from the second run
    try:
        with warnings.catch_warnings(record=True) as warned, mode(), block, Kernels() as kernels:
            warnings.simplefilter("always")
            out = net(batch, **masks)
    finally:
        torch.set_warn_always(always)
    return out, kernels.seen, [str(w.message) for w in warned]


def leads_to_the_end(graph: Graph, value: Value) -> bool:
    """Whether the outputs come from a value."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if any(value is out for out in graph.outputs):
            return True
        for node, _ in value.uses:
            if id(node) not in seen:
                seen.add(id(node))
                pending += node.outputs
    return False


@pytest.mark.parametrize(("mode", "training"), [("grad", False), ("no_grad", False), ("grad", True)])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", MODULES)
def test_masks_lead_to_what_uses_them_and_the_run_is_as_it_was(name: str, mask: str, mode: str, training: bool) -> None:
    net = around(MODULES[name]()).train(training)
    batch = x(5, 2, 8) if name == "batch second" else x(2, 5, 8)
    expected, kernels, warned = step(net, batch, MASKS[mask], nullcontext(), MODES[mode])
    for functions in (True, False) if mask == "padding" else (True,):
        r = Recorder(net, functions=functions)
        out, ours, also_warned = step(net, batch, MASKS[mask], r, MODES[mode])
        assert torch.equal(out.nan_to_num(7), expected.nan_to_num(7))
        assert (ours, also_warned) == (kernels, warned)
        r.graph.lint()
        if functions:
            assert [v.name for v in r.graph.inputs if not leads_to_the_end(r.graph, v)] == []
            assert [v.name for n in r.graph.nodes for v in n.inputs if v.role == "constant"] == []


@pytest.mark.supported("transformer encoders, attention, and classes that inherit from them")
@pytest.mark.parametrize("name", ["layer", "norm first", "user's layer", "user's layer with a forward"])
def test_a_layer_that_took_its_fused_path_is_one_node_that_uses_all_it_was_given(name: str) -> None:
    net = around(MODULES[name]()).eval()
    with torch.no_grad(), Recorder(net) as r, Kernels() as kernels:
        net(x(2, 5, 8), **MASKS["padding"])
    assert FUSED in kernels.seen
    assert [node.name for node in r.graph.nodes] == ["relu", "part", "exp"]
    part = r.graph.nodes[1]
    assert (part.kind, part.op_type) == ("module", type(net.part).__name__)
    assert [v.name for v in part.inputs if v.role in ("input", "activation")] == [
        r.graph.nodes[0].outputs[0].name, *(v.name for v in r.graph.inputs if v.dtype == "bool")
    ]  # fmt: skip


def test_around_a_fused_kernel_a_layer_with_other_children_is_a_scope() -> None:
    net = around(layer(Widened)).eval()
    with torch.no_grad(), Recorder(net) as r, Kernels() as kernels:
        net(x(2, 5, 8), **MASKS["padding"])
    assert FUSED in kernels.seen
    names = [node.name for node in r.graph.nodes if isinstance(node.scope, Scope) and node.scope.fqn == "part"]
    assert (names[0], names[-2:]) == ("part.first", ["part._transformer_encoder_layer_fwd", "part.last"])


@pytest.mark.parametrize("mode", ["grad", "no_grad"])
def test_attention_of_a_users_class(mode: str) -> None:
    def forward(net: Any, x: Tensor, padding: Tensor) -> Tensor:
        out: Tensor = net.part(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        return out.exp()

    net = Net(forward, part=Attention(8, 2, batch_first=True)).eval()
    batch, r = x(2, 5, 8), Recorder(net)
    expected, kernels, _ = step(net, batch, MASKS["padding"], nullcontext(), MODES[mode])
    out, ours, _ = step(net, batch, MASKS["padding"], r, MODES[mode])
    assert torch.equal(out, expected)
    assert ours == kernels
    assert all(leads_to_the_end(r.graph, v) for v in r.graph.inputs)
    assert ("part" in [node.name for node in r.graph.nodes]) is (mode == "no_grad")


def test_a_whole_transformer() -> None:
    net = nn.Transformer(8, 2, 2, 2, 16, batch_first=True).eval()
    mask = MASKS["padding"]["padding"]
    masks = {f"{name}_key_padding_mask": mask.clone() for name in ("src", "tgt", "memory")}
    for mode in (nullcontext, torch.no_grad):
        with mode(), Recorder(net) as r:
            net(x(2, 5, 8), x(2, 5, 8), tgt_mask=torch.ones(5, 5, dtype=torch.bool).triu(1), **masks)
        assert len(r.graph.inputs) == 6
        assert all(leads_to_the_end(r.graph, v) for v in r.graph.inputs)
        assert [v.name for n in r.graph.nodes for v in n.inputs if v.role == "constant"] == []


def test_a_users_forward_that_asks_in_its_own_way_is_told_what_it_would_be_told_unrecorded() -> None:
    asked = []

    class Asking(nn.TransformerEncoderLayer):
        def forward(self, src: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            asked.append(has_torch_function((src,)))
            return super().forward(src, *args, **kwargs)

    net = around(layer(Asking)).eval()
    for block in (nullcontext(), Recorder(net)):
        with torch.no_grad(), block:
            net(x(2, 5, 8), **MASKS["padding"])
    assert asked == [False, False]


def test_others_who_ask_are_told_of_the_mode_and_torch_is_left_as_it_was() -> None:
    before = torch.overrides.has_torch_function
    told = []
    net = Net(lambda net, x: (told.append(torch.overrides.has_torch_function((x,))), net.fc(x))[1], fc=linear())
    with Recorder(net), Recorder(net):
        net(x())
    assert told == [True]
    assert torch.overrides.has_torch_function is before


def test_a_layer_is_scripted_inside_the_block_as_outside() -> None:
    part = layer().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.script(part)
        with Recorder(Block(lambda net, x: x)):
            inside = torch.jit.script(layer().eval())
    assert inside.code == expected.code
