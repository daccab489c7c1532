"""torchvision's models that are no plain classifiers: they record, their graphs lint, and they compute what they did.

Every family is here, with random weights and inputs as small as it takes.
"""

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from support.models import same, tensors
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection, optical_flow, quantization, segmentation, video

from recorder import Recorder

pytestmark = pytest.mark.slow

Call = Callable[[nn.Module], Any]

CLASSES = 3


def image(size: int) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def detect(size: int) -> Call:
    """Detection models take a list of images of any sizes, and in training what is to be found in them."""

    def call(net: nn.Module) -> Any:
        images = [image(size)[0], image(size)[0, :, : size // 2]]
        if not net.training:
            return net(images)
        target = {
            "boxes": torch.tensor([[2.0, 2.0, 20.0, 20.0]]),
            "labels": torch.tensor([1]),
            "masks": torch.ones(1, size, size, dtype=torch.uint8),
            "keypoints": torch.tensor([[[5.0, 5.0, 1.0], [9.0, 9.0, 1.0]]]),
        }
        return net(images, [target, {**target, "masks": target["masks"][:, : size // 2]}])

    return call


def plain(*shape: int) -> Call:
    return lambda net: net(torch.rand(shape, generator=torch.Generator().manual_seed(0)))


def detector(kind: Any, **options: Any) -> Callable[[], nn.Module]:
    """A detector with a small backbone, few anchors and few proposals: torchvision's own take seconds a step."""

    def make() -> nn.Module:
        backbone = detection.backbone_utils._mobilenet_extractor(
            models.mobilenet_v3_small(weights=None), fpn=True, trainable_layers=6, returned_layers=[2, 3]
        )
        anchors = detection.anchor_utils.AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)
        name = "anchor_generator" if kind is detection.RetinaNet else "rpn_anchor_generator"
        return kind(backbone, CLASSES, min_size=32, max_size=64, **{name: anchors}, **options)

    return make


FEW = {
    "rpn_pre_nms_top_n_train": 20,
    "rpn_pre_nms_top_n_test": 20,
    "box_batch_size_per_image": 8,
    "box_detections_per_img": 4,
}

FAMILIES: dict[str, tuple[Callable[[], nn.Module], Call]] = {
    "faster r-cnn": (
        lambda: detection.fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None, weights_backbone=None, num_classes=CLASSES, min_size=32, max_size=64
        ),
        detect(32),
    ),
    "mask r-cnn": (detector(detection.MaskRCNN, **FEW), detect(32)),
    "keypoint r-cnn": (detector(detection.KeypointRCNN, num_keypoints=2, **FEW), detect(32)),
    "retinanet": (detector(detection.RetinaNet), detect(32)),
    "fcos": (
        lambda: detection.fcos_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=CLASSES, min_size=32, max_size=64
        ),
        detect(32),
    ),
    "ssdlite": (
        lambda: detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES),
        detect(32),
    ),
    "deeplab": (
        lambda: segmentation.deeplabv3_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True
        ),
        plain(2, 3, 32, 32),
    ),
    "fcn": (
        lambda: segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES),
        plain(1, 3, 32, 32),
    ),
    "lraspp": (
        lambda: segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES),
        plain(2, 3, 32, 32),
    ),
    "video resnet": (lambda: video.r3d_18(weights=None, num_classes=CLASSES), plain(2, 3, 4, 16, 16)),
    "mvit": (
        lambda: video.MViT(
            (16, 16),
            4,
            [
                video.mvit.MSBlockConfig(1, 8, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
                video.mvit.MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
            ],
            residual_pool=True,
            residual_with_cls_embed=False,
            rel_pos_embed=True,
            proj_after_attn=True,
            num_classes=CLASSES,
        ),
        plain(1, 3, 4, 16, 16),
    ),
    "swin video": (
        lambda: video.SwinTransformer3d([2, 4, 4], 8, [2, 2], [2, 2], [2, 2, 2], num_classes=CLASSES),
        plain(1, 3, 4, 16, 16),
    ),
    "raft": (
        lambda: optical_flow.raft_small(weights=None),
        lambda net: net(image(128), image(128).flip(-1), num_flow_updates=2),
    ),
    "quantizable": (
        lambda: quantization.mobilenet_v2(weights=None, quantize=False, num_classes=CLASSES),
        plain(2, 3, 32, 32),
    ),
}


def loss_of(outputs: Any) -> Tensor:
    return torch.stack([t.float().mean() for t in tensors(outputs) if t.requires_grad]).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_they_record_and_are_untouched(family: str) -> None:
    make, call = FAMILIES[family]
    torch.manual_seed(0)
    original = make()
    for training in (True, False):
        results = []
        for recorded in (False, True):
            net = deepcopy(original).train(training)
            torch.manual_seed(1)
            r = Recorder(net)
            with torch.set_grad_enabled(training), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torchvision's own
                if recorded:
                    r.__enter__()
                try:
                    outputs = call(net)
                    if training:
                        loss_of(outputs).backward()
                finally:
                    if recorded:
                        r.__exit__(None, None, None)
            results.append((outputs, [p.grad for p in net.parameters() if p.grad is not None], net.state_dict()))
        assert same(results[0], results[1])
        graph = r.graph
        graph.lint()
        assert all(node.error is None for node in graph.nodes)
        assert graph.inputs
        assert len(graph.outputs) > 0
        called = {node.fqn for node in graph.nodes} | {scope.fqn for scope in graph.scopes}
        leaves = {name for name, m in original.named_modules() if not m._modules}
        assert len(called & leaves) > 0.5 * len(leaves)
        assert _connected(graph)


def _connected(graph: Any) -> bool:
    """Whether each float output was computed from an input."""
    reached = {id(value) for value in graph.inputs}
    for node in graph.nodes:
        if any(id(value) in reached for value in node.inputs):
            reached |= {id(value) for value in node.outputs}
    return all(id(value) in reached for value in graph.outputs if value.dtype == "float32")


@pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="no engine for quantised kernels")
@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v3_large"])
def test_quantised_models(name: str) -> None:
    engine = torch.backends.quantized.engine
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # eager quantisation is to go, torch says
            torch.manual_seed(0)
            net = getattr(quantization, name)(weights=None, quantize=True, num_classes=CLASSES)
            batch = image(32)
            expected = net(batch)
            with Recorder(net) as r:
                result = net(batch)
    finally:
        torch.backends.quantized.engine = engine
    assert same(result, expected)
    r.graph.lint()
    assert "quint8" in {value.dtype for value in r.graph.values()}
    assert _connected(r.graph)
    assert sum(1 for node in r.graph.nodes if node.kind == "module") > 20
