"""Jobs of four ranks, recorded. A recorded step equals a bare one to the bit, as the ranks themselves check; what was
recorded is counted by `torch.distributed.tensor.debug.CommDebugMode`, and what that does not count, at the methods.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from support.rank_jobs import JOBS, RANKS

import recorder
from recorder import EventStream, Graph, Node, assemble
from recorder.events import of_ranges

pytestmark = pytest.mark.slow

supported = pytest.mark.supported

PIPELINES = ("gpipe", "1f1b")


def graphs(folder: Path, job: str) -> list[Graph]:
    found = [recorder.load(folder / f"{job}-{rank}.jsonl") for rank in range(RANKS)]
    for graph in found:
        graph.lint()
    return found


def issued(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if "collective" in node.meta]


def facts(node: Node) -> dict[str, Any]:
    said: dict[str, Any] = node.meta["collective"]
    return said


@supported("functions of `torch.distributed`")
@supported("functional collectives")
@supported("tensor and sequence parallel")
@supported("experts on other ranks")
@pytest.mark.parametrize("job", JOBS)
def test_counts_are_those_of_the_witnesses(rank_jobs: Path, job: str) -> None:
    for rank, graph in enumerate(graphs(rank_jobs, job)):
        witness = json.loads((rank_jobs / f"{job}-{rank}.json").read_text())
        assert not witness["warned"]
        counted = {name: number for name, number in witness["counts"].items() if number}
        assert counted
        assert Counter(node.op_type for node in issued(graph)) == counted
        assert {facts(node)["op_type"] for node in issued(graph)} == set(counted)
        assert graph.meta["rank"] == rank
        assert graph.meta["world_size"] == RANKS
        assert "not_followed" not in graph.meta


@pytest.mark.parametrize("job", JOBS)
def test_operations_are_counted_in_their_groups(rank_jobs: Path, job: str) -> None:
    for rank, graph in enumerate(graphs(rank_jobs, job)):
        counted: dict[Any, list[int]] = {}
        for node in issued(graph):
            said = facts(node)
            channel = (node.op_type, said["peer"]) if node.op_type in ("send", "recv") else None
            counted.setdefault((said["group"], channel), []).append(said["number"])
            assert said["rank"] == rank
            assert rank in of_ranges(said["ranks"])
        assert all(sorted(numbers) == list(range(len(numbers))) for numbers in counted.values())


@pytest.mark.parametrize("job", JOBS)
def test_every_operation_is_there_once(rank_jobs: Path, job: str) -> None:
    for rank in range(RANKS):
        stream = EventStream.load(rank_jobs / f"{job}-{rank}.jsonl")
        graph = assemble(stream)
        keys = [json.dumps(facts(node), sort_keys=True) for node in issued(graph)]
        assert len(set(keys)) == len(keys)
        parts = [assemble(part) for part in stream.split()]
        for part in parts:
            part.lint()
        assert sum(len(issued(part)) for part in parts) == len(keys)


@pytest.mark.parametrize("job", [job for job in JOBS if job not in PIPELINES])
def test_no_tensor_comes_from_nowhere(rank_jobs: Path, job: str) -> None:
    for graph in graphs(rank_jobs, job):
        assert [value.name for value in graph.values() if value.role == "constant"] == []
        assert all(value.producer is not None or value.role != "activation" for value in graph.values())


@supported("FSDP2, `fully_shard`")
@supported("HSDP, a mesh of two dimensions")
@pytest.mark.parametrize("job", ["fsdp", "hsdp"])
def test_gathered_parameters_lead_to_the_layers_that_use_them(rank_jobs: Path, job: str) -> None:
    for graph in graphs(rank_jobs, job):
        layers = [node for node in graph.nodes if node.op_type == "Linear"]
        assert len(layers) == 10
        for layer in layers:
            (gathered,) = {value.producer for value in layer.inputs if facts_of(value.producer)}
            assert gathered is not None
            assert gathered.op_type == "all_gather"
            assert f"{layer.fqn}.weight" in facts(gathered)["parameters"]
            (before,) = [value.producer for value in gathered.inputs if value.name.endswith("copy_in:0")]
            assert before is not None
            assert f"{layer.fqn}.weight" in [value.name for value in before.inputs]
        backward = [facts(node) for node in issued(graph) if facts(node)["phase"] == "backward"]
        scattered = [said["parameters"] for said in backward if said["op_type"] == "reduce_scatter"]
        names = sorted(value.name for value in graph.initializers)
        assert sorted(name for names in scattered for name in names) == sorted(2 * names)


def facts_of(node: Node | None) -> bool:
    return node is not None and "collective" in node.meta


@supported("`DistributedDataParallel`")
@pytest.mark.parametrize("job", ["ddp", "ddp_bucket_views", "ddp_unused"])
def test_buckets_say_whose_gradients_they_hold(rank_jobs: Path, job: str) -> None:
    for graph in graphs(rank_jobs, job):
        sizes = {value.name: torch.Size(value.shape).numel() for value in graph.initializers}
        reduced = [facts(node) for node in issued(graph) if node.op_type == "all_reduce"]
        buckets = [said for said in reduced if "parameters" in said]
        assert buckets
        for said in buckets:
            assert said["phase"] == "backward"
            assert sum(sizes[name] for name in said["parameters"]) == said["inputs"][0][0]
        assert {name for said in buckets for name in said["parameters"]} <= set(sizes)


@supported("pipelines, `torch.distributed.pipelining`")
@pytest.mark.parametrize("job", PIPELINES)
def test_what_a_stage_receives_is_what_it_works_on(rank_jobs: Path, job: str) -> None:
    for rank, graph in enumerate(graphs(rank_jobs, job)):
        first = [node for node in graph.nodes if node.fqn == "a"]
        makers = [node.inputs[0].producer for node in first[1:]]  # the first one finds out what is to be sent
        assert len(makers) == 4
        if rank == 0:
            assert makers == [None] * 4
            continue
        received = [_maker(maker) for maker in makers]
        assert all(node is not None and node.op_type == "recv" for node in received)
        assert [facts(node)["peer"] for node in received if node is not None] == [rank - 1] * 4
        assert len(set(received)) == 4


def _maker(node: Node | None) -> Node | None:
    """Behind what only says that gradients are wanted."""
    while node is not None and node.op_type == "requires_grad_":
        node = node.inputs[0].producer
    return node


def test_shapes_roots_and_peers(rank_jobs: Path) -> None:
    for rank, graph in enumerate(graphs(rank_jobs, "by_hand")):
        nodes = {(facts(node)["group"], facts(node)["number"], node.op_type): facts(node) for node in issued(graph)}
        named = {op_type: said for (_, _, op_type), said in nodes.items()}
        assert named["broadcast"]["root"] == 1
        assert named["reduce"]["root"] == 2
        assert named["scatter"]["root"] == 0
        assert named["gather"]["root"] == 3
        assert named["send"]["peer"] == named["recv"]["peer"] == rank ^ 1
        assert nodes["0", 5, "all_gather"]["outputs"] == [[16, 8]]
        assert nodes["0", 5, "all_gather"]["inputs"] == [[4, 8]]
        assert len(named["scatter"].get("inputs", [])) == (RANKS if rank == 0 else 0)
        pair = next(said for said in nodes.values() if said["group"] != "0")
        assert of_ranges(pair["ranks"]) == (rank - rank % 2, rank - rank % 2 + 1)
        assert {said["dtype"] for said in nodes.values() if said["op_type"] != "barrier"} == {"float32"}


@supported("a collective inside of a checkpoint")
def test_what_is_computed_again_issues_again(rank_jobs: Path) -> None:
    for graph in graphs(rank_jobs, "checkpointed"):
        first, again = issued(graph)
        assert [facts(node)["phase"] for node in (first, again)] == ["forward", "backward"]
        assert [value.producer and value.producer.op_type for value in first.inputs] == ["clone"]
        assert not again.inputs
        assert not again.outputs
