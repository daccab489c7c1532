"""The multiply-adds that torchvision publishes with the weights of its classifiers are those that a recording has."""

from typing import Any

import pytest
import torch
from torchvision import models
from torchvision.models.regnet import BlockParams

from recorder import Recorder

NAMES = models.list_models(module=models)
QUICK = ("mobilenet_v3_small", "regnet_x_400mf", "resnet18", "vit_b_16")


def counted(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Without memory: neither weights nor images are there."""
    plan = BlockParams.from_init_params

    def planned(**options: Any) -> Any:  # it computes the widths of a RegNet with tensors
        with torch.device("cpu"):
            return plan(**options)

    monkeypatch.setattr(BlockParams, "from_init_params", planned)
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    options |= {"image_size": size} if name.startswith("vit_") else {}
    with torch.device("meta"):
        net, image = models.get_model(name, weights=None, **options).eval(), torch.empty(1, 3, size, size)
    with torch.no_grad(), Recorder(net) as r:
        net(image)
    return r.summary().total


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_the_multiply_adds_of_a_classifier(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one percent; or within what was rounded away, of ShuffleNet's 0.04 G."""
    weights = models.get_model_weights(name).DEFAULT
    (size,) = set(weights.transforms().crop_size)
    told = counted(name, size, monkeypatch)
    assert told["macs"] / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.01, abs=0.0005)
    assert told["flops_unknown"] == 0
