"""Recording changes nothing: results, gradients, buffers, random numbers, kernels, warnings, autograd's graph, modules.

Each model runs a step of training and one of evaluation from the same seed, unrecorded and recorded, and everything
that can be seen of the runs is compared to the bit: see `untouched`, and `zoo` for the models.
"""

import gc
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from typing import Any
from weakref import ref

import pytest
import torch
from support.models import Block, Net, linear, x
from support.untouched import Kernels, compare, differences, observe, ways
from support.zoo import CLASSIFIERS, HUGE, ZOO, Specimen
from torch import Tensor, nn

from recorder import Recorder

pytestmark = pytest.mark.slow

both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def test_there_are_80_classifiers() -> None:
    assert len(CLASSIFIERS) == 80


@both_modes
@pytest.mark.parametrize("name", [name for name in ZOO if name not in HUGE])
def test_recording_changes_nothing(name: str, training: bool) -> None:
    assert compare(ZOO[name], training, ways(name)) == {way: [] for way in ways(name)}


def test_the_comparison_sees_what_changes() -> None:
    specimen = Specimen(lambda: nn.Sequential(linear(), nn.BatchNorm1d(4)), lambda: {"input": x()})
    original = specimen.make()
    plain = observe(deepcopy(original), specimen.batch, True, nullcontext())

    def changed(before: Callable[[nn.Sequential], object], after: Callable[[nn.Sequential], object]) -> set[str]:
        """By a block that does something as it is entered, and as it is left."""
        net = deepcopy(original)

        @contextmanager
        def block() -> Iterator[None]:
            before(net)
            yield
            after(net)

        return set(differences(plain, observe(net, specimen.batch, True, block())))

    def nothing(_: nn.Module) -> None: ...

    assert changed(nothing, nothing) == set()
    assert changed(lambda net: torch.rand(1), nothing) >= {"random", "kernels"}
    assert changed(nothing, lambda net: random.random()) == {"random"}
    assert changed(lambda net: net.eval(), nothing) >= {"outputs", "buffers", "modules", "modules_inside"}
    assert changed(lambda net: net[0].register_forward_hook(print), nothing) == {"modules", "modules_inside"}
    assert changed(nothing, lambda net: net[0].weight.register_hook(print)) == {"parameter_hooks"}
    assert changed(lambda net: net[1].register_full_backward_hook(nothing_back), nothing) >= {"autograd", "modules"}
    assert changed(nothing, lambda net: setattr(net[0], "note", 1)) == {"modules"}
    assert changed(nothing, lambda net: warnings.warn("noted", stacklevel=1)) == {"warnings"}


def nothing_back(*_: Any) -> None: ...


# Fused kernels


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("functions", [True, False])
def test_a_transformer_encoder_takes_the_path_it_took(mode: Any, fused: bool, functions: bool) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="relu" if fused else torch.tanh)
    net = Net(
        lambda net, x: net.encoder(x.relu()).exp(), encoder=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    ).eval()
    batch = x(2, 5, 8)
    with mode(), Kernels() as plain:
        expected = net(batch)
    with mode(), Recorder(net, functions=functions) as r, Kernels() as kernels:
        result = net(batch)
    assert torch.equal(result, expected)
    assert kernels.seen == plain.seen
    assert ("aten._transformer_encoder_layer_fwd.default" in plain.seen) is fused
    r.graph.lint()
    names = [node.name for node in r.graph.nodes]
    if fused:
        assert [name for name in names if name.startswith("encoder")] == ["encoder.layers.0", "encoder.layers.1"]
    else:
        assert "encoder.layers.1.linear2" in names
    if functions:
        assert (names[0], names[-1]) == ("relu", "exp")


def test_a_transformer_encoder_with_nested_tensors() -> None:
    torch.manual_seed(0)
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    batch, mask = x(2, 5, 8), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # nested tensors are a prototype, torch says
        with Kernels() as plain:
            expected = net(batch, src_key_padding_mask=mask)
        with Recorder(net) as r, Kernels() as kernels:
            result = net(batch, src_key_padding_mask=mask)
    assert torch.equal(result, expected)
    assert kernels.seen == plain.seen
    r.graph.lint()


def encoder_layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)


def attend(net: Any, x: Tensor) -> Tensor:
    return net.attention(x, x, x, need_weights=False)[0] + x


def attention() -> Block:
    return Block(attend, attention=nn.MultiheadAttention(8, 2, batch_first=True))


def twice(net: Any, x: Tensor) -> Tensor:
    return net.inner(net.inner(x.relu()) + x).exp()


ENCODER, ATTENTION = "aten._transformer_encoder_layer_fwd.default", "aten._native_multi_head_attention.default"

FUSED: dict[str, tuple[Callable[[], nn.Module], str, int]] = {
    "encoder in a block, called twice": (
        lambda: Net(twice, inner=Block(lambda net, x: net.e(x), e=nn.TransformerEncoder(encoder_layer(), 2))),
        ENCODER,
        4,
    ),
    "encoder layers in a sequence": (
        lambda: nn.Sequential(encoder_layer(), nn.Linear(8, 8), encoder_layer()),
        ENCODER,
        2,
    ),
    "attention": (attention, ATTENTION, 1),
    "attention in a block, called twice": (lambda: Net(twice, inner=attention()), ATTENTION, 2),
    "attention beside an encoder": (lambda: nn.Sequential(attention(), encoder_layer()), ATTENTION, 1),
}
"""Models with the kernel that a part of them runs as, and how often."""

RECORDERS: dict[str, Callable[[nn.Module], list[Recorder]]] = {
    "one": lambda net: [Recorder(net)],
    "of modules": lambda net: [Recorder(net, functions=False)],
    "two": lambda net: [Recorder(net), Recorder(net)],
    "modules inside functions": lambda net: [Recorder(net), Recorder(net, functions=False)],
    "of a part inside the whole": lambda net: [Recorder(net), Recorder(next(net.children()))],
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("recorders", RECORDERS)
@pytest.mark.parametrize("name", FUSED)
def test_fused_kernels_stay_fused_wherever_they_are(name: str, recorders: str, mode: Any) -> None:
    make, kernel, times = FUSED[name]
    torch.manual_seed(0)
    net, batch = make().eval(), x(2, 5, 8)
    with warnings.catch_warnings(), mode():
        warnings.simplefilter("ignore")  # nested tensors are a prototype, torch says
        with Kernels() as plain:
            expected = net(batch)
        with ExitStack() as stack, Kernels() as kernels:
            entered = [stack.enter_context(r) for r in RECORDERS[recorders](net)]
            result = net(batch)
    assert plain.seen.count(kernel) == times
    assert kernels.seen == plain.seen
    assert torch.equal(result, expected)
    for r in entered:
        r.graph.lint()
        assert r.graph.nodes


# Nothing is kept alive


def test_tensors_die_as_they_did() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x).exp()
        z = net.act(y) * 2
        alive.extend([ref(y), ref(z)])
        return z.sin()

    alive: list[ref[Any]] = []
    net = Net(forward, fc=linear(), act=nn.Sigmoid())
    gc.disable()  # what only the collector would free counts as kept
    try:
        r = Recorder(net)
        with r:
            batch = x()
            out = net(batch)
            saved = out.grad_fn._saved_self  # type: ignore[union-attr]
            alive += [ref(out), ref(saved), ref(batch)]
            del saved, batch
            assert alive[2]() is not None
            loss = out.sum()
            del out
            loss.backward()
            alive.append(ref(loss))
            del loss
            assert [reference() for reference in alive] == [None] * 6
    finally:
        gc.enable()
    assert len(r.graph.nodes) == 6


@pytest.mark.parametrize("functions", [True, False])
def test_the_graph_of_autograd_dies_after_the_block_without_a_backward(functions: bool) -> None:
    net = Net(lambda net, x: net.fc(x).exp().sin(), fc=linear())
    gc.disable()
    try:
        with Recorder(net, functions=functions) as r:
            out = net(x())
            saved = ref(out.grad_fn._saved_self)  # type: ignore[union-attr]
            result = ref(out)
            del out
        assert saved() is None
        assert result() is None
    finally:
        gc.enable()
    r.graph.lint()


@pytest.mark.parametrize("functions", [True, False])
def test_the_net_can_go_while_its_recording_stays(functions: bool) -> None:
    net = Net(lambda net, x: net.fc(x).relu(), fc=linear())
    with Recorder(net, functions=functions) as r:
        net(x()).sum().backward()
    gone = [ref(net), ref(net.fc), ref(net.fc.weight)]
    del net
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
    assert r.graph.nodes[0].name == "fc"
    assert [v.name for v in r.graph.initializers] == ["fc.weight"]


def test_a_failed_run_keeps_nothing() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        alive.append(ref(y))
        raise ValueError("no")

    alive: list[ref[Any]] = []
    net = Net(forward, fc=linear())
    r = Recorder(net)
    try:
        with r:
            net(x())
    except ValueError:
        pass
    assert alive[0]() is None
    gone = ref(net)
    del net
    gc.collect()
    assert gone() is None


# Odds and ends


def test_a_deepcopy_or_a_saved_state_inside_the_block_is_as_before() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    with Recorder(net) as r:
        net(x())
        copy, state = deepcopy(net.fc), net.state_dict()
        copy(x())
    assert torch.equal(state["fc.weight"], copy.weight)
    assert not copy._forward_hooks
    r.graph.lint()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_pickled_net_from_inside_the_block_has_no_hooks(tmp_path: Any) -> None:
    net = nn.Sequential(linear())
    with Recorder(net):
        net(x()).sum().backward()
        torch.save(net, tmp_path / "net.pt")
    loaded = torch.load(tmp_path / "net.pt", weights_only=False)
    assert not loaded[0]._forward_hooks
    assert torch.equal(loaded[0].weight, net[0].weight)
