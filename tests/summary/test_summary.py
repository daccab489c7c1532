"""The table that ``r.summary()`` prints."""

import csv
import dataclasses
import io
import json
import pty
import re
import sys
import termios
import types
from typing import Any

import pytest
import torch
import torchinfo
from rich.console import Console
from support.models import Block, Net, linear, x
from support.zoo import ZOO
from torch import nn

from recorder import ExportError, Graph, Node, OptionError, Recorder, Scope
from recorder.figures import bytes_in_words, count_in_words, time_in_words
from recorder.summary import Summary
from recorder.summary.columns import COLUMNS
from recorder.summary.formats import _escaped


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
    title, _, headings, rule, *lines = text.splitlines()
    assert title == "Net"
    assert headings.split() == ["module", "type", "output", "parameters", "FLOPs", "forward", "backward"]
    assert set(rule) == {"─"}
    assert [re.match(r"[ │├└─]*\S+", line)[0] for line in lines[:4]] == ["Net", "├─ fc", "└─ block", "   └─ fc"]
    cells = [re.split(r"  +", line.strip("├─│└ ")) for line in lines[:4]]
    assert [row[:5] for row in cells] == [
        ["Net", "Net", "[2, 3]", "31", "112"],
        ["fc", "Linear", "[2, 4]", "16", "64"],
        ["block", "Block", "[2, 3]", "15", "48"],
        ["fc", "Linear", "[2, 3]", "15", "48"],
    ]
    assert all(cell.endswith(("ms", "µs", "ns", " s")) for row in cells for cell in row[5:])
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_totals() -> None:
    lines = recorded(two_levels(), backward=True).summary().totals()
    assert lines[:2] == [
        "31 parameters, 31 trainable, 124 B",
        "112 FLOPs (56 multiply-adds), 160 backward",
    ]
    assert re.fullmatch(r"32 B inputs, 108 B activations · [\d.]+ .?s forward · [\d.]+ .?s backward", lines[2])


def test_depth_and_width() -> None:
    summary = recorded(two_levels()).summary(depth=1)
    narrow = summary.to_text(60)
    assert max(map(len, narrow.splitlines())) <= 60
    assert "block.fc" not in narrow
    with pytest.raises(OptionError, match="depth is -1"):
        recorded(two_levels()).summary(depth=-1)


def test_a_tree_of_any_depth_is_drawn() -> None:
    net: nn.Module = linear()
    for _ in range(40):
        net = nn.Sequential(net)
    text = str(recorded(net).summary())
    assert max(map(len, text.splitlines())) <= 120
    assert len(recorded(net).summary().rows) == 41


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 1), groups=2, bias=False), nn.ReLU(), nn.Conv2d(4, 4, 3).requires_grad_(False)
    )


def test_columns_are_chosen_by_name() -> None:
    net = conv()
    with Recorder(net, gradients="stats", values="stats") as r:
        net(torch.randn(1, 2, 8, 8)).sum().backward()
    names = ["module", "inputs", "kernel", "groups", "trainable", "parameters_share", "macs", "activation_bytes"]
    summary = r.summary(columns=names)
    assert [list(record.values()) for record in summary.records()] == [
        [
            "Sequential",
            [[1, 2, 8, 8]],
            None,
            None,
            "partly",
            1.0,
            6 * 8 * 12 + 4 * 6 * 4 * 36,
            4 * (2 * 4 * 48 + 4 * 24),
        ],
        ["0", [[1, 2, 8, 8]], [3, 1], 2, "yes", 12 / 160, 6 * 8 * 12, 4 * 4 * 48],
        ["1", [[1, 4, 6, 8]], None, None, None, None, 0, 4 * 4 * 48],
        ["2", [[1, 4, 6, 8]], [3, 3], 1, "no", 148 / 160, 4 * 6 * 4 * 36, 4 * 4 * 24],
    ]
    assert set(r.summary(columns="all").records()[0]) == set(COLUMNS)
    assert list(r.summary(columns="flops").records()[0]) == ["flops"]
    norms = r.summary(columns=["gradient"]).records()
    assert norms[0]["gradient"] == pytest.approx(96**0.5)  # a one for each element of the sum
    measured = r.summary(columns=["value_norm", "value_largest", "not_finite", "zeros"]).records()
    stats = [node.outputs[0].meta["stats"] for node in r.graph.nodes if node.kind == "module"]
    for told, said in zip(measured, [stats[-1], *stats], strict=True):  # the first row is what is around them
        assert list(told.values()) == pytest.approx([said["norm"], said["largest"], 0, said["zeros"]])
    assert "value_norm" in [column.name for column in r.summary().columns]
    with pytest.raises(OptionError, match="there is no column 'size'; there are: module, type, inputs"):
        r.summary(columns=["size"])


def test_what_no_row_has_is_left_out_unless_it_is_asked_for() -> None:
    r = recorded(two_levels())
    assert [column.name for column in r.summary().columns] == [
        "module", "type", "outputs", "parameters", "flops", "forward",
    ]  # fmt: skip
    assert [column.name for column in r.summary(columns=["backward"]).columns] == ["backward"]


def test_functions_have_rows_on_request() -> None:
    rows = recorded(two_levels()).summary(functions=True).rows
    assert [(row.depth, row.label, row.kind) for row in rows] == [
        (0, "Net", "module"), (1, "fc", "module"), (1, "block", "module"), (2, "fc", "module"), (2, "relu", "function"),
        (1, "add", "function"),
    ]  # fmt: skip


def test_figures_are_written_with_three_digits() -> None:
    counts = {
        0: "0",
        999: "999",
        1_000: "1 k",
        999_499: "999 k",
        999_500: "1.00 M",
        4_089_184_256: "4.09 G",
        12_345: "12.3 k",
    }
    assert {figure: count_in_words(figure) for figure in counts} == counts
    times = {
        12: "12 ns",
        1_234: "1.23 µs",
        45_600_000: "45.6 ms",
        7 * 10**12: "7,000 s",
        2**70: "?",
        -1_230_000: "-1.23 ms",
    }
    assert {figure: time_in_words(figure) for figure in times} == times
    assert (bytes_in_words(46_758_048), bytes_in_words(12)) == ("46.8 MB", "12 B")


@pytest.mark.parametrize("name", ["plain", "日本語", "e\u0301", "x" * 30, "", "[red]", "tab\t", "\x1b[2J"])
def test_what_fits_is_printed_as_rich_prints_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = two_levels()
    net.block.register_module(name.replace(".", "_") or "empty", linear(3, 3))
    net.block.function = lambda block, x: list(block.children())[-1](block.fc(x))
    summaries = [recorded(net, backward=True).summary(columns=columns) for columns in (None, "all")]
    ours = [summary.to_text(width) for summary in summaries for width in (None, 100, 60)]
    monkeypatch.setattr("recorder.summary.formats._unfolded", lambda *_: None)
    assert ours == [summary.to_text(width) for summary in summaries for width in (None, 100, 60)]


def test_markdown() -> None:
    net = nn.Sequential()
    net.add_module("a|b_*c*<i>", linear())
    text = recorded(net).summary(columns=["module", "type", "outputs", "parameters"]).to_markdown()
    assert text.splitlines()[:6] == [
        "**Sequential**",
        "",
        "| module | type | output | parameters |",
        "|---|---|---|---:|",
        "| Sequential | Sequential | [2, 4] | 16 |",
        "| └─\N{NO-BREAK SPACE}a&#124;b&#95;&#42;c&#42;&#60;i&#62; | Linear | [2, 4] | 16 |",
    ]
    assert "- 16 parameters, 16 trainable, 64 B" in text
    assert recorded(net).summary()._repr_markdown_().startswith("**Sequential**")


def test_no_sign_of_markdowns_comes_from_a_name() -> None:
    for sign in "\\`*<>|~&$@":
        assert _escaped(f"a{sign}b") == f"a&#{ord(sign)};b"
    assert _escaped("a_b [1, 2] a.b") == "a_b [1, 2] a.b"
    assert _escaped("_a_ [x] http://www.a") == "&#95;a&#95; &#91;x] http&#58;//www&#46;a"
    net = nn.Sequential()
    net.add_module("$x$", linear())
    assert "&#36;x&#36;" in recorded(net).summary().to_markdown()


def test_csv() -> None:
    summary = recorded(two_levels(), backward=True).summary(columns="all")
    header, *rows = csv.reader(io.StringIO(summary.to_csv()))
    assert tuple(header) == tuple(COLUMNS)
    for row, record in zip(rows, summary.records(), strict=True):
        read = [None if field == "" else field for field in row]
        assert read == [v if v is None or isinstance(v, str) else json.dumps(v) for v in record.values()]


def test_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = recorded(two_levels()).summary()
    monkeypatch.setitem(sys.modules, "pandas", None)  # as where it is not installed
    with pytest.raises(ExportError, match="pip install pandas"):
        summary.to_pandas()
    asked: list[Any] = []
    pandas = types.SimpleNamespace(DataFrame=lambda records, columns: asked.append((records, columns)))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    summary.to_pandas()
    assert asked == [(summary.records(), [column.name for column in summary.columns])]


def test_rich_prints_it_in_the_width_of_the_terminal() -> None:
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(recorded(two_levels()).summary())
    assert max(map(len, console.export_text().splitlines())) <= 70


def test_str_is_as_wide_as_the_terminal_that_it_is_printed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = recorded(two_levels(), backward=True).summary()
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 60))
    with open(follower, "w") as terminal, open(leader):
        monkeypatch.setattr(sys, "stdout", terminal)
        assert str(summary) == summary.to_text(60) != summary.to_text()


# Beside torchinfo

ALIKE = ["resnet18", "alexnet", "shufflenet_v2_x0_5"]


@pytest.mark.parametrize("name", ALIKE)
def test_it_agrees_with_torchinfo_where_that_is_right(name: str) -> None:
    net, (images,) = ZOO[name].make().eval(), ZOO[name].batch().values()
    theirs = torchinfo.summary(net, input_data=images, depth=100, verbose=0)
    with torch.no_grad(), Recorder(net) as r:
        net(images)
    ours = r.summary()
    assert (ours.parameters, ours.trainable) == (theirs.total_params, theirs.trainable_params)
    assert ours.total["parameter_bytes"] == theirs.total_param_bytes
    layers = [info for info in theirs.summary_list if info.is_leaf_layer]
    rows = [row for row in ours.rows if row.op_type in {info.class_name for info in layers}]
    assert [(row.op_type, list(row.inputs[0].shape), list(row.outputs[0].shape), row.parameters) for row in rows] == [
        (info.class_name, info.input_size, info.output_size, max(info.num_params, 0)) for info in layers
    ]
    for row, info in zip(rows, layers, strict=True):
        kernel = row.attributes.get("kernel_size")
        assert kernel in (None, info.kernel_size, [info.kernel_size] * 2)
        if row.op_type in ("Conv2d", "Linear"):
            # They count the addition of a bias as a multiply-add.
            bias = (
                row.metrics["activation_bytes"] // 4
                if len(info.module._parameters) == 2 and info.module.bias is not None
                else 0
            )
            assert info.macs == row.metrics["macs"] + bias


class Wrapped(nn.Module):
    """What torchinfo cannot follow: inputs by keyword, and a dataclass as output."""

    @dataclasses.dataclass
    class Output:
        logits: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = Block(lambda block, *, hidden: self.Output(block.fc(input=hidden)), fc=linear())

    def forward(self, inputs: torch.Tensor) -> "Wrapped.Output":
        return self.inner(hidden=inputs)


def test_it_is_right_about_keywords_and_dataclasses_where_torchinfo_is_not() -> None:
    with pytest.raises(RuntimeError, match="Failed to run torchinfo"):
        torchinfo.summary(Wrapped(), input_data=x(), verbose=0)
    rows = recorded(Wrapped()).summary().rows
    assert [([v.shape for v in row.inputs], [v.shape for v in row.outputs]) for row in rows] == [
        ([(2, 4)], [(2, 4)])
    ] * 3


def test_it_is_right_about_shared_weights_where_torchinfo_is_not() -> None:
    net = Net(lambda net, x: net.c(net.c(net.b(net.a(x)))), a=linear(), b=linear(), c=linear())
    net.b.weight = net.a.weight
    assert torchinfo.summary(net, input_data=x(), verbose=0).total_params == 48
    summary = recorded(net).summary()
    assert summary.parameters == sum(p.numel() for p in net.parameters()) == 32
    assert [row.shared for row in summary.rows] == [False, False, True, False, True]
    assert re.findall(r" {2}(\(?16\)?) ", summary.to_text()) == ["16", "(16)", "16", "(16)"]


def test_it_is_right_about_more_than_two_dimensions_where_torchinfo_is_not() -> None:
    net, given = linear(4, 3), x(2, 5, 6, 4)
    assert torchinfo.summary(net, input_data=given, verbose=0).total_mult_adds == 2 * 12
    with Recorder(net) as r:
        net(given)
    assert r.summary().total["macs"] == 2 * 5 * 6 * 12


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


def test_a_row_that_shares_a_part_of_its_parameters_is_not_shared() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    rows = recorded(nn.Sequential(first, second, first)).summary().rows
    assert [row.shared for row in rows] == [False, False, False, True]


def test_the_last_line_has_the_times_of_forward_and_of_backward() -> None:
    scope = Scope("", 0, "Net", name="Net", duration_ns=2_000_000, backward_ns=5_000_000)
    graph = Graph([Node("a", "module", "A", "", "a", 0, scope, duration_ns=1)], scopes=[scope])
    assert Summary(graph).totals()[-1].endswith(" · 2 ms forward · 5 ms backward")
