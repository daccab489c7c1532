"""What a diff says of real models, of what people do to them, and of what is no change."""

import copy
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from support.edits import applied, edited, facts, meta, traced
from support.edits import recorded as made
from support.models import Net
from support.zoo import CLASSIFIERS, ZOO
from torch import Tensor, nn

from recorder import Diff, Graph, Recorder, StreamError, architecture, diff, dumps, loads, save

models = torchvision.models


def recorded(net: nn.Module, *inputs: Any, **named: Any) -> Graph:
    with Recorder(net) as r:
        net(*inputs, **named)
    return r.graph


def image(side: int = 64, items: int = 1) -> Tensor:
    return meta(items, 3, side, side)


@cache
def classifier(name: str) -> nn.Module:
    with torch.device("meta"):
        return models.get_model(name, weights=None).eval()


@cache
def graph_of(name: str) -> Graph:
    return recorded(classifier(name), image())


def changed(name: str, edit: Callable[[Any], object]) -> Diff:
    net = copy.deepcopy(classifier(name))
    with torch.device("meta"):
        edit(net)
    found = diff(graph_of(name), recorded(net.eval(), image()))
    assert applied(found) == facts(found.b)
    return found


def encoder(layers: int = 4, dropout: float = 0.1, eps: float = 1e-5) -> nn.TransformerEncoder:
    with torch.device("meta"):
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=dropout, layer_norm_eps=eps)
        return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def whats(found: Diff) -> list[tuple[str, dict[str, Any]]]:
    return [(found.name(change.b), change.what) for change in found.changed]


# One change in a real model


def test_a_kernel_a_dilation_and_a_type_are_told_by_name() -> None:
    def conv(net: Any) -> None:
        net.layer3[1].conv2 = nn.Conv2d(256, 256, 5, padding=2, bias=False)

    shapes = (256, 256, 3, 3), (256, 256, 5, 5)
    kernel = {"kernel_size": ([3, 3], [5, 5]), "padding": ([1, 1], [2, 2]), "weight.shape": shapes}
    assert whats(changed("resnet18", conv)) == [("layer3.1.conv2", kernel)]
    found = changed("resnet18", lambda net: setattr(net.layer3[1], "relu", nn.GELU()))
    assert [name for name, _ in whats(found)] == ["layer3.1.relu", "layer3.1.relu#1"]
    assert {what["op_type"] for _, what in whats(found)} == {("ReLU", "GELU")}
    assert [*found.added, *found.removed, *found.rewired, *found.renamed, *found.followed] == []


def test_a_stride_changes_one_call_and_the_rest_follows() -> None:
    found = changed("resnet18", lambda net: setattr(net.conv1, "stride", (1, 1)))
    assert [name for name, _ in whats(found)] == ["conv1"]
    assert len(found.followed) > 50
    assert str(found).count("\n") < 5


@pytest.mark.parametrize(("one", "other"), [({"dropout": 0.1}, {"dropout": 0.2}), ({"eps": 1e-5}, {"eps": 1e-6})])
def test_what_changed_alike_at_many_places_is_few_lines(one: dict[str, float], other: dict[str, float]) -> None:
    x = meta(1, 8, 32)
    found = diff(recorded(encoder(**one), x), recorded(encoder(**other), x))
    assert len(found.changed) >= 8
    assert str(found).count("\n") <= 4
    assert f"{next(iter(one.values()))} → {next(iter(other.values()))}" in str(found)


def test_a_kernel_that_runs_layers_as_one_tells_their_parameters() -> None:
    wide = encoder().eval()
    wide.layers[2].linear1, wide.layers[2].linear2 = nn.Linear(32, 128).to("meta"), nn.Linear(128, 32).to("meta")
    with torch.no_grad():
        a, b = (recorded(net, meta(1, 8, 32)) for net in (encoder().eval(), wide))
    found = diff(a, b)
    assert {name.partition(".linear")[0] for name, _ in whats(found)} == {"layers.2"}
    assert "linear1" in str(found)


# Lists, wrappers, names


@pytest.mark.supported("a block inserted into a list")
def test_a_block_inserted_into_a_list_is_one_and_the_shifted_ones_are_one_line() -> None:
    longer = encoder(12)
    with torch.device("meta"):
        longer.layers.insert(6, nn.TransformerEncoderLayer(32, 8, 128, batch_first=True))
    x = meta(1, 8, 32)
    found = diff(recorded(encoder(12), x), recorded(longer, x))
    assert [found.name(place) for place in found.added] == ["layers.6"]
    assert [change.what["name"] for change in found.renamed] == [
        (f"layers.{i}", f"layers.{i + 1}") for i in range(6, 12)
    ]
    assert [*found.removed, *found.changed] == []
    assert "= layers.6–11 → layers.7–12" in str(found).splitlines()
    assert str(found).count("\n") <= 4


def test_one_more_layer_is_told_as_such() -> None:
    x = meta(1, 8, 32)
    found = diff(recorded(encoder(12), x), recorded(encoder(13), x))
    assert [found.name(place) for place in found.added] == ["layers.12"]
    assert "TransformerEncoder: 12 → 13 layers" in str(found).splitlines()
    assert "TransformerEncoder: 12 → 13 layers" in found.to_markdown()
    back = diff(found.b, found.a)
    assert [back.name(place) for place in back.removed] == ["layers.12"]
    assert "TransformerEncoder: 13 → 12 layers" in str(back)


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)


class LoRA(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


@pytest.mark.supported("a wrapper around the model or a layer, `module.`, LoRA")
def test_wrappers_are_looked_through() -> None:
    found = diff(graph_of("resnet18"), recorded(Wrapper(classifier("resnet18")), image()))
    assert [place.op_type for place in found.added] == ["Wrapper"]
    assert [change.what["name"] for change in found.renamed] == [("", "module")]
    assert [*found.removed, *found.changed, *found.rewired, *found.followed] == []
    assert [place.op_type for place in diff(found.b, found.a).removed] == ["Wrapper"]
    found = changed("resnet18", lambda net: setattr(net, "fc", LoRA(net.fc)))
    assert [place.op_type for place in found.added] == ["LoRA"]
    assert [change.what["name"] for change in found.renamed] == [("fc", "fc.base")]
    assert [*found.removed, *found.changed] == []


def test_a_renamed_block_is_one_renaming() -> None:
    class Two(nn.Module):
        def __init__(self, *names: str) -> None:
            super().__init__()
            self.names = names
            for name in names:
                self.add_module(name, nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)))

        def forward(self, x: Tensor) -> Tensor:
            for name in self.names:
                x = self.get_submodule(name)(x)
            return x

    a, b = recorded(Two("stem", "body"), torch.ones(1, 4)), recorded(Two("stem", "trunk"), torch.ones(1, 4))
    found = diff(a, b)
    assert [change.what["name"] for change in found.renamed] == [("body", "trunk")]
    assert [*found.added, *found.removed, *found.changed, *found.rewired] == []


@pytest.mark.supported("one function in the place of another")
def test_another_function_and_another_kernel_of_attention() -> None:
    def attention(fused: bool) -> nn.Module:
        def by_hand(self: Net, x: Tensor) -> Tensor:
            q, k, v = self.q(x), self.k(x), self.v(x)
            if fused:
                return self.o(torch.nn.functional.scaled_dot_product_attention(q, k, v))
            return self.o(torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v)

        return Net(by_hand, **{name: nn.Linear(4, 4) for name in "qkvo"})

    x = torch.ones(1, 3, 4)
    found = diff(recorded(attention(False), x), recorded(attention(True), x))
    assert [place.op_type for place in found.added] == ["scaled_dot_product_attention"]
    assert [place.op_type for place in found.removed] == ["transpose", "matmul", "div", "softmax", "matmul"]
    assert [*found.changed, *found.renamed] == []
    a, b = (Net(lambda self, x, f=f: self.fc(f(x)), fc=nn.Linear(4, 4)) for f in (torch.relu, torch.tanh))
    assert whats(diff(recorded(a, x), recorded(b, x)))[0][1]["op_type"] == ("relu", "tanh")


# What is no change, or follows from one


@pytest.mark.supported("other weights, values, devices, times; training or eval; a loss")
def test_what_differs_from_run_to_run_is_no_change() -> None:
    with Recorder(net := models.resnet18()) as r:
        nn.functional.cross_entropy(net(torch.ones(1, 3, 64, 64)), torch.tensor([3])).backward()
    assert not diff(graph_of("resnet18"), r)
    assert not diff(r.events, r)


@pytest.mark.supported("other sizes of the inputs")
def test_larger_inputs_are_one_change() -> None:
    found = diff(graph_of("resnet18"), recorded(classifier("resnet18"), image(96, 2)))
    assert whats(found) == [("ResNet", {"x.shape": ((1, 3, 64, 64), (2, 3, 96, 96))})]
    assert len(found.followed) == 69
    assert [*found.added, *found.removed, *found.rewired, *found.renamed] == []


@pytest.mark.supported("a parameter that no call was seen to use")
def test_a_module_that_is_never_called_is_compared_as_well() -> None:
    def net(size: int | None) -> nn.Module:
        modules = {} if size is None else {"spare": nn.Linear(size, 1, bias=False)}
        return Net(lambda self, x: self.fc(x), fc=nn.Linear(4, 4), **modules)

    none, small, large = (recorded(net(size), torch.ones(1, 4)) for size in (None, 2, 3))
    assert whats(diff(small, large)) == [("Net", {"spare.weight.shape": ((1, 2), (1, 3))})]
    assert whats(diff(none, small))[0][1]["spare.weight.shape"] == (None, (1, 2))


def test_dropout_of_attention_that_eval_turns_off_is_no_change_and_another_one_is() -> None:
    def net(p: float) -> nn.Module:
        return Net(
            lambda self, x: torch.nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=p * self.training)
        )

    x = torch.ones(1, 2, 3, 4)
    assert not diff(recorded(net(0.1).eval(), x), recorded(net(0.1), x))
    assert whats(diff(recorded(net(0.1), x), recorded(net(0.2), x)))[0][1] == {"dropout_p": (0.1, 0.2)}


def test_a_weight_that_is_tied_no_more_is_wired_to_another() -> None:
    def net(tied: bool) -> nn.Module:
        found = Net(
            lambda self, x: self.head(self.embed(x)), embed=nn.Embedding(5, 4), head=nn.Linear(4, 5, bias=False)
        )
        if tied:
            found.head.weight = found.embed.weight
        return found

    x = torch.zeros(1, 2, dtype=torch.long)
    found = diff(recorded(net(True), x), recorded(net(False), x))
    assert found
    assert {found.name(change.b) for change in (*found.rewired, *found.changed)} == {"head"}


def test_what_is_returned_and_given_is_compared() -> None:
    a, b = Net(lambda self, x: x + 1), Net(lambda self, x, mask: (x + 1, x * mask))
    found = diff(recorded(a, torch.ones(2)), recorded(b, torch.ones(2), torch.ones(2)))
    assert (None, "float32[2]") in [pair for _, what in whats(found) for pair in what.values()]
    assert [place.op_type for place in found.added] == ["mul"]
    assert any("output" in name for change in found.rewired for name in change.what)


# All models, files, pictures


MANY = ["alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2",
        "mobilenet_v3_small", "vgg13", "vgg16", "resnet18", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5",
        "squeezenet1_0", "swin_t", "vgg11"]  # fmt: skip


@cache
def of_zoo(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    net = ZOO[name].make().eval()
    return net, ZOO[name].batch()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MANY, "bert", "gpt2", "llama", "t5", "vit"])
def test_a_real_model_reads_back_and_each_edit_of_a_leaf_is_found(name: str) -> None:
    if name in CLASSIFIERS:
        net, given = copy.deepcopy(classifier(name)), {"x": image()}
    else:
        net, given = of_zoo(name)
    before = recorded(net, **given)
    assert not diff(before, loads(architecture(before)))
    assert not diff(recorded(net, **given), loads(dumps(before)))
    there = dict(net.named_modules())
    called = [node for node in before.nodes if node.fqn in there and node.call == 0]
    for node in (called[1], called[len(called) // 2], called[-1]):
        outer, _, last = str(node.fqn).rpartition(".")
        parent = net.get_submodule(outer)
        old = parent.get_submodule(last)
        # A wrapper round it, and a function behind it.
        setattr(parent, last, Net(lambda self, *x: torch.cos(self.inner(*x)), inner=old))
        found = diff(before, recorded(net, **given))
        parent._modules[last] = old
        assert {place.op_type for place in found.added} == {"Net"}
        assert {change.what["name"] for change in found.renamed} == {(node.fqn, f"{node.fqn}.inner")}
        assert [*found.removed, *found.changed] == []
        assert applied(found) == facts(found.b)


def test_files_are_recordings_too(tmp_path: Any) -> None:
    with Recorder(net := nn.Sequential(nn.Linear(4, 4), nn.ReLU())) as r:
        net(torch.ones(1, 4))
    r.save(tmp_path / "net.arch")
    r.save(tmp_path / "net.json")
    r.events.save(tmp_path / "net.jsonl")
    for one in ("net.arch", "net.json", "net.jsonl"):
        assert not diff(tmp_path / one, str(tmp_path / "net.arch"))
    with pytest.raises(TypeError, match="a recording is a Graph"):
        diff(3, r)  # type: ignore[arg-type]
    (tmp_path / "net.arch").write_text("architecture 1\n?")
    with pytest.raises(StreamError, match="line 2"):
        diff(r, tmp_path / "net.arch")


def test_pictures_mark_what_differs_by_sign_and_look_and_fold_the_rest(tmp_path: Any) -> None:
    x = meta(1, 8, 32)
    found = diff(recorded(encoder(12), x), recorded(encoder(13), x))
    graph = found.graph()
    graph.lint()
    marks = [node.meta.get("diff", {}).get("mark") for node in graph.nodes]
    assert marks == [None, "added"]
    assert graph.nodes[0].meta["repeats"] == 12
    text = save(found, tmp_path / "x.mmd").read_text("utf-8")
    assert "#43; TransformerEncoderLayer" in text
    assert ":::added" in text
    assert ":::context" in text
    back = diff(found.b, found.a)
    back.graph().lint()
    assert "#8722; TransformerEncoderLayer" in save(back, tmp_path / "y.mmd").read_text("utf-8")
    assert save(found, tmp_path / "x.md").read_text("utf-8") == found.to_markdown()
    assert save(found, tmp_path / "x.txt").read_text("utf-8") == f"{found}\n"
    assert "look-added" in save(found, tmp_path / "x.html").read_text("utf-8")


@pytest.mark.parametrize("edit", ["insert", "delete", "replace", "retune", "rename", "wrap", "swap"])
def test_a_picture_of_any_edit_is_a_graph(edit: str) -> None:
    for seed in range(3):
        rng = random.Random(f"picture {edit} {seed}")
        net = traced(rng, 20)
        after = edited(net, rng, edit)
        if after is not None:
            a, b = made(net, meta(2, 8)), made(after[0], meta(2, 8))
            diff(a, b).graph().lint()
            diff(b, a).graph().lint()


def test_markdown_cannot_be_broken_by_a_name() -> None:
    def net(name: str) -> nn.Module:
        found = nn.Sequential()
        found.add_module(name, nn.Linear(2, 2))
        return found

    a, b = recorded(net("plain"), torch.ones(1, 2)), recorded(net("```\n# <b>x|y"), torch.ones(1, 2))
    text = diff(a, b).to_markdown()
    assert "\n# <b>" not in text
    assert "````diff" in text


def test_five_thousand_nodes_take_a_second() -> None:
    def long(extra: bool) -> Graph:
        def forward(self: Net, x: Tensor) -> Tensor:
            for number in range(2500):
                x = torch.relu(x + 1)
                if extra and number == 1200:
                    x = torch.tanh(x)
            return x

        return recorded(Net(forward), meta(2))

    a, b = long(False), long(True)
    begin = time.process_time()
    found = diff(a, b)
    assert time.process_time() - begin < 1.0
    assert [place.op_type for place in found.added] == ["tanh"]
    assert [*found.removed, *found.changed] == []
