"""Traces are read back byte by byte, with the numbers of the fields as Chakra's schema has them."""

import json
from typing import Any

import pytest
from recorder_chakra import chakra_trace, chakra_traces, process_groups
from support.chakra_wire import COLLECTIVE, COMPUTE, RECV, SEND, attributes, fields, numbers, read
from support.linked import linked, one_rank

import recorder
from recorder import Graph, StreamError
from recorder.testing import HOSTILE_NAMES, bearing, sample_graphs

SAMPLES = sample_graphs()


def nodes(graph: Graph) -> list[dict[int, list[Any]]]:
    metadata, *rest = read(chakra_trace(graph, process_groups([graph])))
    assert metadata[1] == [b"0.0.4"]
    return rest


@pytest.mark.parametrize("name", SAMPLES)
def test_every_call_and_every_edge_is_there(name: str) -> None:
    graph = SAMPLES[name]
    found = nodes(graph)
    assert [node[2] for node in found] == [[node.name.encode()] for node in graph.nodes]
    assert [node.get(1, [0]) for node in found] == [[number] for number in range(len(graph.nodes))]
    assert {node[3][0] for node in found} <= {COMPUTE}
    position = {node: number for number, node in enumerate(graph.nodes)}
    edges = {(position[edge.source], position[edge.target]) for edge in graph.edges()}
    assert {(source, n) for n, node in enumerate(found) for source in numbers(node.get(5, []))} == edges
    for node, written in zip(graph.nodes, found):
        assert written.get(7, [0]) == [(node.duration_ns or 0) // 1000]
        (shapes,) = (value for number, value in fields(written[8][0]) if number == 2)
        assert json.loads(shapes) == [list(value.shape) for value in node.inputs]


def test_operations_between_ranks_as_simulators_read_them() -> None:
    ranks = [one_rank(0), one_rank(1)]
    files = chakra_traces(ranks, "job")
    assert list(files) == ["job.0.et", "job.1.et", "comm_group.json"]
    assert json.loads(files["comm_group.json"]) == {"1": [0, 1]}
    for rank, name in enumerate(("job.0.et", "job.1.et")):
        _, reduced, other = read(files[name])
        assert (reduced[3], other[3]) == ([COLLECTIVE], [RECV if rank else SEND])
        assert attributes(reduced) == {
            "is_cpu_op": (27, False), "op_type": (29, "all_reduce"), "comm_type": (9, 0), "comm_size": (9, 4 * 2 * 4),
            "pg_name": (29, "1"),
        }  # fmt: skip
        assert attributes(other) == {
            "is_cpu_op": (27, False), "op_type": (29, "recv" if rank else "send"), "comm_size": (9, 4 * 2 * 4),
            "pg_name": (29, "1"), "comm_src": (7, 0), "comm_dst": (7, 1), "comm_tag": (7, 0),
        }  # fmt: skip
        assert 4 not in other


def test_what_waits_for_what() -> None:
    """A collective for the last one of its group; no send for a receive."""
    jobs = [recorder.select(linked(3), scope=f"rank {rank}") for rank in range(2)]
    for graph in jobs:
        data = chakra_trace(graph, process_groups(jobs))
        assert [numbers(node.get(4, [])) for node in read(data)[1:]] == [[], [0], [1], []]


def test_what_is_not_known_is_left_out() -> None:
    graph = one_rank(1)
    facts = graph.nodes[1].meta["collective"]
    del facts["peer"]
    facts["dtype"] = "int4"
    told = attributes(nodes(graph)[1])
    assert "comm_src" not in told
    assert "comm_size" not in told
    assert told["comm_dst"] == (7, 1)


def test_names_of_any_kind() -> None:
    found = nodes(bearing(*HOSTILE_NAMES))
    assert [node.get(2, [b""]) for node in found] == [[recorder.utf8(name)] for name in HOSTILE_NAMES]


def test_ranks_that_are_not_each_one() -> None:
    with pytest.raises(StreamError, match="two recordings are of rank 0"):
        chakra_traces([one_rank(0), one_rank(0)])
