"""Process groups as one rank sees them, with torch's backend that sends nothing: what is written when, what happens to
groups that are made meanwhile, and that nothing of ours reaches the run.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from support.models import Net, linear, x
from torch.testing._internal.distributed.fake_pg import FakeStore

import recorder.capture.process_groups
from recorder import EventStream, Graph, Recorder, assemble
from recorder.capture.operations import Operations
from recorder.events import Collective, Group, Op, RankSummary

SIZE = 1000

pytestmark = pytest.mark.skipif(
    not hasattr(dist.ProcessGroup, "register_pre_hook"), reason="process groups do not tell of what is issued"
)


@pytest.fixture(autouse=True)
def group() -> Iterator[None]:
    """One of a thousand ranks."""
    dist.init_process_group("fake", store=FakeStore(), rank=7, world_size=SIZE)
    yield
    dist.destroy_process_group()


def reduced(net: Any, value: torch.Tensor) -> torch.Tensor:
    value = net.fc(value)
    dist.all_reduce(value)
    return value


def issued(graph: Graph) -> list[dict[str, Any]]:
    return [node.meta["collective"] for node in graph.nodes if "collective" in node.meta]


def test_the_header_says_who_it_is() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net) as r:
        net(x())
    meta = r.events.header.meta
    assert (meta["rank"], meta["world_size"]) == (7, SIZE)
    assert meta["host"]
    (said,) = issued(r.graph)
    assert said["ranks"] == "0-999"
    assert said["rank"] == 7
    (group,) = [event for event in r.events if isinstance(event, Group)]
    assert group.backend == "fake"


def test_an_operation_is_written_down_before_it_is_issued(tmp_path: Path) -> None:
    path = tmp_path / "{rank}.jsonl"
    seen: list[list[Any]] = []

    def look(args: Any) -> None:
        seen.append(list(EventStream.load(tmp_path / "7.jsonl")))

    net = Net(reduced, fc=linear())
    with Recorder(net, stream=path):
        dist.group.WORLD.register_pre_hook(1, look)  # type: ignore[union-attr]
        dist.group.WORLD.register_post_hook(1, look)  # type: ignore[union-attr]
        net(x())
        dist.group.WORLD.unregister_pre_hook(1)  # type: ignore[union-attr]
        dist.group.WORLD.unregister_post_hook(1)  # type: ignore[union-attr]
    after = seen[1]  # hooks of one kind have no order
    assert [type(event) for event in after] == [Group, Collective]
    assert after[1].module == ""
    events = list(EventStream.load(tmp_path / "7.jsonl"))
    assert events[:2] == after
    assert [type(event) for event in events].count(Collective) == 1
    assert isinstance(events[-1], RankSummary)
    graph = assemble(EventStream.load(tmp_path / "7.jsonl"))
    graph.lint()
    assert [node.name for node in graph.nodes] == ["fc", "all_reduce"]


def test_in_memory_and_in_a_file_it_is_the_same(tmp_path: Path) -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net) as memory, Recorder(net, stream=tmp_path / "{rank}.jsonl") as file:
        net(x()).sum()
        dist.barrier()
    assert memory.graph == file.graph
    (one,) = [event for event in memory.events if isinstance(event, RankSummary)]
    (other,) = [event for event in file.events if isinstance(event, RankSummary)]
    assert one == other


def test_groups_made_in_the_block_are_found() -> None:
    def forward(net: Any, value: torch.Tensor) -> torch.Tensor:
        value = net.fc(value)
        dist.all_reduce(value, group=dist.new_group([3, 7]))
        return value

    net = Net(forward, fc=linear())
    with Recorder(net) as r:
        net(x())
    (said,) = [said for said in issued(r.graph) if said["op_type"] == "all_reduce"]
    assert said["ranks"] == "3,7"
    assert said["number"] == 0


def test_numbers_go_on_when_the_recorder_is_entered_again() -> None:
    net = Net(reduced, fc=linear())
    r = Recorder(net)
    for _ in range(2):
        with r:
            net(x())
        net(x())  # which is not counted
    assert [said["number"] for said in issued(r.graph)] == [0, 1]
    assert r.graph.nodes[-1].inputs[0].producer is not None


def test_steps_that_are_left_out_are_counted() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net, every=2) as r:
        for _ in range(4):
            net(x())
    assert [said["number"] for said in issued(r.graph)] == [0, 2]


def test_the_last_steps_alone() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net, keep=2) as r:
        for _ in range(5):
            net(x())
    r.graph.lint()
    assert [said["number"] for said in issued(r.graph)] == [3, 4]
    assert [len(issued(graph)) for graph in r.graphs] == [1, 1]


def test_functions_are_not_needed() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net, functions=False) as r:
        net(x())
        dist.barrier()
    r.graph.lint()
    assert [node.op_type for node in r.graph.nodes] == ["Linear", "all_reduce", "barrier"]


def test_what_is_outside_and_unknown_has_no_tensors_but_what_arrives() -> None:
    net = Net(reduced, fc=linear())
    batch, grad = torch.ones(2, 4), torch.ones(3)
    with Recorder(net) as r:
        dist.all_reduce(grad)
        grad.div_(SIZE)
        dist.broadcast(batch, 0)
        batch.mul(2)
        net(batch)
    r.graph.lint()
    first, second, fc, third = r.graph.nodes
    assert [first.op_type, second.op_type, third.op_type] == ["all_reduce", "broadcast", "all_reduce"]
    assert not first.inputs
    assert fc.inputs[0].producer is second
    assert not [value for value in r.graph.values() if value.role == "constant"]


def test_parameters_that_are_sent_stay_parameters() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net) as r:
        for parameter in net.parameters():
            dist.broadcast(parameter.detach(), 0)
            with torch.no_grad():
                dist.broadcast(parameter, 0)
        net(x())
    r.graph.lint()
    (layer,) = [node for node in r.graph.nodes if node.op_type == "Linear"]
    assert [value.role for value in layer.inputs] == ["input", "parameter"]
    assert r.graph.metrics[layer]["parameters"] == 16


def test_other_threads_are_told_without_a_module() -> None:
    net = Net(reduced, fc=linear())

    def elsewhere() -> None:
        dist.all_reduce(torch.ones(2))

    def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return net(value)

    around = Net(forward, net=net)
    with Recorder(around) as r:
        around(x())
    other, own = issued(r.graph)
    assert "module" not in other
    assert own["module"] == "net"


def test_an_error_of_ours_stays_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(Operations, "begins", broken)
    net = Net(reduced, fc=linear())
    with pytest.warns(RuntimeWarning, match="ours"), Recorder(net) as r:
        net(x())
    assert [node.op_type for node in r.graph.nodes][:1] == ["Linear"]


def test_nothing_of_ours_is_left_at_the_groups() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net) as r:
        net(x())
        dist.new_group([1, 7])
    before = len(r.events)
    register = dist.distributed_c10d._register_pg_in_world  # type: ignore[attr-defined]
    assert register.__name__ == register.__qualname__ == "_register_pg_in_world"
    assert not hasattr(register, "__wrapped__")
    net(x())
    dist.barrier()
    assert len(r.events) == before


def test_an_operation_that_is_refused_is_in_the_recording() -> None:
    def forward(net: Any, value: torch.Tensor) -> torch.Tensor:
        value = net.fc(value)
        dist.all_to_all_single(torch.empty(3, 4), value, [1, 1, 1], [1])
        return value

    net = Net(forward, fc=linear())
    with pytest.raises(RuntimeError, match="splits"), Recorder(net) as r:
        net(x())
    r.graph.lint()
    assert r.graph.nodes[-1].error or r.graph.scopes[0].error


def test_an_op_has_the_number_of_what_it_issued() -> None:
    net = Net(reduced, fc=linear())
    with Recorder(net) as r:
        net(x())
    (event,) = [event for event in r.events if isinstance(event, Collective)]
    (op,) = [event for event in r.events if isinstance(event, Op) and event.op_type == "all_reduce"]
    assert op.collective == event.collective == 0
    assert op.target == "torch.distributed.all_reduce"
    assert op.start_ns <= event.ns <= op.stop_ns


def test_where_groups_do_not_tell_python_code_is_seen_in_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.capture.process_groups, "_tells", lambda: False)  # as below torch 2.14

    class Summed(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: torch.Tensor) -> torch.Tensor:
            value = value.clone()
            dist.all_reduce(value)
            return value

        @staticmethod
        def backward(_: Any, *gradients: Any) -> Any:
            gradient = gradients[0].clone()
            dist.all_reduce(gradient)
            return gradient

    def forward(net: Any, value: torch.Tensor) -> torch.Tensor:
        value = Summed.apply(net.fc(value))
        if torch.is_grad_enabled():
            return value
        whole = [torch.empty(2, 4) for _ in range(SIZE)]
        dist.all_gather(whole, value)
        dist.broadcast(value, 3)
        dist.send(value, 5)
        group: Any = dist.group.WORLD
        group.allreduce([value]).wait()
        dist.barrier()
        return value + whole[0]

    net = Net(forward, fc=linear())
    methods = dict(vars(dist.ProcessGroup))
    r = Recorder(net)

    def step() -> None:
        with r:
            net(x()).sum().backward()
            with torch.no_grad():
                net(x())

    with pytest.warns(RuntimeWarning, match="forward only") as warned:
        step()
    assert len(warned) == 1
    assert dict(vars(dist.ProcessGroup)) == methods
    r.graph.lint()
    assert "forward only" in str(r.graph.meta["not_followed"])
    said = issued(r.graph)
    assert [(one["op_type"], one["number"]) for one in said] == [
        ("all_reduce", 0), ("all_reduce", 1), ("all_gather", 2), ("broadcast", 3), ("send", 0), ("all_reduce", 4),
        ("barrier", 5),
    ]  # fmt: skip
    assert {one["phase"] for one in said} == {"forward"}
    assert [one["root"] for one in said if "root" in one] == [3]
    assert [one["peer"] for one in said if "peer" in one] == [5]
    assert not [value for value in r.graph.values() if value.role == "constant"]
    nodes = {node.name: node for node in r.graph.nodes}
    add = next(node for node in r.graph.nodes if node.op_type == "add")
    assert add.inputs[0].producer is nodes["Net#1.all_reduce_1"]
