"""The ranks of a job as one graph, of jobs that ran and of streams written by hand."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.rank_jobs import JOBS, RANKS

import recorder
from recorder import Graph, Node, StreamError, collapse, expand, fold, hide, select, unfold
from recorder.events import of_ranges

PIPELINES = ("gpipe", "1f1b")


def merged(folder: Path, job: str, **how: Any) -> Graph:
    graph = recorder.merge(str(folder / f"{job}-?.jsonl"), **how)
    graph.lint()
    return graph


def tops(graph: Graph) -> list[str]:
    return [scope.name for scope in graph.scopes if scope.parent is None]


def facts(node: Node) -> dict[str, Any]:
    said: dict[str, Any] = node.meta["collective"]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_each_operation_of_each_rank_is_in_one_link(rank_jobs: Path, job: str) -> None:
    graph = merged(rank_jobs, job, fold=False)
    assert tops(graph) == [f"rank {rank}" for rank in range(RANKS)]
    linked: Counter[tuple[int, str]] = Counter()
    for link in graph.links:
        for rank, node in link.members.items():
            linked[rank, node.name] += 1
            said = facts(node)
            assert said["rank"] == rank
            assert (said["group"], said["number"], said["phase"]) == (link.group, link.number, link.phase)
            assert node.op_type == link.op_type or (link.op_type, node.op_type) == ("send", "recv")
        assert tuple(link.members) == link.ranks
        if link.op_type == "send":
            source, target = link.nodes()
            assert (source.op_type, target.op_type) == ("send", "recv")
            assert facts(source)["peer"] == facts(target)["rank"]
            assert facts(target)["peer"] == facts(source)["rank"]
        else:
            assert link.ranks == of_ranges(facts(link.nodes()[0])["ranks"])
    issued = [(facts(node)["rank"], node.name) for node in graph.nodes if "collective" in node.meta]
    assert issued
    assert linked == Counter(issued)


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_each_rank_is_what_it_is_by_itself(rank_jobs: Path, job: str) -> None:
    graph = merged(rank_jobs, job, fold=False)
    for rank in range(RANKS):
        alone = recorder.load(rank_jobs / f"{job}-{rank}.jsonl")
        part = [n for n in graph.nodes if n.scope is not None and [*n.scope.ancestors()][-1].name == f"rank {rank}"]
        assert [node.name for node in part] == [f"rank {rank}.{node.name}" for node in alone.nodes]
        edges = {(e.source.name, e.target.name, e.value.name) for e in graph.edges()}
        assert {tuple(f"rank {rank}.{part.name}" for part in edge) for edge in alone.edges()} <= edges
    assert sum(1 for _ in graph.edges()) == sum(
        sum(1 for _ in recorder.load(rank_jobs / f"{job}-{rank}.jsonl").edges()) for rank in range(RANKS)
    )


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_ranks_that_did_the_same_are_there_once(rank_jobs: Path, job: str) -> None:
    graph = merged(rank_jobs, job)
    each = merged(rank_jobs, job, fold=False)
    if job in (*PIPELINES, "by_hand"):  # where each rank does something else
        assert len(tops(graph)) == RANKS
    else:
        assert tops(graph) == ["ranks 0–3"]
        assert len(graph.nodes) * RANKS == len(each.nodes)
        assert all(link.ranks == (0, 1, 2, 3) for link in graph.links)
    assert graph.meta["ranks"] == {"present": "0-3"}
    assert graph.meta["world_size"] == RANKS
    assert recorder.loads(recorder.dumps(graph)) == graph


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("each", [False, True])
def test_every_view_holds(rank_jobs: Path, job: str, each: bool) -> None:
    graph = merged(rank_jobs, job, fold=not each)
    ways: list[Callable[[Graph], Graph]] = [
        lambda g: collapse(g, 0),
        lambda g: collapse(g, 1),
        lambda g: expand(collapse(g, 0), 2),
        fold,
        lambda g: unfold(fold(g)),
        lambda g: hide(g, ["identities", "views"]),
        lambda g: select(g, scope=tops(g)[0]),
        lambda g: collapse(fold(g), 1),
        lambda g: recorder.readable(g),
    ]
    for way in ways:
        view = way(graph)
        view.lint()
        assert view.links
        written = recorder.loads(recorder.dumps(view))
        assert [link.members.parts[0][1].name for link in written.links] == [
            link.members.parts[0][1].name for link in view.links
        ]
    closed = collapse(graph, 0)
    assert [node.name for node in closed.nodes] == tops(graph)
    assert len(closed.links) == len(graph.links)
    again = expand(closed, 99)
    assert again == graph


@pytest.mark.slow
def test_some_ranks_alone(rank_jobs: Path) -> None:
    graph = merged(rank_jobs, "1f1b", ranks=[1, 2])
    assert tops(graph) == ["rank 1", "rank 2"]
    assert {link.ranks for link in graph.links} == {(1, 2)}
    assert graph.meta["ranks"] == {"present": "1-2", "missing": "0,3"}
    with pytest.raises(StreamError, match=re.escape("there is no recording of rank 7, but of ranks 0–3")):
        merged(rank_jobs, "1f1b", ranks=[7])


@pytest.mark.slow
def test_files_that_end_anywhere(rank_jobs: Path, tmp_path: Path) -> None:
    for rank in range(RANKS):
        text = (rank_jobs / f"fsdp-{rank}.jsonl").read_bytes().splitlines(keepends=True)
        head = text[0].replace(b'"meta":{', b'"meta":{"streamed":true,')
        (tmp_path / f"{rank}.jsonl").write_bytes(b"".join([head, *text[1 : 60 + 10 * rank]]) + b'{"type":"op","op_t')
    graph = recorder.merge(str(tmp_path / "*.jsonl"))
    graph.lint()
    assert tops(graph) == [f"rank {rank}" for rank in range(RANKS)]
    assert graph.meta["ranks"] == {"present": "0-3", "not_ended": "0-3"}
    assert {len(link.ranks) for link in graph.links} >= {4}
