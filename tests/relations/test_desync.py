"""Where ranks fell apart: on jobs with planted faults, asked while they hang or after they died, and in streams written
by hand.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.rank_jobs import JOBS
from support.two_ranks import ended, start_ranks

import recorder
from recorder import EventStream, StreamError
from recorder.events import Collective, Group, Header
from recorder.relations.desync import in_words

FAULTY, AT, LAST = 1, 4, 8
"""The rank with the fault, the number of the call, and that of the last one: see `support.faulty_ranks`."""

FAULTS = {
    "shape": "all_reduce 4 of float32 1×4 in second",
    "op": "broadcast 4 of float32 2×4 rooted at rank 0 in second",
    "skip": "skipped it, and went on with all_reduce 4 of float32 2×4 in third",
    "killed": "nothing yet; its file was last written ",
    "hangs": "nothing yet; its file was last written ",
}
"""What is said of the faulty rank."""


def wait_for(done: Callable[[], bool]) -> None:
    for _ in range(1200):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("the ranks did not come so far in two minutes")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(fault: str, tmp_path: Path) -> None:
    if not hasattr(torch.distributed.ProcessGroup, "register_pre_hook"):
        pytest.skip("below torch 2.14 process groups do not tell of what is issued")
    ranks = start_ranks(3, "faulty_ranks.py", tmp_path, 3, fault)

    def issued(rank: int) -> bool:
        path = tmp_path / f"{rank}.jsonl"
        silent = rank == FAULTY and fault in ("killed", "hangs", "skip")
        # What was skipped shows in that there is one less in the end: until then, the others may have been elsewhere.
        last = LAST if fault == "skip" else AT
        return path.exists() and path.read_bytes().count(b'{"type":"collective"') > last - silent

    try:
        wait_for(lambda: all(map(issued, range(3))))  # and asked right then, while some wait for each other
        found = recorder.desync(str(tmp_path / "*.jsonl"))
        job = recorder.merge(tmp_path.glob("*.jsonl"))
    finally:
        ended(ranks)
    assert not found.ok
    (finding,) = found.findings
    assert finding.ranks == (FAULTY,)
    assert (finding.group, finding.members, finding.number) == ("0", (0, 1, 2), AT)
    assert finding.op_type == "all_reduce"
    assert finding.module == "second"
    assert finding.agreed == "all_reduce 3 of float32 2×4 in first"
    assert finding.did[0] == finding.did[2] == "all_reduce 4 of float32 2×4 in second"
    assert finding.did[FAULTY].startswith(FAULTS[fault])
    assert "rank 1 differs" in str(found)
    job.lint()
    assert len(job.links) >= AT


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_jobs_without_a_fault_agree(rank_jobs: Path, job: str) -> None:
    found = recorder.desync(str(rank_jobs / f"{job}-?.jsonl"))
    assert found.ok
    assert not found
    assert found.ranks == (0, 1, 2, 3)
    assert str(found) == "ranks 0–3: every operation agrees"


@pytest.mark.slow
@pytest.mark.parametrize("job", ["fsdp", "1f1b", "by_hand"])
def test_they_agree_without_their_summaries(rank_jobs: Path, job: str, tmp_path: Path) -> None:
    for rank in range(4):
        text = (rank_jobs / f"{job}-{rank}.jsonl").read_bytes()
        assert text.count(b'"rank_summary"') == 1
        (tmp_path / f"{rank}.jsonl").write_bytes(text[: text.rindex(b'{"type":"rank_summary"')])
    assert recorder.desync(str(tmp_path / "*.jsonl")).ok


# Streams by hand


def rank(folder: Path, number: int, calls: list[Any], size: int = 3, name: str = "0") -> Path:
    """A file of a rank that issued these: an op_type, or what else is to be said of it."""
    events: list[Any] = [Group(0, name, f"0-{size - 1}", number)]
    counted: dict[Any, int] = {}
    for index, call in enumerate(calls):
        said = {"op_type": call} if isinstance(call, str) else dict(call)
        channel = (said["op_type"], said.get("peer")) if said["op_type"] in ("send", "recv") else None
        counted[channel] = counted.get(channel, -1) + 1
        side = "outputs" if said["op_type"] == "recv" else "inputs"
        events.append(Collective(index, 0, counted[channel], ns=index, **{side: ((2,),), "dtype": "float32", **said}))
    header = Header(meta={"rank": number, "world_size": size})
    return EventStream(events, header).save(folder / f"{number}.jsonl")


def job(folder: Path, *calls: list[Any]) -> recorder.Desync:
    return recorder.desync([rank(folder, number, made, len(calls)) for number, made in enumerate(calls)])


def test_a_rank_that_ended_early(tmp_path: Path) -> None:
    found = job(tmp_path, ["all_reduce", "barrier"], ["all_reduce", "barrier"], ["all_reduce"])
    (finding,) = found.findings
    assert (finding.ranks, finding.number, finding.op_type) == ((2,), 1, "barrier")
    assert finding.did[2] == "nothing: its recording has ended"


def test_two_ranks_that_differ_are_both_named(tmp_path: Path) -> None:
    (finding,) = job(tmp_path, ["all_reduce"], ["broadcast"]).findings
    assert finding.ranks == (0, 1)
    assert finding.agreed is None
    assert "it is their first one" in str(finding)


@pytest.mark.parametrize(
    "other",
    [{"dtype": "float16"}, {"root": 1}, {"inputs": ((3,),)}, {"op_type": "reduce"}],
)
def test_what_has_to_be_the_same(other: dict[str, Any], tmp_path: Path) -> None:
    same = {"op_type": "broadcast", "root": 0}
    assert job(tmp_path, [same], [same], [same]).ok
    (finding,) = job(tmp_path, [same], [same], [same | other]).findings
    assert finding.ranks == (2,)


@pytest.mark.parametrize(
    "calls",
    [
        [{"op_type": "all_to_all", "inputs": ((number, 2),), "outputs": ((3 - number, 2),)} for number in range(3)],
        [{"op_type": "scatter", "inputs": ((2,),) * 3 * (number == 0), "outputs": ((2,),)} for number in range(3)],
        [{"op_type": "all_gather", "inputs": ((number,),), "outputs": ((0,), (1,), (2,))} for number in range(3)],
        [{"op_type": "reduce_scatter", "inputs": ((0,), (1,), (2,)), "outputs": ((number,),)} for number in range(3)],
        [{"op_type": "all_reduce", "module": f"part{number}"} for number in range(3)],
        [{"op_type": "gather", "outputs": ((2,),) * 3 * (number == 1), "root": 1} for number in range(3)],
    ],
)
def test_what_may_differ(calls: list[dict[str, Any]], tmp_path: Path) -> None:
    assert job(tmp_path, *([call] for call in calls)).ok


def test_a_call_that_was_skipped_or_added_is_found_where_it_was(tmp_path: Path) -> None:
    def calls(*modules: str) -> list[Any]:
        return [{"op_type": "all_reduce", "module": module} for module in modules]

    most = calls("a", "b", "c", "d")
    (finding,) = job(tmp_path, most, most, calls("a", "c", "d")).findings
    assert (finding.ranks, finding.number, finding.module) == ((2,), 1, "b")
    assert finding.did[2] == "skipped it, and went on with all_reduce 1 of float32 2 in c"
    (finding,) = job(tmp_path, calls("a", "c", "d"), calls("a", "c", "d"), most).findings
    assert (finding.ranks, finding.number, finding.module) == ((2,), 1, "c")
    assert finding.did[2] == "one call more, all_reduce 1 of float32 2 in b, and then what the others did"


def test_what_is_sent_is_received(tmp_path: Path) -> None:
    send, recv = {"op_type": "send", "peer": 1}, {"op_type": "recv", "peer": 0}
    assert job(tmp_path, [send, send], [recv, recv]).ok
    assert job(tmp_path, [send | {"inputs": ((2, 3),)}], [recv | {"outputs": ((6,),)}]).ok
    (finding,) = job(tmp_path, [send, send], [recv]).findings
    assert (finding.number, finding.ranks, finding.op_type) == (1, (1,), "send")
    (finding,) = job(tmp_path, [send], [recv | {"outputs": ((3,),)}]).findings
    assert finding.ranks == (0, 1)
    # Who receives from anybody does not say from whom.
    assert job(tmp_path, [send], [{"op_type": "recv"}]).ok


def test_ranks_that_are_missing(tmp_path: Path) -> None:
    paths = [rank(tmp_path, number, ["barrier"], size=4) for number in (0, 2)]
    found = recorder.desync(paths)
    assert found.missing == (1, 3)
    assert not found.ok
    assert str(found) == "ranks 1, 3: no recording"
    assert recorder.desync(paths, expect=6).missing == (1, 3, 4, 5)


def test_files_that_are_of_no_job(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="no file matches"):
        recorder.desync(str(tmp_path / "*.jsonl"))
    alone = EventStream().save(tmp_path / "alone.jsonl")
    with pytest.raises(StreamError, match="does not say of which rank"):
        recorder.desync([alone])
    paths = [rank(tmp_path / folder, 0, ["barrier"]) for folder in ("a", "b") if (tmp_path / folder).mkdir() is None]
    with pytest.raises(StreamError, match="both of rank 0"):
        recorder.desync(paths)


def test_operations_in_words() -> None:
    call = Collective(0, 0, 7, "reduce_scatter", 0, "backward", ((2, 3), ()), dtype="bfloat16", unit="")
    assert in_words(call) == "reduce_scatter 7 of bfloat16 2×3, scalar in backward of FSDP unit the model itself"
    assert in_words(Collective(0, 0, 1, "barrier", 0, module="a.b")) == "barrier 1 in a.b"
    assert in_words(Collective(0, 0, 1, "recv", 0, outputs=((1,),) * 6, dtype="int8", peer=3)) == (
        "recv 1 of int8 1, 1, 1, 1 and 2 more from rank 3"
    )
