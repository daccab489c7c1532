"""Files from strangers: no code runs, nothing takes more than its share of time and memory, and errors are ours.

Nothing here is timed. What would take hours where a guard fails, fails by not ending.
"""

import gzip
import json
import os
import pickle
import re
from pathlib import Path
from random import Random

import msgspec
import pytest
from fuzz import changes, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recorder
from recorder import EventStream, ExportError, Graph, GraphError, Node, Scope, StreamError, Value, assemble
from recorder.analysis.gradient_report import gradient_report
from recorder.events import Derived, Enter, Grad, Leave, Member, Module, Op, Output, Tensor, TensorMeta
from recorder.limits import DEEPEST, LARGEST, LONGEST_LINE
from recorder.summary import Summary
from recorder.testing import chain, sample_graphs, sample_streams

FOUND = Path(__file__).parents[1] / "fuzz" / "found"
SEEDS = {name: targets.seeds(name) for name in ("stream", "document")}

META = TensorMeta((1,), "float32", "cpu")


@pytest.mark.parametrize("path", sorted(FOUND.iterdir()), ids=lambda path: path.name)
def test_what_the_fuzzer_ever_found(path: Path) -> None:
    targets.TARGETS[path.name.partition("-")[0]](path.read_bytes())


@pytest.mark.parametrize("target", SEEDS)
def test_what_is_not_changed_is_accepted(target: str, tmp_path: Path) -> None:
    """Else the tests below would only try what is refused at once."""
    for data in SEEDS[target]:
        if target == "stream":
            (tmp_path / "run.jsonl").write_bytes(data)
            assert assemble(EventStream.load(tmp_path / "run.jsonl")).nodes
        else:
            recorder.loads(data)
        targets.TARGETS[target](data)


@pytest.mark.slow
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(target=st.sampled_from(sorted(SEEDS)), number=st.integers(0, 2**32))
def test_changed_recordings_and_graphs(target: str, number: int) -> None:
    random = Random(number)
    targets.TARGETS[target](changes.changed(random.choice(SEEDS[target]), random))


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("the-bomb-went-off",)


@pytest.mark.parametrize("data", [pickle.dumps(Bomb()), gzip.compress(SEEDS["stream"][0])], ids=["pickle", "gzip"])
def test_other_kinds_of_files_are_refused(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.jsonl").write_bytes(data)
    with pytest.raises(StreamError, match="line 1: "):
        EventStream.load(tmp_path / "run.jsonl")
    with pytest.raises(StreamError, match="not a graph document"):
        recorder.loads(data)
    assert not (tmp_path / "the-bomb-went-off").exists()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs a file without an end")
def test_a_line_without_an_end() -> None:
    with pytest.raises(StreamError, match=f"line 1: longer than {LONGEST_LINE >> 20} MiB"):
        EventStream.load("/dev/zero")


def saved(path: Path, *events: msgspec.Struct) -> EventStream:
    """The events as they come back from a file."""
    EventStream(events).save(path / "run.jsonl")  # type: ignore[arg-type]
    return EventStream.load(path / "run.jsonl")


@pytest.mark.parametrize(
    "event",
    [
        Tensor(2**63, META),
        Tensor(0, TensorMeta((-2,), "float32", "cpu")),
        Tensor(0, TensorMeta((2**63,), "float32", "cpu")),
        Tensor(0, TensorMeta((), "x" * 201, "cpu")),
        Tensor(0, TensorMeta((), "float32", "")),
        Op("add", 0, 10**30),
        *(Tensor(i * (2**61 - 1), META) for i in (9, 50_000)),  # all of these collide in a dictionary
    ],
    ids=str,
)
def test_numbers_and_words_that_no_run_has(event: msgspec.Struct, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="line 2: Expected"):
        saved(tmp_path, event)


def module(**members: int) -> Module:
    return Module(0, "m", "M", "M", parameters=tuple(Member(name, tensor) for name, tensor in members.items()))


MANY = 30_000


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [
                *(Tensor(i, META) for i in range(MANY)),
                module(**{f"p{i}": i for i in range(MANY)}),
                *(Op("l", 0, 1, module=0) for _ in range(MANY)),
            ],
            id="each of many calls uses all of many parameters",
        ),
        pytest.param(
            [
                *(Tensor(i, META) for i in range(MANY)),
                Derived(0, tuple(range(1, MANY))),
                *(Derived(i, (0,)) for i in range(1, MANY)),
            ],
            id="each of many tensors comes from all of many",
        ),
        pytest.param(
            [
                *(Tensor(i, META) for i in range(MANY)),
                Derived(0, tuple(range(1, MANY))),
                *(Op("add", 0, 1, inputs=(0,)) for _ in range(MANY)),
            ],
            id="each of many calls uses what comes from all of many",
        ),
    ],
)
def test_few_events_that_stand_for_billions_of_edges(events: list[msgspec.Struct], tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"event .* used more than 100 times for each event"):
        assemble(saved(tmp_path, *events))


def test_calls_without_an_end(tmp_path: Path) -> None:
    calls = [Enter(i, 0, i) for i in range(DEEPEST)]
    assert len(assemble(saved(tmp_path, module(), *calls, Op("add", 0, 1))).scopes) == DEEPEST
    with pytest.raises(StreamError, match=f"event {DEEPEST + 1}: calls are nested more than 1,000 deep"):
        assemble(saved(tmp_path, module(), *calls, Enter(DEEPEST, 0, 0)))


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([module(), Enter(0, 0, 0), Enter(0, 0, 1)], "event 2: call 0 is entered a second time"),
        ([module(), Leave(0, 0)], r"event 1 \(.*\) refers to 0"),
        ([Enter(0, 0, 0), module()], r"event 0 \(.*\) refers to 0"),
        ([module(), Enter(0, 0, 0), Leave(0, 1), Leave(0, 2)], "event 3 .* refers to 'call 0'"),
        ([Op("add", 0, 1, inputs=(7,)), Tensor(7, META)], r"event 0 \(.*\) refers to 7"),
        ([Op("add", 0, 1, outputs=(Output(1, META),), writes=(1,))], r"event 0 \(.*\) refers to 1"),
    ],
)
def test_events_out_of_order(events: list[msgspec.Struct], message: str, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=message):
        assemble(saved(tmp_path, *events))


def test_a_stream_that_is_there_twice() -> None:
    """Both halves are the same run, with the same numbers: a recording like any other, or an error of ours."""
    for stream in sample_streams().values():
        with pytest.raises(StreamError, match="a second time"):
            assemble(EventStream([*stream, *stream]))


def test_views_that_are_read_after_a_write_do_not_cost_more_each(tmp_path: Path) -> None:
    shared = TensorMeta((1,), "float32", "cpu", storage=7)
    views = [Tensor(i, shared) for i in range(MANY)]
    graph = assemble(
        saved(tmp_path, *views, Op("relu_", 0, 1, inputs=(0,), writes=(0,)), Op("cat", 0, 1, inputs=tuple(range(MANY))))
    )
    graph.lint()
    assert [value.name for value in graph.nodes[0].outputs] == [f"relu_:{i}" for i in range(MANY)]
    assert graph.nodes[1].inputs == graph.nodes[0].outputs


def test_shapes_that_no_tensor_has_are_counted_as_nothing() -> None:
    weight = Value("w", (LARGEST,) * 100_000, "float32", "cpu", role="parameter")
    ragged = Value("r", (3, -1, 4), "float32", "cpu", role="parameter")
    fine = Value("f", (3, 5), "float32", "cpu", role="parameter")
    node = Node("n", "module", "M", "", "n", 0, inputs=(weight, ragged, fine), duration_ns=10**400)
    graph = Graph([node], initializers=[weight, ragged, fine])
    summary = Summary(graph)
    assert (summary.parameters, summary.rows[0].parameters) == (15, 15)
    assert "?" in str(summary)
    assert f"{LARGEST}×…×{LARGEST}" in str(recorder.export(Graph(inputs=[weight]), "dot"))


def nested(levels: int) -> dict[str, object]:
    scope = {"fqn": "s", "call": 0, "op_type": "S"}
    scopes = [{**scope, "name": f"s{i}", **({"parent": i - 1} if i else {})} for i in range(levels)]
    empty = msgspec.json.decode(recorder.dumps(sample_graphs()["empty"]))
    return {**empty, "scopes": scopes}


def test_scopes_of_a_document_without_an_end() -> None:
    assert len(recorder.loads(msgspec.json.encode(nested(DEEPEST))).scopes) == DEEPEST
    with pytest.raises(GraphError, match=f"scope 's{DEEPEST}' is nested more than 1,000 deep"):
        recorder.loads(msgspec.json.encode(nested(100_000)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["nodes"][0].update(meta={"backward": [1]}), r"of node 'fc' is not .*: Expected `object`"),
        (
            lambda d: d["nodes"][0].update(meta={"collapsed": "many"}),
            r"collapsed.* of node 'fc' is not .*Expected `int`",
        ),
        (lambda d: d["scopes"][0].update(meta={"backward": {"passes": 1}}), r"of scope 'Tiny' is not .*missing"),
        (
            lambda d: d["scopes"][0].update(meta={"repeats": 1, "repeated": ["a", "b"]}),
            r"repeats.* of scope 'Tiny' is not .*`int` >= 2",
        ),
        (
            lambda d: d["nodes"][0].update(meta={"repeats": 2, "repeated": [1, 2]}),
            r"repeated.* of node 'fc' is not .*Expected `str`",
        ),
        (lambda d: d["nodes"][0].update(meta={"repeats": 2}), r"of node 'fc' has one of .* without the other"),
        (lambda d: d["values"][0].update(meta={"repeats": "2"}), r"of value 'input' is not .*Expected `int`"),
        (lambda d: d["values"][0].update(meta={"backward": None}), r"of value 'input' is not .*Expected `object`"),
        (
            lambda d: d["values"][0].update(
                meta={
                    "backward": {"passes": 1, "pass": 0, "order": 0, "gradient": {"shape": [], "dtype": "", "norm": 1}}
                }
            ),
            r"of value 'input' is not .*some are missing.*\$\.gradient",
        ),
    ],
)
def test_what_is_told_in_our_name_is_what_we_tell(change: object, message: str) -> None:
    document = msgspec.json.decode(recorder.dumps(sample_graphs()["tiny"]))
    change(document)  # type: ignore[operator]
    with pytest.raises(GraphError, match=message):
        recorder.loads(msgspec.json.encode(document))


def test_what_is_told_of_gradients_is_read_back() -> None:
    told = Grad(0, "arrive", 1, 0, (META, None))
    graph = assemble(EventStream([module(), Op("l", 0, 1, module=0, call=0), told]))
    again = recorder.loads(recorder.dumps(graph))
    assert again == graph
    assert str(gradient_report(again)) == str(gradient_report(graph))


def test_a_hierarchy_that_onnx_cannot_hold() -> None:
    scopes = [Scope("s" * 1_000, 0, "S", name="s0")]
    for i in range(1, 900):
        scopes.append(Scope("s" * 1_000, 0, "S", scopes[-1], f"s{i}"))
    nodes = [Node(f"n{i}", "function", "add", "add", scope=scopes[-1]) for i in range(200)]
    with pytest.raises(ExportError, match="depth=10"):
        recorder.export(Graph(nodes, scopes=scopes), "onnx-json")
    assert recorder.export(Graph(nodes, scopes=scopes), "onnx-json", depth=10)


def test_a_scope_that_goes_on_after_it_was_left() -> None:
    outer = Scope("o", 0, "O", name="o")
    inner, other = Scope("i", 0, "I", outer, "i"), Scope("p", 0, "P", name="p")
    places = [inner, other, inner, outer]
    nodes = [Node(f"n{i}", "function", "f", "f", scope=scope) for i, scope in enumerate(places)]
    with pytest.raises(GraphError) as caught:
        Graph(nodes, scopes=[outer, inner, other]).lint()
    assert sorted(caught.value.problems) == [
        "scope 'i' goes on at node 'n2' after it was left",
        "scope 'o' goes on at node 'n2' after it was left",
    ]


def test_a_recording_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("old")

    def full(self: Path, target: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="disk full"):
            sample_streams()["tiny"].save(path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["run.jsonl"]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        sample_streams()["tiny"].save(tmp_path / "new" / "run.jsonl")
    sample_streams()["tiny"].save(path)
    assert EventStream.load(path) == sample_streams()["tiny"]


def test_links_and_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chain(3)
    (tmp_path / "a.json").symlink_to("b.json")
    (tmp_path / "b.json").symlink_to("a.json")
    with pytest.raises(OSError, match="symbolic links"):
        recorder.save(graph, tmp_path / "a.json")
    assert (tmp_path / "a.json").is_symlink()
    (tmp_path / "new.json").symlink_to("made.json")  # to what is not there yet
    recorder.save(graph, tmp_path / "new.json")
    assert recorder.loads((tmp_path / "made.json").read_bytes()) == graph

    private = tmp_path / "private.json"
    private.touch(mode=0o600)
    modes = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        modes.append(self.stat().st_mode & 0o077)
        return replace(self, target)

    written = Path.chmod
    monkeypatch.setattr(Path, "replace", watched)
    monkeypatch.setattr(
        Path, "chmod", lambda self, mode: modes.append(self.stat().st_mode & 0o077) or written(self, mode)
    )
    recorder.save(graph, private)
    assert modes == [0, 0]  # nobody else could read it, not even for a moment

    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    before = private.read_bytes()
    with pytest.raises(PermissionError):
        recorder.save(chain(4), private)
    assert private.read_bytes() == before


@pytest.mark.parametrize("metric", ["parameters", "flops", "time_share", "gradient_norm"])
@pytest.mark.parametrize("number", ["-1", "-0.5", str(-(2**64)), "NaN", "1e999", "-1e999", '"3"', "[]"])
def test_figures_that_no_run_has_are_refused(metric: str, number: str) -> None:
    graph = sample_graphs()["tiny"]
    recorder.add_metrics(graph)
    document = recorder.dumps(graph).decode()
    changed = re.sub(rf'("{metric}":)[^,}}]+', rf"\g<1>{number}", document, count=1)
    if changed == document:
        changed = document.replace('"metrics":{', f'"metrics":{{"{metric}":{number},', 1)
    assert changed != document
    with pytest.raises((GraphError, StreamError)):
        recorder.loads(changed.encode())


def test_sums_and_times_that_no_run_has_are_not_shown() -> None:
    large = Value("w", (LARGEST,), "float64", "cpu", requires_grad=True, role="parameter")
    other = Value("v", (LARGEST,), "float64", "cpu", requires_grad=True, role="parameter")
    scope = Scope("", 0, "Net", name="Net", duration_ns=-(10**30))
    nodes = [
        Node(f"n{i}", "module", "M", "", f"n{i}", 0, scope, (value,), duration_ns=10**400, backward_ns=-(10**400))
        for i, value in enumerate((large, other))
    ]
    graph = Graph(nodes, scopes=[scope], initializers=[large, other])
    for place in (*nodes, scope):
        assert all(0 <= figure <= LARGEST for figure in graph.metrics[place].values())
    assert graph.metrics[nodes[0]]["parameters"] == LARGEST
    assert "parameters" not in graph.metrics[scope]
    assert "parameter_bytes" not in graph.metrics[nodes[0]]
    alone = Graph([Node("n", "module", "M", "", "n", 0, duration_ns=10**400, backward_ns=10**400)])
    assert not {"time_share", "backward_share"} & set(alone.metrics[alone.nodes[0]])
    summary = Summary(graph, columns="all")
    assert "parameters" not in summary.total
    assert "nan" not in str(summary).lower().replace("nan, inf", "")  # which is a heading
    json.loads(recorder.dumps(graph))
