"""Models and inputs, from what people type."""

from dataclasses import dataclass

import pytest
import torch

from recorder.cli.find_model import find_model, total
from recorder.cli.model_inputs import make_input


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float64", "complex64", "int8", "uint8", "bool", "float8_e5m2"]
)
def test_inputs_of_every_kind_of_dtype(dtype):
    tensor = make_input(f"2,3:{dtype}")
    assert tensor.shape == (2, 3)
    assert tensor.dtype == getattr(torch, dtype)


def test_a_dimension_may_be_empty():
    assert make_input("0,3").shape == (0, 3)


def test_torchvision_downloads_no_weights(monkeypatch):
    def download(*arguments, **options):
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    assert type(find_model("torchvision.models.segmentation:lraspp_mobilenet_v3_large", {})).__name__ == "LRASPP"


@dataclass
class Result:
    loss: torch.Tensor
    name: str = "result"


def test_total_is_the_sum_of_all_that_needs_a_gradient():
    def leaf(value, dtype=torch.float32):
        return torch.full((2,), value, dtype=dtype, requires_grad=True)

    assert total(leaf(1.5)).item() == 3
    assert total({"a": leaf(1), "b": [leaf(2), (None, leaf(3, torch.float64), torch.ones(9), 5)]}).item() == 12
    assert total(Result(leaf(4))).item() == 8
    assert total([leaf(3j, torch.complex64), leaf(1)]).item() == 20
    loss = total([leaf(1), leaf(2, torch.float16)])
    loss.backward()
    with pytest.raises(ValueError, match="no tensor that requires a gradient"):
        total([torch.ones(2), "text", Result])
