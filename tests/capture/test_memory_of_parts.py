"""Memory in parts of a recording: what a part begins with, by what the whole recording says of that moment."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from support.memory import needs_memory
from support.models import Net, linear, x
from torch import nn

from recorder import EventStream, Graph, Recorder, assemble, collapse, fold, select
from recorder.events import Enter, Op

pytestmark = needs_memory


def trained(steps: int = 3, before: int = 1, **options: Any) -> Recorder:
    """Recorded: so many steps, each with so many calls of the model before its backward."""
    net = Net(lambda self, t: self.b(self.a(t).exp()).sin(), a=linear(), b=linear())
    optimizer = torch.optim.Adam(net.parameters())
    with Recorder(net, memory=True, **options) as r:
        for _ in range(steps):
            sum(net(x()).sum() for _ in range(before)).backward()
            optimizer.step()
            optimizer.zero_grad()
    return r


def saved(graph: Graph) -> int:
    return graph.memory_report().by_kind["saved"]


@pytest.mark.parametrize("before", [1, 2])
def test_a_part_goes_on_where_the_whole_was(before: int) -> None:
    r = trained(before=before)
    whole = {moment.ns: moment for moment in r.graph.memory_report().timeline}  # the last at each time
    parts = r.graphs
    assert len(parts) == 3 * before
    for part in parts[1:]:
        part.lint()
        first = part.memory_report().timeline[0]
        earlier = [moment for ns, moment in whole.items() if ns <= first.ns][-1]
        kinds = ("parameters", "buffers", "gradients", "optimizer", "saved")
        assert [getattr(first, kind) for kind in kinds] == [getattr(earlier, kind) for kind in kinds]
        assert first.parameters > 0
    assert max(part.memory_report().peak_bytes for part in parts) == r.graph.memory_report().peak_bytes


def test_each_part_keeps_what_its_own_calls_keep() -> None:
    r = trained(before=2)
    first, second = r.graphs[:2]
    own = [sum(node.meta.get("saved", 0) for node in part.nodes) for part in (first, second)]
    assert own[0] == own[1] > 0
    assert saved(second) > own[1]  # what the first one keeps is there, too, and is none of its own
    assert sum(second.memory_report().by_place[scope] for scope in second.scopes if scope.parent is None) <= own[1]


def test_the_last_steps_alone_are_as_their_parts() -> None:
    r = trained(keep=2)
    graph = r.graph
    graph.lint()
    report, alone = graph.memory_report(), trained(steps=2).graph.memory_report()
    assert report.by_kind["saved"] == alone.by_kind["saved"]
    assert report.by_kind["optimizer"] == alone.by_kind["optimizer"] > 0
    assert report.timeline[-1].saved == 0


def test_what_is_alive_alone_is_carried_on() -> None:
    """However many steps there were, a part begins with as much."""
    parts = trained(steps=8).events.split()
    before = [len(list(part)) - len([e for e in part if isinstance(e, Enter | Op)]) for part in parts]
    assert before[2] == before[5]


def test_every_other_step() -> None:
    report = trained(steps=4, every=2).graph.memory_report()
    assert report.by_kind["saved"] == saved(trained().graph)
    assert report.by_kind["gradients"] == report.by_kind["parameters"] > 0
    assert report.timeline[-1].saved == 0
    assert all(one.ns <= other.ns for one, other in pairwise(report.timeline))


@pytest.mark.parametrize("before", [1, 2])
def test_a_stream_is_as_what_is_kept_in_memory(tmp_path: Path, before: int) -> None:
    r = trained(before=before, stream=tmp_path / "run.jsonl")
    loaded = EventStream.load(tmp_path / "run.jsonl")
    kinds = trained(before=before).graph.memory_report().by_kind
    assert assemble(loaded).memory_report().by_kind == kinds
    assert [saved(assemble(part)) for part in loaded.split()] == [saved(part) for part in r.graphs]


# Views


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = linear(), linear()

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(t))).sin()


def blocks() -> Graph:
    net = nn.Sequential(*(Block() for _ in range(4)))
    with Recorder(net, memory=True) as r:
        net(x()).sum().backward()
    return r.graph


def test_views_show_what_is_kept_by_what_they_show() -> None:
    graph = blocks()
    root = next(scope for scope in graph.scopes if scope.parent is None)
    whole = graph.metrics[root]["saved_bytes"]
    sizes = {scope.name: graph.metrics[scope]["saved_bytes"] for scope in graph.scopes}
    closed = collapse(graph, depth=1)
    assert {node.name: closed.metrics[node]["saved_bytes"] for node in closed.nodes if node.name in sizes} == {
        name: size for name, size in sizes.items() if name != root.name
    }
    folded = fold(graph)
    assert len(folded.nodes) < len(graph.nodes)
    assert folded.metrics[next(s for s in folded.scopes if s.parent is None)]["saved_bytes"] == whole
    part = select(graph, scope="2")
    assert {part.metrics[node]["saved_bytes"] for node in part.nodes if node.name == "2.a"} == {
        graph.metrics[node]["saved_bytes"] for node in graph.nodes if node.name == "2.a"
    }
    for view in (closed, folded, part):
        assert str(view.memory_report()) == str(graph.memory_report())
