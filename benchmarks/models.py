"""What the overhead is measured on: from nothing but overhead to networks where arithmetic hides it.

Weights are random, so nothing is downloaded. A model of a library that is missing raises `ImportError` when it is made.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["MODELS", "Chain", "Model"]

Inputs = Callable[[int], Tensor]  # from the size of the batch


class Model(NamedTuple):
    """``make`` builds the network and says how to make a batch for it; with ``smallest``, one that runs in no time.

    ``batches`` are, for each kind of device, one where launching kernels takes the time and one where they do;
    ``imports`` what of other libraries it is made of.
    """

    make: Callable[[bool], tuple[nn.Module, Inputs]]
    batches: dict[str, tuple[int, ...]]
    imports: tuple[str, ...] = ()
    trains: bool = True


class Chain(nn.Module):
    """Nothing but overhead: linear layers of eight, each with a relu and an addition."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(length))
        with torch.no_grad():  # each layer adds to what it was given: as torch initialises them, 500 of them overflow
            for parameter in self.parameters():
                parameter.mul_(0.01)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return x


class Logits(nn.Module):
    """A language model as every tool can take it: a tensor in, a tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits


class Decoding(nn.Module):
    """Greedy decoding, a token a call, with a cache of keys and values."""

    def __init__(self, model: nn.Module, tokens: int) -> None:
        super().__init__()
        self.model, self.tokens = model, tokens

    def forward(self, ids: Tensor) -> Tensor:
        past = None
        for _ in range(self.tokens):
            out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
            past = out.past_key_values
            ids = out.logits[:, -1:].argmax(-1)
        return ids


def chain(smallest: bool) -> tuple[nn.Module, Inputs]:
    return Chain(3 if smallest else 500), lambda batch: torch.randn(batch, 8)


def images(name: str, pixels: int) -> Callable[[bool], tuple[nn.Module, Inputs]]:
    """A classifier of torchvision's."""

    def make(smallest: bool) -> tuple[nn.Module, Inputs]:
        import torchvision

        side = 32 if smallest else pixels
        return torchvision.models.get_model(name), lambda batch: torch.randn(batch, 3, side, side)

    return make


def vit(smallest: bool) -> tuple[nn.Module, Inputs]:
    from torchvision.models import VisionTransformer, vit_b_16

    if smallest:
        return VisionTransformer(32, 16, 1, 2, 16, 32), lambda batch: torch.randn(batch, 3, 32, 32)
    return vit_b_16(), lambda batch: torch.randn(batch, 3, 224, 224)


def gpt2(smallest: bool) -> tuple[nn.Module, Inputs]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=64) if smallest else GPT2Config()
    return Logits(GPT2LMHeadModel(config)), _ids(config.vocab_size, 4 if smallest else 64)


def llama(smallest: bool) -> tuple[nn.Module, Inputs]:
    from transformers import LlamaConfig, LlamaForCausalLM

    wide, heads, words = (16, 2, 64) if smallest else (1024, 16, 32_000)
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=wide,
        intermediate_size=wide * 11 // 4,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
    )
    return Logits(LlamaForCausalLM(config)), _ids(words, 4 if smallest else 64)


def decoding(smallest: bool) -> tuple[nn.Module, Inputs]:
    from transformers import GPT2Config, GPT2LMHeadModel

    layers, wide, words = (1, 16, 64) if smallest else (4, 256, 50_257)
    config = GPT2Config(n_layer=layers, n_embd=wide, n_head=wide // 8 if smallest else 4, vocab_size=words)
    return Decoding(GPT2LMHeadModel(config), 3 if smallest else 100), _ids(words, 4)


def _ids(words: int, length: int) -> Inputs:
    return lambda batch: torch.randint(words, (batch, length))


VISION = ("torchvision",)
GPT2 = ("transformers.models.gpt2.modeling_gpt2",)
LLAMA = ("transformers.models.llama.modeling_llama",)

MODELS = {
    "chain": Model(chain, {"cpu": (4,), "cuda": (4,)}),
    "mobilenet_v3_small": Model(images("mobilenet_v3_small", 64), {"cpu": (1, 32), "cuda": (1, 256)}, VISION),
    "resnet50-64": Model(images("resnet50", 64), {"cpu": (1, 16), "cuda": (1, 256)}, VISION),
    "resnet50-224": Model(images("resnet50", 224), {"cpu": (1, 4), "cuda": (1, 64)}, VISION),
    "vit_b_16": Model(vit, {"cpu": (1,), "cuda": (1, 64)}, VISION),
    "gpt2": Model(gpt2, {"cpu": (1, 4), "cuda": (1, 64)}, GPT2),
    "llama": Model(llama, {"cpu": (1, 4), "cuda": (1, 64)}, LLAMA),
    "decoding": Model(decoding, {"cpu": (1,), "cuda": (1, 64)}, GPT2, trains=False),
}
"""GPT-2 small and a Llama of two layers read 64 tokens; a GPT-2 of four layers of 256 writes 100."""
