"""What a process group tells of an operation is put in the order of the function that issues it."""

import inspect

import pytest
from torch import distributed

from recorder.capture.operations import _arguments

GIVEN = {
    "all_gather": ("tensor_list", "tensor"),
    "all_gather_into_tensor": ("output_tensor", "input_tensor"),
    "all_to_all": ("output_tensor_list", "input_tensor_list"),
    "all_to_all_single": ("output", "input"),
    "gather": ("tensor", "gather_list"),
    "reduce_scatter": ("output", "input_list"),
    "reduce_scatter_tensor": ("output", "input"),
    "scatter": ("tensor", "scatter_list"),
}
"""The first arguments of the functions that have two kinds, and which of them it writes says the name."""

WRITTEN = ("tensor_list", "output_tensor", "output_tensor_list", "output", "gather_list")


@pytest.mark.parametrize("name", GIVEN)
def test_of_two_kinds_of_tensors(name: str) -> None:
    first, second = GIVEN[name]
    assert [*inspect.signature(getattr(distributed, name)).parameters][:2] == [first, second]
    writes_first = first in WRITTEN or name == "scatter"
    assert _arguments(name, ["in"], ["out"]) == ((["out"], ["in"]) if writes_first else (["in"], ["out"]))


@pytest.mark.parametrize("name", ["all_reduce", "broadcast", "reduce"])
def test_of_one_kind(name: str) -> None:
    assert next(iter(inspect.signature(getattr(distributed, name)).parameters)) == "tensor"
    assert _arguments(name, ["one"], []) == (["one"],)
