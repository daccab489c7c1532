"""The table that ``r.summary()`` prints."""

import torch
from models import Block, Net, linear, x
from torch import nn

from recorder import Graph, Recorder
from recorder.summary import Summary


def recorded(net: nn.Module, *, backward: bool = False) -> Recorder:
    with Recorder(net) as r:
        y = net(x())
        if backward:
            y.sum().backward()
    return r


def two_levels() -> Net:
    block = Block(lambda block, x: block.fc(x).relu(), fc=nn.Linear(4, 3))
    return Net(lambda net, x: net.block(net.fc(x)) + 1, fc=linear(), block=block)


def test_rows_are_module_calls_in_execution_order() -> None:
    rows = recorded(two_levels()).summary().rows
    assert [(row.depth, row.name, row.op_type, row.parameters) for row in rows] == [
        (0, "Net", "Net", 31),
        (1, "fc", "Linear", 16),
        (1, "block", "Block", 15),
        (2, "block.fc", "Linear", 15),
    ]
    assert [[value.shape for value in row.outputs] for row in rows] == [[(2, 3)], [(2, 4)], [(2, 3)], [(2, 3)]]
    assert all(row.duration_ns is not None and row.duration_ns > 0 for row in rows)
    assert all(row.backward_ns is None for row in rows)


def test_depth_cuts_the_table() -> None:
    r = recorded(two_levels())
    assert [row.name for row in r.summary(depth=1).rows] == ["Net", "fc", "block"]
    assert [row.name for row in r.summary(depth=0).rows] == ["Net"]


def test_backward_is_shown_where_it_went() -> None:
    net = two_levels()
    net.fc.requires_grad_(requires_grad=False)
    rows = {row.name: row.backward_ns for row in recorded(net, backward=True).summary().rows}
    assert rows["fc"] is None
    assert rows["block.fc"]
    assert rows["Net"]


def test_parameters_are_counted_once() -> None:
    net = Net(lambda net, x: net.b(net.a(net.a(x))), a=linear(), b=linear(), unused=linear(4, 2), seen=torch.ones(100))
    net.b.weight = net.a.weight
    net.unused.requires_grad_(requires_grad=False)
    summary = recorded(net).summary()
    assert summary.rows[0].parameters == 16
    assert (summary.parameters, summary.trainable) == (24, 16)
    assert "24 parameters, 16 trainable" in str(summary)


def test_the_text() -> None:
    text = str(recorded(two_levels(), backward=True).summary())
    lines = [line.strip("│ ").split("│") for line in text.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert [row[:4] for row in cells] == [
        ["Net", "Net", "[2, 3]", "31"],
        ["fc", "Linear", "[2, 4]", "16"],
        ["block", "Block", "[2, 3]", "15"],
        ["block.fc", "Linear", "[2, 3]", "15"],
    ]
    assert all(cell.endswith(("ms", "µs", "s")) for row in cells for cell in row[4:])
    assert text.splitlines()[0].strip() == "Net"
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_an_error_is_shown_where_it_was_raised() -> None:
    net = two_levels()
    net.block.fc = nn.Linear(5, 3)
    try:
        with Recorder(net) as r:
            net(x())
    except RuntimeError as error:
        message = str(error)
    rows = {row.name: row.error for row in r.summary().rows}
    assert rows == dict.fromkeys(("Net", "block", "block.fc"), f"RuntimeError: {message}") | {"fc": None}
    assert str(r.summary()).count("multiplied") == 3


def test_names_are_shown_as_they_are() -> None:
    net = nn.Sequential()
    net.add_module("[red]a[/red]", linear())
    assert "[red]a[/red]" in str(recorded(net).summary())


def test_nothing_recorded() -> None:
    assert "0 parameters" in str(Summary(Graph()))
