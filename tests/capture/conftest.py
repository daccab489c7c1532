"""Each of torch's modes of gradients."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

GRAD_MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@pytest.fixture(params=GRAD_MODES)
def grad_mode(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Any]]:
    return GRAD_MODES[request.param]
