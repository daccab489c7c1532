"""What a model is called with, from what people type."""

import click
import pytest
import torch

from recorder.cli.model_inputs import Making, inputs_of, make_input


def shape(value):
    """Shapes in the place of tensors."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value)(map(shape, value)) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,3,8", (1, 3, 8)),
        (" 4 ", (4,)),
        ("()", ()),
        ("():int64<9", ()),
        ("[3,64,64; 3,80,80]", [(3, 64, 64), (3, 80, 80)]),
        ("[3,64,64]", [(3, 64, 64)]),
        ("[]", []),
        ("{}", {}),
        ("(2,8; 2,8)", ((2, 8), (2, 8))),
        ("(2,8;)", ((2, 8),)),
        ("{ids: 1,16:int64<100; mask: 1,16:bool}", {"ids": (1, 16), "mask": (1, 16)}),
        ('{"a key": 2; b.c: [2; {d: "x;y"}]}', {"a key": (2,), "b.c": [(2,), {"d": "x;y"}]}),
        ("[{boxes: [[0,0,8,8]]:float32; labels: [1]:int64}]", [{"boxes": (1, 4), "labels": (1,)}]),
        ("[(1,2; 3); 4]", [((1, 2), (3,)), (4,)]),
        ('"eval"', "eval"),
        ('"3,4"', "3,4"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("0.5", 0.5),
        ("-1e-3", -0.001),
        ('["a", "b"]', ["a", "b"]),
        ("[1.5, 2]", [1.5, 2]),
        ('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
    ],
)
def test_what_a_text_stands_for(text, value):
    made = shape(make_input(text))
    assert made == value
    assert type(made) is type(value)


def test_numbers_are_drawn_below_the_bound():
    torch.manual_seed(0)
    tokens = make_input("1000:int64<5")
    assert tokens.dtype == torch.int64
    assert tokens.unique().tolist() == [0, 1, 2, 3, 4]
    assert make_input("1000<3").unique().tolist() == [0, 1, 2]
    assert make_input("1000:int32").unique().tolist() == [0, 1]
    even = make_input("1000:float32<2.5")
    assert 0 <= even.min() < 0.1
    assert 2.4 < even.max() < 2.5
    assert make_input("1000").min() < 0
    assert make_input("[[1, 2], [3, 4]]:int16").tolist() == [[1, 2], [3, 4]]


def test_arguments_have_names_or_positions():
    inputs = inputs_of(["2,3", "x=4", 'mode="a=b"', "n:=3", "sizes:=[1, 2]", "scale=0.5", "flag = true", "y=[2; 3]"])
    assert shape(inputs.args) == [(2, 3)]
    assert shape(inputs.kwargs) == {
        "x": (4,), "mode": "a=b", "n": 3, "sizes": [1, 2], "scale": 0.5, "flag": True, "y": [(2,), (3,)],
    }  # fmt: skip


def test_device_and_dtype_are_those_of_all_that_does_not_say_its_own():
    making = Making("meta", torch.bfloat16)
    made = make_input("{a: 2; b: 2:float64; c: 2:int64; d: [1,2]:int32; e: 2<9; f: 2:float16<1}", making)
    assert {tensor.device.type for tensor in made.values()} == {"meta"}
    dtypes = "bfloat16 float64 int64 int32 int64 float16".split()  # noqa: SIM905
    assert [str(tensor.dtype) for tensor in made.values()] == [f"torch.{name}" for name in dtypes]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,4:int64<", "has no bound behind <"),
        ("1,4:int64<-3", "has no bound behind <"),
        ("1,4:int64<many", "has no bound behind <"),
        ("[1;x]", "'x' is no shape"),
        ("{a; b}", "'{a; b}' is no dict"),
        ("[[1,2],[3]]:float32", "is no tensor"),
        ("[[1,2:float32", "is no shape"),
        ("[1,2]:float33", "'float33' is no dtype"),
        ('"open', "is no shape"),
        ("eval", "'eval' is no shape: write whole numbers with commas, such as 1,3,224,224, or JSON, such as \"text\""),
        ("n:={", "is no JSON"),
        ("1.5", "'1.5' is no shape"),
    ],
)
def test_what_is_nothing_of_the_kind_is_told_in_one_line(text, told):
    with pytest.raises(click.UsageError) as error:
        inputs_of([text])
    assert told in error.value.message
    assert "\n" not in error.value.message


def test_a_name_twice_is_told():
    with pytest.raises(click.UsageError, match="the input 'x' is given twice"):
        inputs_of(["x=1", "x:=2"])
