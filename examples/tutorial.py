"""The well-known tutorial on computational graphs, recorded: from one convolution to a training step, then ResNet-50.

    python examples/tutorial.py out

Writes every picture and file into the folder ``out``, and prints what it did.
"""

import sys
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, to_tensor

from recorder import Recorder

PHOTOGRAPH = Path(__file__).parent / "data" / "cat.jpg"


class Net(nn.Module):
    """The tutorial's network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3)
        self.pool = nn.MaxPool2d(3, 2)
        self.fc1 = nn.Linear(238, 120)
        self.fc2 = nn.Linear(120, 1)
        self.fc3 = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = x.view(-1, 238)
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return torch.relu(self.fc3(x))


def photograph(device: torch.device) -> Tensor:
    """The photograph as the tutorial wants it: (1, 3, 720, 480), float32 from -1 to 1."""
    image = Image.open(PHOTOGRAPH).convert("RGB").resize((720, 480))
    pixels = normalize(to_tensor(image), mean=[0.5] * 3, std=[0.5] * 3)
    # The tutorial views the tensor instead of transposing it. That shuffles the pixels; the shapes are its shapes.
    return pixels.view(1, 3, 720, 480).to(device)


def step_by_step(net: Net, x: Tensor, out: Path) -> None:
    """Call one layer after another from outside, and draw how the graph grows."""
    recorder = Recorder(net)
    for number, name in enumerate(("conv1", "pool", "fc1", "fc2"), 1):
        with recorder:
            x = net.get_submodule(name)(x)
        print(f"step {number}: {name:5} → {tuple(x.shape)}")
        for suffix in ("svg", "png"):
            recorder.save(out / f"step{number}_{name}.{suffix}", title=f"Step {number}: {name}")


def training_step(net: nn.Module, x: Tensor, labels: Tensor) -> Recorder:
    """Forward, loss, backward, one step of SGD: recorded as it runs."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    with Recorder(net) as recorder:
        prediction = net(x)
        loss = (prediction - labels).sum()
        loss.backward()
        optimizer.step()
    return recorder


def save_all(recorder: Recorder, out: Path, name: str, **options: object) -> None:
    """Every format: the drawings with the options given, the documents without."""
    recorder.graph.lint()
    for suffix in ("dot", "svg", "png", "mmd"):
        recorder.save(out / f"{name}.{suffix}", **options)
    recorder.save(out / f"{name}.onnx.json")
    recorder.save(out / f"{name}.json")
    recorder.events.save(out / f"{name}.jsonl")


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = photograph(device)
    print(f"{PHOTOGRAPH.name} as {tuple(x.shape)} on {device}")

    net = Net().to(device)
    step_by_step(net, x, out)

    recorder = training_step(net, x, labels=torch.rand(5728, 1, device=device))
    save_all(recorder, out, "tutorial", title="The tutorial's network: a training step")
    print(f"\na training step: {recorder.graph}\n{recorder.summary()}")

    resnet = torchvision.models.resnet50().to(device)
    recorder = training_step(resnet, x, labels=torch.rand(1, 1000, device=device))
    save_all(recorder, out, "resnet50", title="ResNet-50", depth=None)  # all of it
    recorder.save(out / "resnet50_overview.svg", title="ResNet-50, block by block")
    recorder.save(out / "resnet50_overview.png", title="ResNet-50, block by block")
    print(f"ResNet-50: {recorder.graph}\n{recorder.summary(depth=1)}")

    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>12,} bytes  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
