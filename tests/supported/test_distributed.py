"""Jobs of two processes: the rows of docs/supported.md. A recorded step equals a bare one to the bit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import in_words
from support.two_ranks import run_two

import recorder
from recorder import Graph

supported = pytest.mark.supported

TOLD = hasattr(torch.distributed.ProcessGroup, "register_pre_hook")
"""Whether process groups tell of what is issued: from torch 2.14 on."""


def run(folder: Path, case: str) -> tuple[list[Graph], list[str]]:
    """The graphs of both ranks, and what they were warned of."""
    run_two("ranks.py", folder, case)
    graphs = [recorder.loads((folder / f"{rank}.json").read_bytes()) for rank in range(2)]
    for graph in graphs:
        graph.lint()
    return graphs, [(folder / f"{rank}.txt").read_text() for rank in range(2)]


def constants(graph: Graph) -> list[str]:
    return [value.name for value in graph.values() if value.role == "constant"]


def not_followed(graph: Graph) -> set[str]:
    said: Any = graph.meta.get("not_followed", [])
    return {thing["name"] for thing in said}


READS = {
    "reduced": "all_reduce(reduced.fc:0)",
    "later": "all_reduce(later.fc:0)",
    "reduced_to": "reduce(reduced_to.fc:0)",
    "group": "all_reduce(group.fc:0)",
    "together": "all_reduce(together.fc:0)",
    "new": "all_reduce(new.fc:0)",
}
"""What is written in place: the operation of each module, which is there once, and which the product uses."""


@supported("functions of `torch.distributed`")
@supported("methods of a process group")
def test_collectives(tmp_path: Path) -> None:
    graphs, warned = run(tmp_path, "collectives")
    for rank, graph in enumerate(graphs):
        assert not constants(graph)
        assert not_followed(graph) == (set() if TOLD else {"torch.distributed"})  # forward only, below torch 2.14
        assert ("not followed" in warned[rank]) is not TOLD
        lines = in_words(graph).splitlines()
        for name, call in READS.items():
            (issued,) = [line for line in lines if line.endswith(f" = {call}")]
            written = issued.split(": ")[1].split(" = ")[0]
            assert f"Net/{name}: {name}.mul = mul({written}:0)" in lines
        nodes = {node.name: node for node in graph.nodes}

        def made(name: str, nodes: Any = nodes) -> list[str]:
            return [value.producer.op_type for value in nodes[name].inputs]

        assert made("broadcast.mul") == ["broadcast"]  # through a view of what is used
        assert made("gathered.sub") == ["all_gather", "all_gather"]
        assert made("gathered_into_one.getitem") == ["all_gather"]
        assert made("scattered.mul") == ["scatter"]
        assert made("exchanged.mul") == ["recv", "Linear"]
        assert made("sent.add") == (["Linear"], ["recv"])[rank]
        assert not nodes["sent.send" if rank == 0 else "collected.gather"].outputs
    assert [value.producer and value.producer.op_type for value in graphs[0].outputs][8] == "add"


@supported("`DistributedDataParallel`")
@pytest.mark.parametrize("case", ["ddp", "ddp_with_buffers"])
def test_data_parallel(tmp_path: Path, case: str) -> None:
    graphs, warned = run(tmp_path, case)
    for graph, said in zip(graphs, warned, strict=True):
        assert not constants(graph)
        assert bool(not_followed(graph)) is not TOLD
        assert said.count("forward only") == (not TOLD)
        assert len(graph.inputs) == 2
        assert all(value.producer is not None or value.role != "activation" for value in graph.values())


@supported("FSDP2, `fully_shard`")
def test_fully_sharded(tmp_path: Path) -> None:
    graphs, _ = run(tmp_path, "fsdp")
    for graph in graphs:
        assert not constants(graph)
        assert len(graph.inputs) == 2
        gathers = [node for node in graph.nodes if node.op_type == "all_gather" and node.inputs]  # in forward
        assert len(gathers) == 6  # three units, two steps
        assert all(value.producer.op_type == "all_gather_copy_in" for node in gathers for value in node.inputs)
        # what was gathered is what is copied out
        copies = [node for node in graph.nodes if node.op_type == "split_with_sizes_copy"]
        assert len(copies) == 6
        views = [node for node in graph.nodes if node.op_type == "as_strided"]
        assert views
        assert {value.producer.op_type for node in views for value in node.inputs} == {"split_with_sizes_copy"}


@supported("pipelines, `torch.distributed.pipelining`")
def test_pipeline(tmp_path: Path) -> None:
    graphs, _ = run(tmp_path, "pipeline")
    for graph in graphs:
        assert [scope.op_type for scope in graph.scopes] == ["Net"] * len(graph.scopes)
    sends = [node for node in graphs[0].nodes if node.op_type == "send" and node.inputs]
    assert len(sends) == 2
    assert not constants(graphs[0])
    # The targets, of which nothing is known: one for each loss.
    assert len(constants(graphs[1])) == sum(node.op_type == "sub" for node in graphs[1].nodes)


ALONE = """
import sys
import torch
from torch.distributed import distributed_c10d as c10d
loaded = {name for name in sys.modules if name.startswith("torch.distributed")}
state = lambda: (dict(vars(c10d)), dict(vars(c10d.ProcessGroup)), len(c10d._world.pg_map))
before = state()
from recorder import Recorder
net = torch.nn.Linear(2, 2)
with Recorder(net) as r:
    net(torch.ones(1, 2))
assert len(r.graph.nodes) == 1
assert {name for name in sys.modules if name.startswith("torch.distributed")} == loaded
assert state() == before
"""


def test_where_nothing_is_distributed_nothing_is_imported_or_left() -> None:
    subprocess.run(
        [sys.executable, "-c", ALONE],
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
