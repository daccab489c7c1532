"""Recording changes nothing: results, gradients, buffers, random numbers, kernels, warnings, autograd's graph, modules.

Each architecture runs a step of training and one of evaluation twice from the same seed, unrecorded and recorded, and
everything that can be seen of the two runs is compared to the bit.
"""

import gc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import pytest
import torch
import transformers
from models import Net, linear, same, tensors, x
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision import models

from recorder import Recorder


def image(size: int) -> Callable[[], dict[str, Tensor]]:
    return lambda: {"x": torch.randn(2, 3, size, size)}


def words() -> dict[str, Tensor]:
    ids = torch.randint(0, 50, (2, 7))
    return {"input_ids": ids, "labels": torch.randint(0, 50, (2, 7))}


def small(config: type[Any], **more: Any) -> Any:
    settings = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    return config(**{**settings, **more})


def t5() -> nn.Module:
    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2))


def vit() -> nn.Module:
    return models.VisionTransformer(32, 16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, num_layers=2, dropout=0.5)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, (h, _) = self.lstm(x)
        out = out.clone()
        out[0] = 0
        return self.head(out) + h.sum()


ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], Callable[[], dict[str, Tensor]]]] = {
    "resnet18": (lambda: models.resnet18(num_classes=5), image(32)),
    "googlenet": (lambda: models.googlenet(num_classes=5, init_weights=False), image(64)),
    "densenet": (lambda: models.DenseNet(8, (2, 2), 8, num_classes=5), image(32)),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=5), image(32)),
    "squeezenet1_1": (lambda: models.squeezenet1_1(num_classes=5), image(32)),
    "shufflenet_v2_x0_5": (lambda: models.shufflenet_v2_x0_5(num_classes=5), image(32)),
    "efficientnet_b0": (lambda: models.efficientnet_b0(num_classes=5), image(32)),
    "swin": (lambda: models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=5), image(32)),
    "vit": (vit, image(32)),
    "lstm": (Recurrent, lambda: {"x": torch.randn(5, 2, 4)}),
    "transformer": (
        lambda: nn.Transformer(8, 2, 2, 2, 16, batch_first=True),
        lambda: {"src": torch.randn(2, 5, 8), "tgt": torch.randn(2, 4, 8)},
    ),
    "bert": (lambda: transformers.BertForMaskedLM(small(transformers.BertConfig)), words),
    "gpt2": (gpt2, words),
    "llama": (lambda: transformers.LlamaForCausalLM(small(transformers.LlamaConfig)), words),
    "t5": (t5, words),
}


class Kernels(TorchDispatchMode):
    """Notes every operator that reaches a kernel, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@dataclass
class Seen:
    """Everything that one run shows to the outside."""

    outputs: Any
    state: dict[str, Tensor]
    gradients: list[Tensor | None]
    autograd: Counter[str]
    kernels: list[str]
    warnings: list[str]
    random: Tensor
    modules: list[Any] = field(default_factory=list)

    def compare(self, other: "Seen") -> None:
        assert same(self.outputs, other.outputs)
        assert same(self.state, other.state)
        assert [g is None for g in self.gradients] == [g is None for g in other.gradients]
        assert same([g for g in self.gradients if g is not None], [g for g in other.gradients if g is not None])
        assert self.autograd == other.autograd
        assert self.kernels == other.kernels
        assert self.warnings == other.warnings
        assert torch.equal(self.random, other.random)
        assert self.modules == other.modules


def autograd_nodes(tensor: Tensor) -> Iterator[str]:
    seen, pending = set(), [tensor.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node.name()
            pending += [n for n, _ in node.next_functions]


def run(
    original: nn.Module, batch: Callable[[], dict[str, Tensor]], training: bool, recorded: bool = True, **options: bool
) -> Seen:
    """One step of a copy."""
    net = deepcopy(original).train(training)
    torch.manual_seed(0)
    inputs = batch()
    r = Recorder(net, **options)
    with warnings.catch_warnings(record=True) as warned, Kernels() as kernels, r if recorded else nullcontext():
        warnings.simplefilter("always")
        with nullcontext() if training else torch.no_grad():
            outputs = net(**inputs)
            loss = sum(t.float().mean() for t in tensors(outputs) if t.is_floating_point())
        autograd = Counter(autograd_nodes(loss))
        if training:
            loss.backward()
    if recorded:
        r.graph.lint()
        assert len(r.graph.nodes) > 1
    return Seen(
        outputs=(outputs, loss),
        state=net.state_dict(),
        gradients=[p.grad for p in net.parameters()],
        autograd=autograd,
        kernels=kernels.seen,
        warnings=[str(w.message) for w in warned],
        random=torch.random.get_rng_state(),
        modules=[
            (name, sorted(m.__dict__), [(k, dict(v)) for k, v in sorted(m.__dict__.items()) if k.endswith("_hooks")])
            for name, m in net.named_modules()
        ],
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_recording_changes_nothing(name: str, training: bool) -> None:
    make, batch = ARCHITECTURES[name]
    torch.manual_seed(0)
    net = make()
    plain = run(net, batch, training, recorded=False)
    assert len(plain.kernels) > 10
    if training:
        assert any(g is not None and g.any() for g in plain.gradients)
    run(net, batch, training).compare(plain)
    run(net, batch, training, functions=False).compare(plain)


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
