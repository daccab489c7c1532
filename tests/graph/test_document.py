"""Our own JSON: it loads back to an equal graph, fits the published schema, and bad input gets one clear error."""

import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.strategies import graphs, json_values

import recorder
from recorder import Graph, GraphError, Node, RecorderError, Scope, StreamError, Value
from recorder.testing import chain, sample_graphs

SAMPLES = sample_graphs()
PUBLISHED = Path(__file__).parents[2] / "docs" / "graph.schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """Checks against the schema as published, which is all that another program has."""
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def facts(graph: Graph) -> Any:
    """All that a graph says, read off its objects and not through the code under test."""
    values = {id(v): i for i, v in enumerate(graph.values())}
    scopes = {id(s): i for i, s in enumerate(graph.scopes)}

    def at(group: Any) -> list[int]:
        return [values[id(v)] for v in group]

    return (
        graph.name,
        graph.meta,
        [at(group) for group in (graph.inputs, graph.outputs, graph.initializers)],
        [(v.name, v.shape, v.dtype, v.device, v.requires_grad, v.grad_fn, v.role, v.meta) for v in graph.values()],
        [
            (s.name, s.fqn, s.call, s.op_type, s.target, scopes.get(id(s.parent)), s.error, s.attributes, s.meta)
            for s in graph.scopes
        ],
        [
            (n.name, n.kind, n.op_type, n.target, n.fqn, n.call, scopes.get(id(n.scope)), n.error, n.attributes, n.meta)
            for n in graph.nodes
        ],
        [(at(n.inputs), at(n.outputs)) for n in graph.nodes],
    )


def times(graph: Graph) -> list[tuple[int | None, int | None]]:
    return [(item.duration_ns, item.backward_ns) for item in (*graph.nodes, *graph.scopes)]


def assert_same(loaded: Graph, graph: Graph) -> None:
    loaded.lint()
    assert facts(loaded) == facts(graph)
    assert loaded == graph


# There and back


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_loads_back_and_fits_the_schema(
    name: str, tmp_path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    data = recorder.save(SAMPLES[name], tmp_path / "graph.json").read_bytes()
    validator.validate(json.loads(data))
    assert_same(recorder.loads(data), SAMPLES[name])
    assert_same(recorder.loads(data.decode()), SAMPLES[name])


@settings(deadline=None)
@given(graphs())
def test_any_graph_loads_back_and_fits_the_schema(graph: Graph) -> None:
    data = recorder.dumps(graph)
    assert_same(recorder.loads(data), graph)
    assert recorder.dumps(recorder.loads(data)) == data
    jsonschema.validate(json.loads(data), recorder.json_schema())


@pytest.mark.parametrize("name", ["tiny", "residual", "error"])
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.json", recorder.export(SAMPLES[name], "json", indent=2) + "\n")


def test_a_difference_is_a_difference() -> None:
    """Otherwise equality after loading would say nothing."""
    data = json.loads(recorder.dumps(SAMPLES["residual"]))
    for change in (
        lambda d: d["nodes"][0].update(name="other"),
        lambda d: d["nodes"][1].update(error="no"),
        lambda d: d["nodes"][2]["inputs"].reverse(),
        lambda d: d["values"][0]["shape"].append(1),
        lambda d: d["scopes"][0].update(call=7),
        lambda d: d["meta"].update(k=1),
    ):
        other = json.loads(json.dumps(data))
        change(other)
        assert recorder.loads(json.dumps(other)) != SAMPLES["residual"]


def test_the_published_schema_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = json.dumps(recorder.json_schema(), indent=2) + "\n"
    if request.config.getoption("--update-golden"):
        PUBLISHED.write_text(text)
    assert PUBLISHED.read_text() == text, "run pytest with --update-golden, and look at what changed"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["nodes"][0].update(kind="moduel"),
        lambda d: d["nodes"][0].update(colour="red"),
        lambda d: d["nodes"][0].pop("name"),
        lambda d: d["nodes"][0].update(inputs=[-1]),
        lambda d: d["values"][0].update(shape=[-2]),
        lambda d: d["values"][0].update(role="guest"),
        lambda d: d.pop("format"),
        lambda d: d.update(schema_version=2),
        lambda d: d.update(nodes={}),
    ],
)
def test_schema_and_loader_refuse_the_same(change: Any, validator: jsonschema.Draft202012Validator) -> None:
    document = json.loads(recorder.dumps(SAMPLES["tiny"]))
    change(document)
    assert not validator.is_valid(document)
    with pytest.raises(StreamError):
        recorder.loads(json.dumps(document))


# Options


def test_times_are_written_on_request_only() -> None:
    graph = sample_graphs()["residual"]
    for i, item in enumerate((*graph.nodes, *graph.scopes)):
        item.duration_ns, item.backward_ns = 1000 + i, 2000 + i
    assert all(both == (None, None) for both in times(recorder.loads(recorder.export(graph, "json"))))
    timed = recorder.loads(recorder.export(graph, "json", timing=True))
    assert times(timed) == times(graph)
    assert timed == graph, "a time is no difference"


def test_indent_changes_the_layout_only() -> None:
    line, indented = (recorder.export(SAMPLES["residual"], "json", indent=indent) for indent in (0, 2))
    assert "\n" not in line
    assert '\n  "nodes": [\n' in indented
    assert json.loads(line) == json.loads(indented)


# What JSON holds in another form


def node(**members: Any) -> Node:
    node = Node("n", "function", "f", "torch.f")
    for name, value in members.items():
        setattr(node, name, value)
    return node


def test_attributes_that_json_writes_in_another_form_stay_equal() -> None:
    class Mode(enum.StrEnum):
        FAST = "fast"

    class Level(enum.IntEnum):
        HIGH = 3

    attributes = {
        "tuple": (1, (2.0, "a")),
        "infinite": [float("inf"), float("-inf"), float("nan")],
        "enums": {"mode": Mode.FAST, "level": Level.HIGH},
        "big": 2**100,
        "zero": -0.0,
    }
    graph = Graph([node(attributes=attributes)])
    loaded = recorder.loads(recorder.dumps(graph))
    assert loaded == graph
    assert loaded.nodes[0].attributes == {
        "tuple": [1, [2.0, "a"]],
        "infinite": ["inf", "-inf", "nan"],
        "enums": {"mode": "fast", "level": 3},
        "big": 2**100,
        "zero": 0.0,
    }


def test_lone_surrogates_are_shown_as_their_escape() -> None:
    bad = "a\udc80"  # what a file name that is not UTF-8 looks like in an error message
    scope = Scope(bad, 0, bad, name=bad, target=bad, error=bad)
    value = Value(bad, (), "float32", "cpu", grad_fn=bad, role="constant")
    one = node(name=bad, op_type=bad, target=bad, error=bad, scope=scope, inputs=(value,), attributes={bad: [bad]})
    graph = Graph([one], scopes=[scope], name=bad)
    loaded = recorder.loads(recorder.dumps(graph))
    assert loaded == graph
    assert loaded.nodes[0].error == "a\\udc80"
    assert loaded.nodes[0].attributes == {"a\\udc80": ["a\\udc80"]}


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    "held",
    [{1, 2}, object(), b"bytes", 1j, {1: "a"}, deep(10_000), 10**5000],
    ids=["set", "object", "bytes", "complex", "key", "deep", "digits"],
)
def test_what_json_cannot_hold_is_refused(held: Any) -> None:
    with pytest.raises(GraphError, match="holds what JSON cannot"):
        recorder.dumps(Graph([node(attributes={"key": held})]))


def test_the_message_says_whose_attributes_they_are() -> None:
    with pytest.raises(GraphError, match=r"node 'culprit' holds what JSON cannot: .* is a set"):
        recorder.dumps(Graph([node(), node(name="culprit", meta={"plugin": {1}})]))


def test_a_scope_that_the_graph_lacks() -> None:
    with pytest.raises(GraphError, match="node 'n' is in scope 'lost', which the graph lacks"):
        recorder.dumps(Graph([node(scope=Scope("lost", 0, "S", name="lost"))]))


# Bad input


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b"[",
        b"\xff\xfe\x00",
        b'{"name": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"NaN",
        b"1" * 10_000,
        '"\ud800"',
        "\x00",
    ],
)
def test_what_is_no_document(data: bytes | str) -> None:
    with pytest.raises(StreamError, match="not a graph document"):
        recorder.loads(data)


def test_another_version_is_named() -> None:
    newer = recorder.dumps(SAMPLES["tiny"]).replace(b'"schema_version":1', b'"schema_version":2,"colour":"red"')
    with pytest.raises(StreamError, match=r"schema version 2, and this version of graph-recorder reads 1"):
        recorder.loads(newer)


HUGE = 10**400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["nodes"][0].update(inputs=[HUGE]), "an input of node 'fc' is number 1000"),
        (lambda d: d["nodes"][0].update(outputs=[99]), "an output of node 'fc' is number 99 of 5"),
        (lambda d: d["nodes"][0].update(scope=1), "the scope of node 'fc' is number 1 of 1"),
        (lambda d: d["scopes"][0].update(parent=0), "the parent of scope 'Tiny' is number 0 of 0"),
        (lambda d: d.update(inputs=[5]), "an input of the graph is number 5 of 5"),
        (lambda d: d["nodes"].reverse(), "before 'fc' has made it"),
        (lambda d: d["nodes"][1].update(name="fc"), "two nodes are named 'fc'"),
        (lambda d: d["nodes"][1].update(outputs=d["nodes"][0]["outputs"]), "is made twice"),
        (lambda d: d["values"].append({**d["values"][0], "name": "lost"}), "the value 'lost' is neither used nor made"),
    ],
)
def test_documents_that_contradict_themselves(change: Any, message: str) -> None:
    document = json.loads(recorder.dumps(SAMPLES["tiny"]))
    change(document)
    with pytest.raises(GraphError, match=message):
        recorder.loads(json.dumps(document))


def survives(data: bytes | str) -> bool:
    """Whether a document loads. If it does, it is a graph like any other; if not, the error is ours."""
    try:
        graph = recorder.loads(data)
    except RecorderError:
        return False
    graph.lint()
    assert recorder.loads(recorder.dumps(graph, timing=True)) == graph
    return True


WHOLE = {name: recorder.dumps(graph, timing=True) for name, graph in SAMPLES.items()}


@pytest.mark.parametrize("name", ["empty", "tiny", "error"])
def test_no_part_of_a_document_loads(name: str) -> None:
    data = WHOLE[name]
    assert survives(data)
    assert not any(survives(data[:length]) for length in range(len(data)))


@settings(deadline=None)
@given(st.data())
def test_damaged_bytes_give_our_errors_only(data: st.DataObject) -> None:
    document = bytearray(WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(document) - 1))
        stop = start + data.draw(st.integers(0, 3))
        document[start:stop] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"]", b"}", b",", b"-", b"9e9"])
        )
    survives(bytes(document))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@settings(deadline=None)
@given(st.data())
def test_changed_documents_give_our_errors_only(data: st.DataObject) -> None:
    document = json.loads(WHOLE[data.draw(st.sampled_from(["tiny", "residual", "recursive", "in_place", "error"]))])
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(document)
        assume(found)
        container, key = data.draw(st.sampled_from(found))
        do = data.draw(st.sampled_from(["replace", "small", "huge", "other", "delete", "twice"]))
        if do == "delete":
            del container[key]
        elif do == "twice" and isinstance(container, list):
            container.insert(key, container[key])
        elif do == "other":
            other, at = data.draw(st.sampled_from(found))
            container[key] = json.loads(json.dumps(other[at]))
        elif do == "small":
            container[key] = data.draw(st.integers(-2, 12))
        elif do == "huge":
            container[key] = data.draw(st.sampled_from([10**400, -(2**64), 1e308, 2**63]))
        else:
            container[key] = data.draw(json_values)
    survives(json.dumps(document))


@pytest.mark.parametrize(("levels", "loads"), [(100, True), (101, False), (400, False), (5000, False)])
def test_what_loads_is_not_too_deep_to_be_written_again(levels: int, loads: bool) -> None:
    document = recorder.dumps(SAMPLES["tiny"])
    nested = document.replace(b'"meta":{}', b'"meta":{"deep":' + b"[" * levels + b"]" * levels + b"}")
    assert nested != document
    assert survives(nested) == loads


@pytest.mark.slow
def test_a_large_graph_takes_seconds() -> None:
    graph = chain(20_000, blocks=20)
    assert recorder.loads(recorder.export(graph, "json")) == graph


def test_the_times_of_memory_are_measured_times() -> None:
    def told(ns: int) -> dict[str, Any]:
        return {"memory": {"timeline": [[ns, None, "forward", 4, 0, 0, 0, 0, 0]], "kept": [], "optimizers": [],
                           "allocator": {}}}  # fmt: skip

    one, other = Graph([], meta=told(5)), Graph([], meta=told(7))
    assert one == other != Graph([], meta={})
    assert recorder.dumps(one) == recorder.dumps(other) != recorder.dumps(one, timing=True)
    assert recorder.loads(recorder.dumps(one, timing=True)).memory_report().timeline[0].ns == 5
    assert Graph([], meta={"memory": "of somebody else"}) == Graph([], meta={"memory": "of somebody else"})
