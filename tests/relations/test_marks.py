"""What is gone stands in the picture of a diff where it stood."""

import torch
from torch import nn

from recorder import Graph, Recorder, diff


def recorded(*layers: nn.Module) -> Graph:
    with Recorder(net := nn.Sequential(*layers)) as r:
        net(torch.ones(2, 4))
    return r.graph


def test_what_was_removed_stands_behind_what_it_stood_behind() -> None:
    before = recorded(nn.Linear(4, 4), nn.Tanh(), nn.Sigmoid(), nn.Linear(4, 4), nn.ReLU())
    after = recorded(nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU())
    shown = diff(before, after).graph()
    shown.lint()
    assert [node.op_type for node in shown.nodes] == ["Linear", "Tanh", "Sigmoid", "Linear", "ReLU"]
    marks = [node.meta.get("diff", {}).get("mark") for node in shown.nodes]
    assert marks[1:3] == ["removed", "removed"]
    assert "removed" not in (marks[0], *marks[3:])
