"""A table in which what repeats has one row, and lower bounds in its words."""

import pytest
import torch
from support.models import Block, Net, linear, x
from torch import Tensor, nn

from recorder import Recorder, collapse, dumps, fold, loads
from recorder.analysis.metrics import measured


def layers() -> nn.Sequential:
    def block() -> Block:
        return Block(lambda block, x: block.fc(x).relu() + torch.fft.fft(x).real, fc=linear())

    return nn.Sequential(linear(), *(block() for _ in range(5)))


def decoder(steps: int = 100) -> Net:
    def forward(net: Net, token: Tensor) -> Tensor:
        hidden, said = torch.zeros(3, 8), []
        for _ in range(steps):
            hidden = net.cell(net.words(token), hidden)
            said.append(net.out(hidden))
            token = said[-1].argmax(-1)
        return torch.stack(said)

    return Net(forward, words=nn.Embedding(10, 8), cell=nn.GRUCell(8, 8), out=nn.Linear(8, 10))


def test_what_repeats_has_one_row() -> None:
    net = layers()
    with Recorder(net) as r:
        net(x()).sum().backward()
    table, whole = r.summary(fold=True), r.summary()
    assert [(row.label, row.repeats, row.metrics["flops"]) for row in table.rows] == [
        ("Sequential", 1, 6 * 64), ("0", 1, 64), ("1 × 5", 5, 64), ("fc", 1, 64),
    ]  # fmt: skip
    assert table.rows[0].metrics == whole.rows[0].metrics
    assert table.total == whole.total
    assert table.unknown == whole.unknown == {"fft": 5}
    assert table.totals() == whole.totals()
    assert "1 × 5" in str(table)
    assert "1 × 5" in table.to_markdown()
    assert [record["repeats"] for record in r.summary(fold=True, columns=["repeats"]).records()] == [
        None,
        None,
        5,
        None,
    ]


@pytest.mark.parametrize("calls", [1, 4])
def test_a_decoder_of_a_hundred_steps_is_a_few_rows(calls: int) -> None:
    net = decoder()
    with Recorder(net) as r:
        for _ in range(calls):
            net(torch.zeros(3, dtype=torch.long))
    table, whole = r.summary(fold=True), r.summary()
    assert len(table.rows) == 5
    assert len(whole.rows) == calls * 301
    assert table.total == whole.total
    assert table.totals() == whole.totals()
    step = 3 * 2 * (2 * 8 * 24 + 8 * 10)
    assert [row.metrics["flops"] for row in table.rows] == [100 * step, step, 0, 3 * 2 * 2 * 8 * 24, 3 * 2 * 8 * 10]


def test_a_folded_graph_counts_every_repetition() -> None:
    net = layers()
    with Recorder(net) as r:
        net(x())
    whole = measured(r.graph)
    for view in (fold(r.graph), loads(dumps(fold(r.graph))), collapse(fold(r.graph), 1), fold(collapse(r.graph, 1))):
        assert measured(view).total == whole.total
        assert measured(view).unknown == (whole.unknown if len(view.nodes) > 2 else {"Block": 5})


def test_a_sum_with_an_unknown_part_is_a_lower_bound_in_words() -> None:
    net = layers()
    with Recorder(net) as r:
        net(x())
    table = r.summary()
    assert table.total["flops"] == 6 * 64
    assert table.total["flops_unknown"] == 5
    assert table.totals()[1:3] == ["at least 384 FLOPs (192 multiply-adds)", "without a formula: 5 fft"]
    cells = [line.split("  ") for line in table.to_text(200).splitlines()]
    said = [next((cell.strip() for cell in row if "64" in cell or "384" in cell), "") for row in cells[4:8]]
    assert said[0] == "at least 384"
    assert "at least 64" in said[2]
    assert table.records()[0]["flops"] == 384


def test_nothing_known_is_not_said_to_be_nothing() -> None:
    net = Net(lambda net, x: torch.fft.fft(x).abs())
    with Recorder(net) as r:
        net(x())
    assert r.summary().totals()[1:3] == ["FLOPs are not known", "without a formula: 1 fft"]
    assert "flops" not in r.summary().total


def test_what_takes_none_takes_none() -> None:
    net = nn.Sequential(nn.ReLU(), nn.MaxPool1d(2), nn.BatchNorm1d(2))
    with Recorder(net) as r:
        net(torch.randn(3, 2, 4))
    assert r.summary().totals()[1] == "0 FLOPs (0 multiply-adds)"


def test_what_differs_from_call_to_call_is_of_all_of_them() -> None:
    """Against the table in which each has its row."""
    net = layers()
    with Recorder(net, gradients="stats", values="stats") as r:
        net(x().requires_grad_()).sum().backward()
    columns = ["module", "flops", "forward", "time_share", "backward", "flops_backward", "gradient", "value_largest"]
    whole = {record["module"]: record for record in r.summary(columns=columns).records()}
    folded = r.summary(fold=True, columns=columns)
    block, inner = folded.records()[2:]
    for row, names in ((block, [str(n) for n in range(1, 6)]), (inner, [f"{n}.fc" for n in range(1, 6)])):
        alike = [whole[name] for name in names]
        for column in ("forward", "time_share", "backward", "flops_backward"):
            assert row[column] == pytest.approx(sum(record[column] for record in alike)), column
        for column in ("gradient", "value_largest"):
            assert row[column] == max(record[column] for record in alike), column
        assert row["flops"] == alike[0]["flops"]
    line = next(line for line in str(folded).splitlines() if "1 × 5" in line)
    assert (line.count("in all"), line.count("at most")) == (4, 2)
    assert "in all" not in str(r.summary(columns=columns))
