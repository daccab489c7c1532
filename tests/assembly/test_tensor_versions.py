"""What writes in place make of a tensor, its base and its views, against graphs written down by hand."""

import pytest
from support.naive_model import agree
from support.streams import edges, names, net, of

from recorder.events import Op, Output, TensorMeta
from recorder.testing import StreamBuilder


def test_writing_a_view_writes_its_base() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        base = build.op("fc", "Linear", [x], (2, 4))
        row = build.view("select", base, (4,))
        build.write("mul_", row)
        call.outputs = [build.op(None, "sum", [base], ())]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> select", "select -> mul_", "mul_ -> sum"]
    assert names(of(graph, "mul_").outputs) == ["mul_:0", "mul_:1"]
    assert [value.shape for value in of(graph, "mul_").outputs] == [(4,), (2, 4)]


def test_writing_a_base_writes_its_views() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        base = build.op("fc", "Linear", [x], (2, 4))
        row = build.view("select", base, (4,))
        build.write("zero_", base)
        call.outputs = [build.op(None, "sum", [row], ())]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> select", "fc -> zero_", "zero_ -> sum"]


def test_writes_through_two_views_follow_one_another() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        base = build.op("fc", "Linear", [x], (2, 4))
        one, two = build.view("one", base, (4,)), build.view("two", base, (4,))
        build.write("mul_", one)
        build.write("add_", two)
        call.outputs = [base]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> one", "fc -> two", "one -> mul_", "mul_ -> add_"]
    assert graph.outputs[0].producer is of(graph, "add_")


def test_item_assignment_that_returns_nothing() -> None:
    """``y[0] = 0``: the call returns None, and whoever reads ``y`` afterwards reads what it wrote."""
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        y = build.op("fc", "Linear", [x], (2, 4))
        build.append(Op("setitem", 100, 101, "torch.Tensor.__setitem__", inputs=(y,), writes=(y,)))
        call.outputs = [y]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> setitem"]
    assert names(graph.outputs) == ["setitem:0"]


@pytest.mark.parametrize("leaf", [True, False])
def test_a_module_that_returns_its_input_makes_a_value(leaf: bool) -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        h = build.op("fc", "Linear", [x], (1, 4))
        if leaf:
            module = build.module("id", "Identity", leaf=True)
            meta = TensorMeta((1, 4), "float32", "cpu", storage=h)
            build.append(Op("Identity", 50, 60, module=module, call=99, inputs=(h,), outputs=(Output(h, meta),)))
        else:
            with build.call("id", "Mine", [h]) as inner:
                inner.outputs = [h]
        call.outputs = [build.op(None, "relu", [h], (1, 4))]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> id", "id -> relu"]
    assert names(of(graph, "id").outputs) == ["id:0"]


def test_a_scope_that_returns_its_input_is_no_node() -> None:
    """Something was recorded inside, so the call is a scope, and dataflow goes around what it did."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        h = build.op("fc", "Linear", [x], (1, 4))
        with build.call("spy", "Spy", [h]) as spy:
            build.op(None, "norm", [h], ())
            spy.outputs = [h]
        call.outputs = [build.op(None, "relu", [h], (1, 4))]
    assert edges(agree(build.stream)) == ["fc -> spy.norm", "fc -> relu"]
