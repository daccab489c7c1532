"""The recorded dataflow of transformers' models is the one that torch.export finds.

The models are tiny, with random weights, and run with real data, a mask with padding among it. torch.export records
ATen operations under a tracer of its own; what an edge is on both sides is said in `oracles`. Each model is compared
twice: between the leaves of torch.nn, and between all modules without children, which transformers has many of.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from support.oracles import (
    Edge,
    by_export,
    by_recorder,
    contract,
    handed_on,
    has_no_children,
    is_leaf,
    record,
    without_dead_code,
    without_in_place,
)
from torch import nn

pytestmark = pytest.mark.slow

Case = tuple[nn.Module, dict[str, Any]]

IDS = torch.tensor([[1, 5, 2, 7, 9, 3], [4, 4, 8, 1, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
PIXELS = torch.zeros(2, 3, 32, 32)
TEXT = {"input_ids": IDS, "attention_mask": MASK}
BODY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
PAIR = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
WORDS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def albert(**options: Any) -> Case:
    return transformers.AlbertModel(transformers.AlbertConfig(**BODY, **WORDS, embedding_size=16, **options)), TEXT


def bart(**options: Any) -> Case:
    config = transformers.BartConfig(**PAIR, **WORDS, max_position_embeddings=16, **options)
    return transformers.BartModel(config), {**TEXT, "decoder_input_ids": IDS[:, :4], "use_cache": False}


def bert(**options: Any) -> Case:
    return transformers.BertModel(transformers.BertConfig(**BODY, **WORDS, **options)), TEXT


def clip(**options: Any) -> Case:
    config = transformers.CLIPConfig(
        text_config={**BODY, **WORDS, "max_position_embeddings": 8},
        vision_config={**BODY, "image_size": 32, "patch_size": 8},
        projection_dim=16,
        **options,
    )
    return transformers.CLIPModel(config), {**TEXT, "pixel_values": PIXELS}


def distilbert(**options: Any) -> Case:
    config = transformers.DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64, **WORDS, **options)
    return transformers.DistilBertModel(config), TEXT


def gpt2(**options: Any) -> Case:
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, **WORDS, **options)
    return transformers.GPT2LMHeadModel(config), {**TEXT, "use_cache": False}


def llama(**options: Any) -> Case:
    config = transformers.LlamaConfig(**BODY, **WORDS, num_key_value_heads=2, **options)
    return transformers.LlamaForCausalLM(config), {**TEXT, "use_cache": False}


def mamba(**_: Any) -> Case:
    config = transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4, **WORDS)
    return transformers.MambaForCausalLM(config), {"input_ids": IDS, "use_cache": False}


def mixtral(**options: Any) -> Case:
    config = transformers.MixtralConfig(**BODY, **WORDS, num_key_value_heads=2, num_local_experts=4, **options)
    return transformers.MixtralForCausalLM(config), {**TEXT, "use_cache": False}


def t5(**_: Any) -> Case:
    config = transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=50)
    model = transformers.T5ForConditionalGeneration(config)
    return model, {**TEXT, "decoder_input_ids": IDS[:, :4], "use_cache": False}


def vit(**options: Any) -> Case:
    config = transformers.ViTConfig(**BODY, image_size=32, patch_size=8, **options)
    return transformers.ViTForImageClassification(config), {"pixel_values": PIXELS}


def whisper(**options: Any) -> Case:
    config = transformers.WhisperConfig(
        **PAIR,
        **WORDS,
        num_mel_bins=8,
        max_source_positions=8,
        max_target_positions=8,
        decoder_start_token_id=1,
        **options,
    )
    inputs = {"input_features": torch.zeros(2, 8, 16), "decoder_input_ids": IDS, "use_cache": False}
    return transformers.WhisperModel(config), inputs


NAMED = [bert, gpt2, llama, mamba, t5]
OTHERS = [albert, bart, clip, distilbert, mixtral, vit, whisper]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """transformers logs that the fast kernels of Mamba are not installed. The slow ones are what we are after."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(before)


def made(case: Callable[..., Case], attention: str = "eager") -> Case:
    torch.manual_seed(0)
    net, inputs = case(attn_implementation=attention)
    return without_in_place(net.eval()), inputs


def exported(net: nn.Module, inputs: dict[str, Any]) -> torch.export.ExportedProgram:
    return torch.export.export(net, (), inputs, strict=False)


@pytest.mark.parametrize(
    ("case", "attention"),
    [*((case, "eager") for case in (*NAMED, *OTHERS)), *((case, "sdpa") for case in (bert, gpt2, llama, whisper))],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_edges(case: Callable[..., Case], attention: str) -> None:
    net, inputs = made(case, attention)
    with torch.no_grad():
        graph = record(net, **inputs)
        program = exported(net, inputs)
        for leaf in (is_leaf, has_no_children):
            through = handed_on(net, leaf=leaf, **inputs)
            recorded = contract(without_dead_code(by_recorder(net, graph, leaf)), through)
            assert recorded == contract(without_dead_code(by_export(net, program, leaf)), through)
            assert any(target == "output" for _, target in recorded)


@pytest.mark.parametrize(
    ("case", "missing"),
    [
        (albert, 2),
        (bart, 4),
        (bert, 2),
        (clip, 9),
        (distilbert, 2),
        (gpt2, 3),
        (llama, 4),
        (mamba, 0),
        (mixtral, 6),
        (t5, 4),
        (vit, 0),
        (whisper, 5),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_without_functions_no_edge_is_wrong(case: Callable[..., Case], missing: int) -> None:
    """Autograd is the only one who knows of functions then, and it does not know where masks, token numbers, rotary
    angles and fixed positions go. So many edges are ``missing``, and none is wrong.

    A module without children is one node then, and its inputs are what it was *given*. transformers gives some modules
    a tensor for its size alone, so the edges that end at a module that is not torch's own are not looked at.
    """
    net, inputs = made(case)
    through = handed_on(net, leaf=has_no_children, **inputs)
    recorded = contract(by_recorder(net, record(net, functions=False, **inputs), has_no_children), through)
    expected = contract(without_dead_code(by_export(net, exported(net, inputs), has_no_children)), through)

    def read(edge: Edge) -> bool:
        return edge[1] == "output" or is_leaf(net.get_submodule(edge[1].partition("#")[0]))

    assert {edge for edge in recorded if read(edge)} <= expected
    assert len(expected - recorded) == missing


class Shared(nn.Module):
    """One layer under two names, one that does nothing, and one whose result is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = self.first
        self.nothing = nn.Identity()
        self.dropped = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.nothing(self.first(x)))
        self.dropped(y)
        return y + x.sum()


def test_the_oracle_itself_on_edges_written_down() -> None:
    net, x = Shared(), torch.zeros(3, 4)
    expected = {("input#0", "first#0"), ("first#0", "first#1"), ("first#1", "output"), ("input#0", "output")}
    program = exported(net, {"x": x})
    assert contract(without_dead_code(by_export(net, program)), {"nothing#0"}) == expected
    assert contract(without_dead_code(by_recorder(net, record(net, x))), {"nothing#0"}) == expected


class Residual(nn.Module):
    """What every language model does: a normalization in float32, and its input once more beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = Norm()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x)
        return x + self.norm(x)


class Norm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.float32).square()


def test_a_conversion_to_what_a_tensor_is_makes_no_tensor() -> None:
    net, x = Residual(), torch.zeros(3, 4)
    expected = {("input#0", "fc#0"), ("fc#0", "norm#0"), ("norm#0", "output"), ("fc#0", "output")}
    assert contract(by_export(net, exported(net, {"x": x}), has_no_children)) == expected
    assert contract(by_recorder(net, record(net, x), has_no_children)) == expected
