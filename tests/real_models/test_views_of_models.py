"""What the views show of real models: the blocks that a paper draws, how often they stand there, and, between what is
left, the dataflow that torch.fx traces.

Weights are random or on the meta device, and transformers are small: only the structure counts.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache

import pytest
import torch
import transformers
from support.oracles import by_fx, by_recorder, contract, handed_on, is_leaf, without_in_place
from torch import nn
from torchvision import models

from recorder import Graph, Recorder, collapse, export, fold, readable, unfold

pytestmark = pytest.mark.slow

WORDS = torch.arange(10)[None]


def image() -> torch.Tensor:
    return torch.empty(1, 3, 224, 224, device="meta")


@cache
def network(name: str) -> nn.Module:
    with torch.device("meta"):
        return without_in_place(models.get_model(name, weights=None).eval())


@cache
def recorded(name: str) -> Graph:
    """Of the small transformers: 12 layers of GPT-2, 6 and 6 of T5."""
    if name == "gpt2":
        sizes = {"n_embd": 16, "n_head": 2, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0}
        net = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=12, **sizes)).eval()
        given = {"input_ids": WORDS}
    elif name == "t5":
        sizes = {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_heads": 2, "vocab_size": 50, "num_layers": 6}
        net = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)).eval()
        given = {"input_ids": WORDS, "decoder_input_ids": WORDS}
    else:
        net, given = network(name), {"x": image()}
    with torch.no_grad(), Recorder(net) as r:
        net(*given.values()) if name not in ("gpt2", "t5") else net(**given)
    r.graph.lint()
    return r.graph


def repetitions(view: Graph) -> list[tuple[str, int, str]]:
    """In execution order, what repeats, outermost only: its name, how often, and its type."""
    found = []
    for place in (*view.scopes, *view.nodes):
        around = place.scope if place in view.nodes else place.parent
        within = [] if around is None else list(around.ancestors())
        if "repeats" in place.meta and not any("repeats" in scope.meta for scope in within):
            found.append((place.name, place.meta["repeats"], place.op_type))
    return found


MODELS = {
    "resnet50": [
        ("layer1.1", 2, "Bottleneck"),
        ("layer2.1", 3, "Bottleneck"),
        ("layer3.1", 5, "Bottleneck"),
        ("layer4.1", 2, "Bottleneck"),
    ],
    "vit_b_16": [("encoder.layers.encoder_layer_0", 12, "EncoderBlock")],
    # Of two blocks the second one's windows are shifted; where the image is one window, there is nothing to shift.
    "swin_t": [("features.5.0 … features.5.5", 3, ""), ("features.7.0", 2, "SwinTransformerBlock")],
    "gpt2": [("transformer.h.0", 12, "GPT2Block")],
    # The first block of each stack computes the position bias that all use.
    "t5": [("encoder.block.1", 5, "T5Block"), ("decoder.block.1", 5, "T5Block")],
}


@pytest.mark.parametrize("name", MODELS)
def test_blocks_that_repeat(name: str) -> None:
    graph = recorded(name)
    view = fold(graph)
    view.lint()
    assert repetitions(view) == MODELS[name]
    assert unfold(view) == graph


def test_the_names_of_what_repeats() -> None:
    (scope,) = [scope for scope in fold(recorded("gpt2")).scopes if "repeats" in scope.meta]
    assert scope.meta["repeated"] == [f"transformer.h.{i}" for i in range(12)]


@pytest.mark.parametrize("name", MODELS)
def test_collapsed_blocks_fold_as_open_ones_do(name: str) -> None:
    graph = recorded(name)
    blocks = {"Bottleneck", "EncoderBlock", "SwinTransformerBlock", "GPT2Block", "T5Block"}
    one_way, other_way = collapse(fold(graph), op_type=blocks), fold(collapse(graph, op_type=blocks))
    assert repetitions(one_way) == MODELS[name]
    # The last block of T5's decoder returns what the others do, though nobody takes one of its tensors.
    assert repetitions(other_way) == MODELS[name]
    assert [node.name for node in one_way.nodes] == [node.name for node in other_way.nodes]


SHOWN = {
    "resnet50": {"Bottleneck": 8, "Conv2d": 1, "BatchNorm2d": 1, "ReLU": 1, "MaxPool2d": 1, "Linear": 1},
    "vit_b_16": {"MultiheadAttention": 1, "Linear": 3, "LayerNorm": 3, "Conv2d": 1, "GELU": 1},
    "swin_t": {"SwinTransformerBlock": 7, "PatchMerging": 3, "Conv2d": 1, "Linear": 1},
    "gpt2": {"Conv1D": 4, "scaled_dot_product_attention": 1, "NewGELUActivation": 1, "Embedding": 2},
    "t5": {"T5Attention": 6, "T5DenseActDense": 4, "T5LayerNorm": 12, "Embedding": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_drawing_without_options_can_be_read(name: str) -> None:
    graph = recorded(name)
    view = readable(graph)
    view.lint()
    assert len(view.nodes) <= 50 < len(graph.nodes)
    shown = Counter(node.op_type for node in view.nodes)
    assert shown | Counter(SHOWN[name]) == shown
    assert shown & Counter(SHOWN[name]) == Counter(SHOWN[name])
    assert {op_type: shown[op_type] for op_type in SHOWN[name]} == SHOWN[name]
    for format in ("dot", "mermaid"):
        text = str(export(graph, format))
        assert f"{len(view.nodes)} boxes for {len(graph.nodes)} operations" in text
        assert "× 12" in text or name not in ("vit_b_16", "gpt2")
        assert str(export(graph, format, depth=None)) != text
    assert "× " not in str(export(graph, "dot", depth=None, shapes=False)).replace("×1", "")


TRACED = ["resnet50", "vit_b_16", "swin_t"]


def runs_of(view: Graph) -> list[tuple[dict[str, str], dict[str, int]]]:
    """For each run, by the names of its blocks: the one that stands for it, and the number of the repetition."""
    runs = []
    for place in (*view.scopes, *view.nodes):
        if "repeats" in place.meta:
            names = place.meta["repeated"]
            period = len(names) // place.meta["repeats"]
            shown = {name: names[i % period] for i, name in enumerate(names)}
            runs.append((shown, {name: i // period for i, name in enumerate(names)}))
    return runs


def block_of(call: str, names: Iterable[str]) -> str | None:
    """The one of these modules that a call is in."""
    path = call.partition("#")[0]
    return next((name for name in names if path == name or path.startswith(f"{name}.")), None)


@pytest.mark.parametrize("name", TRACED)
def test_fx_sees_the_dataflow_of_the_folded_view(name: str) -> None:
    """Each edge that fx traced is an edge between what stands for its ends, unless it leads to another repetition."""
    net, graph = network(name), recorded(name)
    view = fold(graph)
    with torch.no_grad():
        through = handed_on(net, image())
        traced = contract(by_fx(net, image()), through)
    expected = set()
    for edge in traced:
        for shown, repetition in runs_of(view):
            blocks = [block_of(call, shown) for call in edge]
            if None not in blocks and repetition[blocks[0]] != repetition[blocks[1]]:
                break
            edge = tuple(
                call if block is None else shown[block] + call.removeprefix(block)
                for call, block in zip(edge, blocks, strict=True)
            )
        else:
            expected.add(edge)
    assert contract(by_recorder(net, view), through) == expected
    assert len(expected) < len(traced)


@pytest.mark.parametrize("name", TRACED)
def test_fx_sees_the_dataflow_of_the_collapsed_view(name: str) -> None:
    """If all that happens in a collapsed module, functions too, is one step to fx as well."""
    net, graph = network(name), recorded(name)
    view = collapse(graph, op_type=["Bottleneck", "EncoderBlock", "SwinTransformerBlock"])
    closed = {node.fqn for node in view.nodes if "collapsed" in node.meta}
    assert len(closed) == {"resnet50": 16, "vit_b_16": 12, "swin_t": 12}[name]
    modules = dict(net.named_modules())
    steps = {modules[fqn] for fqn in closed}
    with torch.no_grad():
        through = {call for call in handed_on(net, image()) if block_of(call, closed) is None}
        traced = by_fx(net, image())
    joined = [
        step if block is None else step._replace(call=f"{block}#0")
        for step in traced.steps
        for block in [block_of(step.call or step.within, closed)]
    ]
    recorded_ = by_recorder(net, view, leaf=lambda module: is_leaf(module) or module in steps)
    assert contract(recorded_, through) == contract(traced._replace(steps=joined), through)
