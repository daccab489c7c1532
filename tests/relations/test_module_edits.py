"""Random edits of the module trees of real models: a diff finds them, nothing else, and all of them."""

import copy
import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torchvision
import transformers
from support.edits import Truth, applied, facts, meta
from support.module_edits import MODULE_EDITS
from torch import nn

from recorder import Graph, Recorder, architecture, diff

SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}

TRANSFORMERS: dict[str, Callable[[], nn.Module]] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(vocab_size=50, **SMALL)),
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=16, **SMALL)),
    "distilbert": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(vocab_size=50, dim=16, n_layers=3, n_heads=2, hidden_dim=32)
    ),
}
QUICK = ["mobilenet_v2", "densenet121", "googlenet", "bert"]
OTHERS = [
    "resnet18", "resnet50", "vgg11_bn", "squeezenet1_0", "inception_v3", "efficientnet_b0", "convnext_tiny", "swin_t",
    "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v3_small", "alexnet", "vit_b_16", "vit", "distilbert",
]  # fmt: skip
SIDES = {"alexnet": 224, "vit_b_16": 224, "inception_v3": 96}


def recorded(name: str, net: nn.Module) -> Graph:
    inputs: tuple[Any, ...] = (meta(1, 3, SIDES.get(name, 64), SIDES.get(name, 64)),)
    if name in TRANSFORMERS:
        inputs = (meta(1, 3, 32, 32) if name == "vit" else torch.zeros(1, 8, dtype=torch.long, device="meta"),)
    with Recorder(net) as r:
        net(*inputs)
    return r.graph


@cache
def model(name: str) -> tuple[nn.Module, Graph]:
    options: dict[str, Any] = (
        {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    )
    with torch.device("meta"):
        make = TRANSFORMERS.get(name)
        net = torchvision.models.get_model(name, weights=None, **options) if make is None else make()
    return net.eval(), recorded(name, net)


def check(name: str, kind: str, seed: int) -> bool:
    """Whether there was something to edit."""
    net, before = copy.deepcopy(model(name)[0]), model(name)[1]
    truth = MODULE_EDITS[kind](net, before, random.Random(f"{name} {kind} {seed}"))
    if truth is None:
        return False
    what = diff(before, recorded(name, net))
    assert what
    assert applied(what) == facts(what.b)
    counts = (Counter(place.op_type for place in places) for places in (what.added, what.removed))
    found = Truth(*counts, Counter(change.b.op_type for change in what.changed), len(what.renamed))
    expected = truth._replace(renamed=found.renamed) if kind in ("insert", "delete") else truth
    assert found == expected, f"{name} {kind} {seed}\n{what}"
    return True


@pytest.mark.parametrize("name", QUICK)
def test_an_edit_is_found_as_what_it_is(name: str) -> None:
    found = Counter(kind for kind in MODULE_EDITS for seed in range(2) if check(name, kind, seed))
    assert len(found) >= 3, found


def test_every_kind_of_edit_is_tried() -> None:
    assert all(any(check(name, kind, 7) for name in QUICK) for kind in MODULE_EDITS)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_edits_of_other_models_are_found(name: str) -> None:
    net, before = model(name)
    assert not diff(before, recorded(name, net))
    found = Counter(kind for kind in MODULE_EDITS for seed in range(2) if check(name, kind, seed))
    assert len(found) >= 2, found


def test_a_layer_inserted_into_a_sequential_is_two_lines_and_those_behind_are_one() -> None:
    net, before = copy.deepcopy(model("mobilenet_v2")[0]), model("mobilenet_v2")[1]
    net.features.insert(9, nn.Hardtanh())  # type: ignore[operator, union-attr]
    after = recorded("mobilenet_v2", net)
    what = diff(before, after)
    lines = str(what).splitlines()
    assert "= features.9–18 → features.10–19" in lines
    assert len(lines) <= 5, str(what)
    ours, theirs = architecture(before).splitlines(), architecture(after).splitlines()
    # The new line; and the name of each block behind it, once, with where it comes from.
    assert len(theirs) == len(ours) + 1
    gone = Counter(ours) - Counter(theirs)
    assert gone.total() <= 2 * 10 + 2
