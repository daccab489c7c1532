"""How a layer that takes no floating-point operations is made again: where the user has formulas for what is done
element by element, for softmax or normalisation, its kernels count.
"""

import inspect
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from recorder.analysis.flop_formulas import of_the_user
from recorder.analysis.layers_again import Again, Told

__all__ = ["free_layer_again"]


@cache
def free_layer_again(target: str) -> Again | None:
    """How a call of such a layer of torch is made again; None for what is no layer of torch."""
    home, _, name = target.rpartition(".")
    layer: Any = getattr(nn, name, None)
    if not home.startswith("torch.nn.modules.") or getattr(layer, "__module__", "") != home:
        return None
    return partial(_called, layer)


def _called(layer: type[nn.Module], inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> list[Tensor]:
    """The layer of the same hyper-parameters, with the same parameters and buffers.

    Raises:
        ValueError: what it runs depends on whether it trains, which a recording does not say.
    """
    if told.attributes.get("track_running_stats") and any("batch_norm" in f"{packet}" for packet in of_the_user()):
        raise ValueError("whether it was in training is not known")
    wanted = inspect.signature(layer).parameters
    options = {name: _as_given(value) for name, value in told.attributes.items() if name in wanted}
    made = layer(**options)
    for name, tensor in members.items():
        for own in (made._parameters, made._buffers):
            if name in own:
                own[name] = tensor  # type: ignore[assignment]
    if options.get("inplace"):  # autograd refuses to write into what nothing made
        inputs = [tensor.clone() for tensor in inputs]
    result = made(*inputs)
    return [result] if isinstance(result, Tensor) else [one for one in result if isinstance(one, torch.Tensor)]


def _as_given(value: Any) -> Any:
    """What JSON has made of it."""
    return tuple(map(_as_given, value)) if isinstance(value, list) else value
