"""The models that recording is tried on: all classifiers of torchvision, and the small kin of five transformers.

A classifier is the real one, whole, with as few pixels and classes as it takes. Its weights are filled with a piece of
noise, over and over: to draw five thousand million random numbers takes longer than to run the models.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import torch
import transformers
from torch import Tensor, nn
from torchvision import models

__all__ = ["CLASSIFIERS", "HUGE", "ZOO", "Recurrent", "Specimen", "text"]

CLASSES = 5
"""Of every classifier."""

WORDS = 50
"""Of every language model."""

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Specimen:
    """A model, and what to call it with, drawn from the random numbers of the moment."""

    make: Callable[[], nn.Module]
    batch: Callable[[], Batch]


# Classifiers


def _patch_of(name: str) -> int:
    """The side of a vision transformer's patch, which ends its name."""
    return int(name.rsplit("_", 1)[1])


def _side(name: str) -> int:
    """The smallest image that a classifier takes, in training too."""
    if name.startswith("vit_"):
        return 2 * _patch_of(name)
    return {"alexnet": 64, "inception_v3": 299, "maxvit_t": 224}.get(name, 32)


def _classifier(name: str) -> nn.Module:
    options: dict[str, Any] = {"num_classes": CLASSES}
    if name.startswith("vit_"):
        options["image_size"] = _side(name)
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    with quickly():
        return models.get_model(name, weights=None, **options)


def _images(side: int, items: int = 2) -> Batch:
    return {"x": torch.randn(items, 3, side, side)}


@contextmanager
def quickly() -> Iterator[None]:
    """While it lasts, weights are filled with noise that is drawn once.

    Those too that torchvision makes zero, as in the head of a vision transformer: no gradient would get past them.
    """
    zeros = nn.init.zeros_
    replaced = dict.fromkeys((name for name in vars(nn.init) if name.endswith(("uniform_", "normal_"))), _fill)
    replaced["zeros_"] = lambda weight: _fill(weight) if weight.dim() > 1 else zeros(weight)
    with patch.multiple(nn.init, **replaced):
        yield


@torch.no_grad()
def _fill(weight: Tensor, *_: Any, **__: Any) -> Tensor:
    noise = _noise() * (weight[0].numel() if weight.dim() > 1 else 1) ** -0.5  # signals keep their size
    for piece in weight.view(-1).split(len(noise)):
        piece.copy_(noise[: len(piece)])
    return weight


@cache
def _noise() -> Tensor:
    # A prime, so that no two rows of a weight are the same.
    return torch.randn(262_139, generator=torch.Generator().manual_seed(0))


CLASSIFIERS = {
    name: Specimen(partial(_classifier, name), partial(_images, _side(name)))
    for name in models.list_models(module=models)
}
"""All classification models of torchvision."""

HUGE = frozenset({"regnet_y_128gf", "vit_h_14"})
"""Those with 600 million parameters: weights and the gradients of two runs take 8 GB, and half a minute."""


# Transformers, from small configurations


def text() -> Batch:
    """Two sentences of seven words, and what the next words are."""
    return {"input_ids": torch.randint(0, WORDS, (2, 7)), "labels": torch.randint(0, WORDS, (2, 7))}


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def _bert() -> nn.Module:
    return transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=WORDS, **SMALL))


def _gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=WORDS, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    )


def _llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=WORDS, **SMALL))


def _t5() -> nn.Module:
    config = transformers.T5Config(
        vocab_size=WORDS, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


def _vit() -> nn.Module:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=32, patch_size=16, num_labels=CLASSES, **SMALL)
    )


def _pixels() -> Batch:
    return {"pixel_values": torch.randn(2, 3, 32, 32), "labels": torch.randint(0, CLASSES, (2,))}


# What neither library has: state that is changed in place, and torch's own recurrent and attention layers.


class Recurrent(nn.Module):
    """Several outputs, dropout inside a kernel, a write through an index."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, num_layers=2, dropout=0.5)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, (h, _) = self.lstm(x)
        out = out.clone()
        out[0] = 0
        return self.head(out) + h.sum()


ZOO = {
    **CLASSIFIERS,
    "bert": Specimen(_bert, text),
    "gpt2": Specimen(_gpt2, text),
    "llama": Specimen(_llama, text),
    "t5": Specimen(_t5, text),
    "vit": Specimen(_vit, _pixels),
    "lstm": Specimen(Recurrent, lambda: {"x": torch.randn(5, 2, 4)}),
    "transformer": Specimen(
        lambda: nn.Transformer(8, 2, 2, 2, 16, batch_first=True),
        lambda: {"src": torch.randn(2, 5, 8), "tgt": torch.randn(2, 4, 8)},
    ),
}
"""Everything that a run is compared on."""
