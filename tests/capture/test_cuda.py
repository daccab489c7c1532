"""A recorded training step on a CUDA device: nothing waits for it, nothing of it differs, nothing of it is left.

Where there is no such device the file is not collected (see conftest.py): it has nothing to skip there.
"""

import gc
from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from support.models import Net, same
from torch import Tensor, nn

from recorder import Recorder
from recorder.capture.backward_hooks import Gradients

GRADIENTS: tuple[Gradients, ...] = ("calls", "on", "stats")


class Residual(nn.Module):
    """A block of a ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return self.relu(out)


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """cuBLAS reads the variable when it is first used."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    yield
    torch.cuda.set_sync_debug_mode("default")
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    blocks = [Residual(3, 16, 2), Residual(16, 32, 2), Residual(32, 64, 2)]
    return Net(
        lambda self, x: self.fc(self.blocks(x).mean((2, 3))), blocks=nn.Sequential(*blocks), fc=nn.Linear(64, 10)
    ).cuda()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(8, 3, 32, 32, device="cuda")


def step(net: nn.Module, x: Tensor) -> Tensor:
    net.zero_grad()
    with torch.autocast("cuda", torch.bfloat16):
        loss = net(x).float().square().mean()
    loss.backward()
    return loss


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("gradients", GRADIENTS)
def test_a_recorded_training_step_never_waits_for_the_device(
    net: nn.Module, x: Tensor, gradients: Gradients, functions: bool
) -> None:
    """Statistics are read once, when the block ends; until then a transfer to the CPU would raise."""
    step(net, x)
    with Recorder(net, gradients=gradients, functions=functions) as r:
        torch.cuda.set_sync_debug_mode("error")
        step(net, x)
        torch.cuda.set_sync_debug_mode("default")
    assert len(r.graph.nodes) > 20
    assert all(node.error is None for node in r.graph.nodes)


def test_the_mode_that_these_tests_rely_on_sees_a_transfer(x: Tensor) -> None:
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchroniz"):
        x.sum().item()


@pytest.mark.parametrize("gradients", GRADIENTS)
def test_loss_gradients_and_buffers_are_the_same_bit_for_bit(net: nn.Module, x: Tensor, gradients: Gradients) -> None:
    twin = deepcopy(net)
    expected = step(twin, x)
    with Recorder(net, gradients=gradients):
        found = step(net, x)
    assert torch.equal(found, expected)
    assert same([p.grad for p in net.parameters()], [p.grad for p in twin.parameters()])
    assert same(list(net.buffers()), list(twin.buffers()))


def test_the_graph_names_the_device_and_the_dtypes_of_autocast(net: nn.Module, x: Tensor) -> None:
    with Recorder(net) as r:
        step(net, x)
    graph = r.graph
    graph.lint()
    values = [*graph.inputs, *graph.initializers, *(value for node in graph.nodes for value in node.outputs)]
    assert {value.device for value in values} == {"cuda:0"}
    (conv,) = (node for node in graph.nodes if node.name == "blocks.0.conv1")
    assert conv.outputs[0].dtype == "bfloat16"
    assert conv.inputs[0].dtype == "float32"


@pytest.mark.parametrize("gradients", GRADIENTS)
def test_no_memory_of_the_device_is_kept(net: nn.Module, x: Tensor, gradients: Gradients) -> None:
    """While the recorder lives on, so that it is not freed with it."""
    step(net, x)
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    with Recorder(net, gradients=gradients) as r:
        step(net, x)
    assert len(r.graph.nodes)
    gc.collect()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


def test_statistics_are_those_of_the_gradients(net: nn.Module, x: Tensor) -> None:
    with Recorder(net, gradients="stats") as r:
        step(net, x)
    told = {
        value.name: value.meta["backward"]["gradient"]["norm"] for value in r.graph.initializers if value.requires_grad
    }
    assert told == {name: pytest.approx(p.grad.norm().item(), rel=1e-4) for name, p in net.named_parameters()}
