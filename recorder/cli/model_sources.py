"""Models by name from libraries: ``timm:NAME`` and ``transformers:NAME``, with random weights. Nothing is downloaded.

A file of its own because it needs torch, which the command line loads only to record.
"""

import contextlib
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
import torch

from recorder.cli.model_inputs import Inputs, Making
from recorder.errors import describe_error, did_you_mean

__all__ = ["LIBRARIES", "own_inputs"]

LARGEST = 2_000_000_000
"""So many parameters are made without asking back: 8 GB as float32."""


def from_timm(name: str, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> torch.nn.Module:
    """A model of timm's."""
    timm = _library("timm")
    if config:
        raise click.UsageError("--config is for transformers: what timm makes a model with is --kwargs")
    if not timm.is_model(name):
        raise click.UsageError(f"timm has no model {name!r}{did_you_mean(name, timm.list_models())}")
    net: torch.nn.Module = timm.create_model(name, **{**arguments, "pretrained": False})
    return net


def from_transformers(name: str, arguments: Mapping[str, Any], config: Mapping[str, Any]) -> torch.nn.Module:
    """A model of transformers' by its type, as ``bert``, or by its class, as ``BertForSequenceClassification``."""
    transformers = _library("transformers")
    types = import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    named = getattr(transformers, name, None) if name.isidentifier() and name not in types else None
    kind = getattr(named, "config_class", None)
    if name not in types and kind is None:
        classes = [n for n in dir(transformers) if n.endswith("Model") or "For" in n]
        raise click.UsageError(f"transformers has no model {name!r}{did_you_mean(name, [*types, *classes])}")
    default = transformers.AutoConfig.for_model(name) if kind is None else kind()
    for key in config:
        if not hasattr(default, key):
            near = did_you_mean(key, [k for k in default.to_dict() if not k.startswith("_")])
            raise click.UsageError(f"{type(default).__name__} has no {key!r}{near}")
    made = type(default)(**config)

    def net() -> torch.nn.Module:
        if kind is None:
            result: torch.nn.Module = transformers.AutoModel.from_config(made, **arguments)
        else:
            result = named(made, **arguments)  # type: ignore[misc]
        return result

    if torch.get_default_device().type != "meta" and not _without_numbers():
        size = 0
        with contextlib.suppress(Exception), torch.device("meta"):  # some ask for a number while they are made
            size = sum(parameter.numel() for parameter in net().parameters())
        if size > LARGEST:
            raise click.UsageError(
                f"{name} has {size / 1e9:.1f} billion parameters with this config: make it smaller, as with "
                """--config '{"num_hidden_layers": 2}', or run it without memory, with --device meta"""
            )
    return net()


def _without_numbers() -> bool:
    """Whether tensors that are made now take no memory."""
    from torch._guards import detect_fake_mode

    return detect_fake_mode() is not None


LIBRARIES = {"timm": from_timm, "transformers": from_transformers}
"""What makes a model by name, by the word before the colon."""


def own_inputs(net: torch.nn.Module, making: Making) -> Inputs:
    """What a model can be called with by what it says of itself; nothing if it does not say."""
    size = (getattr(net, "default_cfg", None) or {}).get("input_size")  # timm
    if size is not None:
        return Inputs([torch.randn(1, *size, device=making.device, dtype=making.dtype)], {})
    config, main = getattr(net, "config", None), getattr(net, "main_input_name", None)
    if config is None or not isinstance(main, str):
        return Inputs([], {})
    found = _of_config(net, config, main)
    inputs: dict[str, Any] = {}
    for name in sorted(found, key=lambda name: name != main):
        tensor = found[name].clone()  # the model's own may be one and the same
        inputs[name] = tensor.to(making.device, making.dtype if tensor.is_floating_point() else None)
    return Inputs([], inputs)


def _of_config(net: torch.nn.Module, config: Any, main: str) -> dict[str, torch.Tensor]:
    """Arguments of a model of transformers': what its kind calls its main input, and what else it has to be given."""
    takes = set(inspect.signature(net.forward).parameters)
    inputs: dict[str, torch.Tensor] = {}
    text, vision = getattr(config, "text_config", None) or config, getattr(config, "vision_config", None)
    if main == "input_ids":
        inputs["input_ids"] = _tokens(text)
        dummy = getattr(net, "dummy_inputs", None)
        if isinstance(dummy, dict) and vision is None and all(_fits(t, text) for t in dummy.values()):
            inputs = {name: value for name, value in dummy.items() if name in takes}
    elif main == "pixel_values" or (main == "pixel_values_videos" and main in takes):
        inputs[main] = _pixels(vision or config)
    elif main == "input_features":
        channels, frames = (
            getattr(config, "input_feat_per_channel", None),
            2 * getattr(config, "max_source_positions", 50),
        )
        whisper = torch.randn(1, getattr(config, "num_mel_bins", 80), frames)
        inputs[main] = whisper if channels is None else torch.randn(1, 64, channels)
    elif main == "input_values":
        mel = getattr(config, "num_mel_bins", None)
        inputs[main] = torch.randn(1, 8_000) if mel is None else torch.randn(1, config.max_length, mel)
    else:
        return {}
    if "pixel_values" in takes and (vision is not None or hasattr(config, "image_size")):
        inputs.setdefault("pixel_values", _pixels(vision or config, _batch(inputs)))
    if vision is not None and "input_ids" in takes and getattr(config, "text_config", None) is not None:
        inputs.setdefault("input_ids", _tokens(text, _batch(inputs)))
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in takes:
        inputs.setdefault("decoder_input_ids", _tokens(text, _batch(inputs)))
    return inputs


def _batch(inputs: Mapping[str, torch.Tensor]) -> int:
    """How many there are in what is given together."""
    return next((len(tensor) for tensor in inputs.values()), 1)


def _tokens(config: Any, batch: int = 1) -> torch.Tensor:
    return torch.randint(0, getattr(config, "vocab_size", None) or 2, (batch, 8))


def _fits(value: Any, config: Any) -> bool:
    """Whether a dummy input is one that the vocabulary has, and no object of another kind."""
    return isinstance(value, torch.Tensor) and bool((value < (getattr(config, "vocab_size", None) or 2)).all())


def _pixels(config: Any, batch: int = 1) -> torch.Tensor:
    size = getattr(config, "image_size", None) or 224
    height, width = size if isinstance(size, list | tuple) else (size, size)
    frames = getattr(config, "num_frames", None)
    channels = getattr(config, "num_channels", None) or 3
    return torch.randn(batch, *(() if frames is None else (frames,)), channels, height, width)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"{name} is not installed: pip install {name}") from error
    except Exception as error:
        raise click.UsageError(f"{name} could not be imported: {describe_error(error, first_line=True)}") from error
