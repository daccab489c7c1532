"""assemble() on any stream: against a naive model, and what holds for every one."""

import msgspec
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from support import strategies
from support.naive_model import agree

import recorder
from recorder import EventStream, StreamError, assemble
from recorder.events import Event
from recorder.testing import sample_streams


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(strategies.streams())
def test_the_graph_says_what_a_naive_model_says(stream: EventStream) -> None:
    note("\n".join(map(repr, stream)))
    agree(stream)


@pytest.mark.parametrize("name", sample_streams())
def test_the_naive_model_agrees_on_the_samples(name: str) -> None:
    assert len(agree(sample_streams()[name]).nodes) > 1


# What holds for every stream


@pytest.mark.slow
@settings(deadline=None)
@given(strategies.streams())
def test_the_same_stream_always_gives_the_same_graph(stream: EventStream) -> None:
    one, other = assemble(stream), assemble(EventStream(list(stream), stream.header))
    assert one == other
    assert recorder.dumps(one, timing=True) == recorder.dumps(other, timing=True)


@settings(deadline=None, max_examples=50)
@given(stream=strategies.streams())
def test_a_saved_stream_gives_the_same_graph(tmp_path_factory: pytest.TempPathFactory, stream: EventStream) -> None:
    path = tmp_path_factory.mktemp("streams") / "run.jsonl"
    stream.save(path)
    assert recorder.dumps(assemble(EventStream.load(path))) == recorder.dumps(assemble(stream))


@settings(deadline=None, max_examples=30)
@given(strategies.streams(max_size=20))
def test_a_stream_may_be_cut_anywhere(stream: EventStream) -> None:
    events = list(stream)
    nodes = 0
    for end in range(len(events) + 1):
        graph = agree(EventStream(events[:end]))
        finished = sum(node.duration_ns is not None for node in graph.nodes)
        assert finished >= nodes  # what was once finished stays
        nodes = finished


@settings(deadline=None, max_examples=50)
@given(strategies.streams())
def test_times_change_nothing_but_durations(stream: EventStream) -> None:
    def later(event: Event) -> Event:
        times = {name: 3 * getattr(event, name) + 5 for name in ("start_ns", "stop_ns", "ns") if hasattr(event, name)}
        return msgspec.structs.replace(event, **times)

    graph, slow = assemble(stream), assemble(EventStream(map(later, stream), stream.header))
    assert slow == graph
    for fast_node, slow_node in zip(graph.nodes, slow.nodes, strict=True):
        if fast_node.duration_ns is not None:
            assert slow_node.duration_ns == 3 * fast_node.duration_ns
        if fast_node.backward_ns is not None:
            assert slow_node.backward_ns == 3 * fast_node.backward_ns


@settings(deadline=None)
@given(strategies.streams(), st.data())
def test_a_stream_that_lacks_or_repeats_events_is_refused_or_assembled(
    stream: EventStream, data: st.DataObject
) -> None:
    """Nothing but our own errors comes out of events that are each valid and do not fit together."""
    events = list(stream)
    picked = data.draw(st.lists(st.sampled_from(events), max_size=2 * len(events))) if events else []
    try:
        graph = assemble(EventStream(picked))
    except StreamError:
        pass
    else:
        graph.lint()
