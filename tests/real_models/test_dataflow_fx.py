"""The recorded dataflow of torchvision's models is the one that torch.fx traces: the same edges between leaf calls, and
the same functions between them. What an edge is, and what is left out on both sides, is said in `oracles`.

Everything runs on the meta device: dataflow needs no data. Where fx is blind, and what is done about it:

* It does not see that an operation changes its argument. In-place activations are turned off; ``x += y`` it takes for
  ``x + y``, so the recorder's ``add_`` goes by that name.
* It does not look into functions that torchvision declares opaque with ``fx.wrap``. For edges between leaf calls that
  makes no difference. Where functions are compared, the modules that call such a function are left out.
* It runs what depends on no tensor of the call while it traces, such as an index into a table of positions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from support.oracles import (
    by_fx,
    by_recorder,
    contract,
    functions,
    handed_on,
    is_leaf,
    record,
    without_in_place,
)
from torch import Tensor, nn
from torchvision import models
from torchvision.models.regnet import BlockParams

pytestmark = pytest.mark.slow

MODES = pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])


@contextmanager
def on_meta() -> Iterator[None]:
    """Models are made without data; but RegNet computes its widths with tensors, and reads them."""
    original = BlockParams.from_init_params

    def on_cpu(*args: Any, **kwargs: Any) -> BlockParams:
        with torch.device("cpu"):
            return original(*args, **kwargs)

    with torch.device("meta"), patch.object(BlockParams, "from_init_params", on_cpu):
        yield


def make(name: str, train: bool) -> tuple[nn.Module, Tensor]:
    """A torchvision model without weights, and an input for it: two items, as BatchNorm in training needs."""
    builder = models.get_model_builder(name)
    options = {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    if builder.__module__.startswith("torchvision.models.segmentation"):
        options["weights_backbone"] = None
    if name.startswith(("fcn", "deeplabv3")):
        options["aux_loss"] = True
    size = (299, 299) if name == "inception_v3" else (224, 224)
    if builder.__module__.startswith("torchvision.models.video"):
        size = (16, *size)
    with on_meta():
        return without_in_place(builder(**options).train(train)), torch.empty(2, 3, *size)


def assert_same_edges(net: nn.Module, *args: Tensor) -> None:
    with torch.no_grad():
        through = handed_on(net, *args)
        recorded = contract(by_recorder(net, record(net, *args)), through)
        traced = contract(by_fx(net, *args), through)
    assert recorded == traced
    assert any(target == "output" for _, target in recorded)


def test_there_are_eighty_models_for_classification() -> None:
    assert len(models.list_models(module=models)) == 80


@MODES
@pytest.mark.parametrize("name", models.list_models(module=models))
def test_classification(name: str, train: bool) -> None:
    assert_same_edges(*make(name, train))


@MODES
@pytest.mark.parametrize(
    "name",
    [
        "deeplabv3_resnet50",
        "fcn_resnet50",
        "lraspp_mobilenet_v3_large",
        "mc3_18",
        "mvit_v1_b",
        "mvit_v2_s",
        "r3d_18",
        "s3d",
        "swin3d_t",
    ],
)
def test_segmentation_and_video(name: str, train: bool) -> None:
    assert_same_edges(*make(name, train))


@pytest.mark.parametrize("name", ["convnext_tiny", "densenet121", "googlenet", "resnet18", "swin_t", "vit_b_16"])
def test_without_functions_autograd_finds_every_edge(name: str) -> None:
    """Tensors that no module made are told by autograd alone. That may miss edges; here it does not."""
    net, x = make(name, train=False)
    through = handed_on(net, x)
    recorded = contract(by_recorder(net, record(net, x, functions=False)), through)
    assert recorded == contract(by_fx(net, x), through)


WRAPPED = frozenset(
    {"_get_relative_position_bias", "_patch_merging_pad", "shifted_window_attention", "stochastic_depth"}
)
"""What torchvision hides from fx in these models."""


@MODES
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("convnext_tiny", 87),
        ("efficientnet_b0", 26),
        ("googlenet", {False: 67, True: 75}),
        ("maxvit_t", 528),
        ("resnet18", 9),
        ("shufflenet_v2_x1_0", 94),
        ("swin_t", 26),
        ("vit_b_16", 29),
    ],
)
def test_functions(name: str, count: int | dict[bool, int], train: bool) -> None:
    """Each function that fx sees was recorded at its place: in the same module, between the same leaf calls. ``count``
    says how many those are; googlenet's auxiliary classifiers run in training only."""
    net, x = make(name, train)
    with torch.no_grad():
        through = handed_on(net, x)
        traced = by_fx(net, x)
        hidden = {step.within for step in traced.steps if step.op in WRAPPED}
        expected = functions(traced, through, {}, hidden)
        recorded = functions(by_recorder(net, record(net, x)), through, {"add_": "add"}, hidden)
    assert recorded == expected
    assert recorded.total() == (count if isinstance(count, int) else count[train])


class Forked(nn.Module):
    """Two branches, a layer called twice, one that does nothing, one whose result is dropped, and a size."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.nothing = nn.Identity()
        self.dropped = nn.Linear(4, 4)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, y: Tensor, scale: Tensor | None = None) -> Tensor:
        a = self.shared(x)
        b = self.shared(self.nothing(a) * 2)
        self.dropped(b)
        c = torch.cat([a, b], 1).reshape(y.shape[0], -1)
        return self.head(c if scale is None else c * scale) + y


def test_the_oracle_itself_on_edges_written_down() -> None:
    net = Forked()
    args = torch.zeros(3, 4), torch.zeros(3, 2)
    expected = {
        ("input#0", "shared#0"),
        ("shared#0", "shared#1"),
        ("shared#1", "dropped#0"),
        ("shared#0", "head#0"),
        ("shared#1", "head#0"),
        ("head#0", "output"),
        ("input#1", "output"),
    }
    assert handed_on(net, *args) == {"nothing#0"}
    assert contract(by_fx(net, *args), {"nothing#0"}) == expected
    assert contract(by_recorder(net, record(net, *args)), {"nothing#0"}) == expected


def test_a_leaf_is_told_from_the_module_alone() -> None:
    assert is_leaf(nn.Linear(1, 1))
    assert is_leaf(nn.MultiheadAttention(2, 1))
    assert not is_leaf(nn.Sequential(nn.Linear(1, 1)))
    assert not is_leaf(Forked())
