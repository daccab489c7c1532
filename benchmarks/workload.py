"""One run of a model: an evaluation or a training step, on a device. What every mode is given to run."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from benchmarks.models import MODELS

__all__ = ["STEPS", "Step", "Workload"]

Step = Literal["eval-grad", "eval", "train"]

STEPS: dict[Step, str] = {
    "eval-grad": "evaluation with gradients on",  # as whoever just calls a model has it
    "eval": "evaluation under no_grad",
    "train": "training step",
}
"""What one run of a model is, in words."""


class Workload:
    """``workload()`` is one run. Modes that drive the model themselves take ``net``, ``inputs`` and `around`.

    A training step is forward, a loss and backward. The optimizer's part is left out: no tool looks into it, and it
    would make every ratio look better.
    """

    def __init__(self, model: str, step: Step, batch: int, device: str, *, autocast: bool, smallest: bool) -> None:
        torch.manual_seed(0)
        net, inputs = MODELS[model].make(smallest)
        self.net = net.to(device).train(step == "train")
        self.inputs: tuple[Tensor, ...] = (inputs(batch).to(device),)
        self.device = device
        self.train = step == "train"
        self._step = step
        self._autocast = autocast

    def __call__(self) -> Tensor:
        if self.train:
            self.net.zero_grad()
            loss = self.loss()
            torch.autograd.backward(loss)
            return loss
        with self.around():
            out: Tensor = self.net(*self.inputs)
            return out

    def loss(self) -> Tensor:
        with self.around():
            out: Tensor = self.net(*self.inputs)
            return out.float().square().mean()

    def around(self) -> AbstractContextManager[object]:
        """What the forward pass runs under."""
        if self.train:
            return torch.autocast(self.device, torch.bfloat16) if self._autocast else nullcontext()
        return torch.no_grad() if self._step == "eval" else torch.enable_grad()
