"""Reports as people meet them: short where much was found, and readable in a notebook."""

import pytest
import torch
from torch import nn

from recorder import Recorder


@pytest.fixture(scope="module")
def deep() -> Recorder:
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(8, 8), nn.Sigmoid())])
    with Recorder(net, gradients="stats", values="stats") as r:
        net(torch.randn(3, 8)).sum().backward()
    return r


def test_of_many_that_vanished_the_first_and_the_last_are_read(deep: Recorder) -> None:
    report = deep.graph.gradient_report()
    assert len(report.vanishing) > 12
    title, *lines = str(report).splitlines()
    assert title == "vanishing gradients:"
    assert lines[:8] == [f"  {layer}" for layer in report.vanishing[:8]]
    assert lines[8:] == [f"  … {len(report.vanishing) - 9} more …", f"  {report.vanishing[-1]}"]
    assert report.vanishing[-1].call == "0"


def test_ten_are_read_each() -> None:
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(5)], nn.Linear(2, 2))
    net[:5].requires_grad_(False)
    with Recorder(net, gradients="stats") as r:
        net(torch.ones(1, 2)).sum().backward()
    assert str(r.graph.gradient_report()).count("requires_grad is off") == 10


def test_a_notebook_shows_what_is_printed(deep: Recorder) -> None:
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    for report in (deep.graph.gradient_report(), deep.graph.value_report()):
        assert pretty(report) == str(report)
