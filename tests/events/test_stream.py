"""EventStream: what is saved comes back, and what is not a saved stream is refused with the line that is wrong."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import strategies

from recorder import EventStream, GraphError, StreamError, assemble
from recorder.events import SCHEMA_VERSION, Derived, Header, NotFinite, Op, Tensor, TensorMeta
from recorder.events.stream import encode_events, encode_header
from recorder.testing import sample_streams

HEADER = b'{"type":"header","schema_version":1,"torch":"","model":"","created":"","meta":{}}\n'
DERIVED = b'{"type":"derived","tensor":1,"sources":[2]}\n'


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for all examples of a test: each writes it anew."""
    return tmp_path_factory.mktemp("streams") / "run.jsonl"


@settings(deadline=None)
@given(stream=strategies.streams_with_headers())
def test_what_is_saved_comes_back(path: Path, stream: EventStream) -> None:
    assert stream.save(path) == path
    loaded = EventStream.load(path)
    assert loaded == stream
    assert (list(loaded), loaded.header) == (list(stream), stream.header)
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert data.count(b"\n") == len(stream) + 1
    loaded.save(path)
    assert path.read_bytes() == data


def test_files_keep_their_word_for_what_is_not_finite(path: Path) -> None:
    """The event had another name once."""
    path.write_bytes(HEADER + b'{"type":"held","nan":[1],"unknown":[2]}\n')
    assert list(EventStream.load(path)) == [NotFinite(nan=(1,), unknown=(2,))]


@pytest.mark.parametrize("name", sample_streams())
def test_the_samples_come_back(path: Path, name: str) -> None:
    stream = sample_streams()[name]
    stream.save(path)
    assert EventStream.load(path) == stream


@given(text=st.text())
@example(text="\u2028 \u2029 \x85 \x0b \x0c \x1c \r \n \r\n \x00 \ufeff \U0010ffff")
def test_no_character_of_a_string_ends_a_line(path: Path, text: str) -> None:
    stream = EventStream([Op(text, 0, 1, attributes={text: [text]}), Derived(1, (2,))], Header(model=text))
    stream.save(path)
    assert EventStream.load(path) == stream


@pytest.mark.parametrize("number", [2**31, 2**53 + 1, 2**63 - 1, 2**64, -(2**63) - 1, 10**40])
def test_whole_numbers_keep_every_digit(path: Path, number: int) -> None:
    ours = number if abs(number) < 2**63 else 0  # larger ones are the user's alone, in attributes
    meta = TensorMeta((ours,), "float32", "cpu", storage=ours)
    stream = EventStream([Tensor(ours, meta), Op("full", 0, ours, attributes={"value": number})])
    stream.save(path)
    assert EventStream.load(path) == stream


def test_the_schema_version_is_written_out(path: Path) -> None:
    """Although it is a default: what the default is changes with the version."""
    EventStream().save(path)
    assert msgspec.json.decode(path.read_bytes())["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
def test_events_are_written_in_batches_and_none_is_lost_between_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    stream = sample_streams()["residual"]
    monkeypatch.setattr("recorder.events.stream._BATCH", batch)
    stream.save(path)
    assert path.read_bytes() == encode_header(stream.header) + encode_events(stream)


def test_a_stream_grows_like_a_list() -> None:
    stream = EventStream()
    assert (len(stream), list(stream)) == (0, [])
    stream.append(Derived(1, (2,)))
    stream.extend([Derived(3, (4,)), Derived(5, (6,))])
    assert [event.tensor for event in stream] == [1, 3, 5]
    assert stream == EventStream([Derived(1, (2,)), Derived(3, (4,)), Derived(5, (6,))])
    assert stream != EventStream(stream, Header(model="Other"))
    assert stream != list(stream)
    assert repr(stream) == "<EventStream : 3 events>"


@pytest.mark.parametrize(
    "data",
    [
        HEADER,
        HEADER.rstrip(),  # no newline at the end: editors strip it
        HEADER + DERIVED + DERIVED.rstrip(),
        HEADER + b"\n" + DERIVED + b"  \n\n" + DERIVED + b"\n\n",  # blank lines
        (HEADER + DERIVED).replace(b"\n", b"\r\n"),  # a checkout on Windows
        HEADER + DERIVED + DERIVED,  # events may repeat: whether they make sense is for assemble to say
    ],
)
def test_these_files_are_streams(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert len(EventStream.load(path)) == data.count(b"derived")


def op(attributes: bytes) -> bytes:
    return b'{"type":"op","op_type":"add","start_ns":0,"stop_ns":1,"attributes":' + attributes + b"}\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n \n", "is empty", id="only blank lines"),
        pytest.param(DERIVED, "line 1: .*derived", id="no header"),
        pytest.param(b"\n" + HEADER, "line 1: ", id="a blank line before the header"),
        pytest.param(b"{}\n", "line 1: .*`type`", id="an object that is not a header"),
        pytest.param(b"[]\n", "line 1: Expected `object`", id="an array"),
        pytest.param(b"hello\n", "line 1: JSON is malformed", id="not JSON"),
        pytest.param(b"\xef\xbb\xbf" + HEADER, "line 1: JSON is malformed", id="byte order mark"),
        pytest.param(b'{"type":"header","torch":"2.8"}', "line 1: .*`schema_version`", id="no schema version"),
        pytest.param(HEADER.replace(b":1,", b":2,"), "line 1: schema version 2, .* reads 1", id="a later version"),
        pytest.param(HEADER.replace(b":1,", b":0,"), "line 1: schema version 0", id="an earlier version"),
        pytest.param(b'{"type":"header","schema_version":9,"meta":[]}', "schema version 9", id="a later header"),
        pytest.param(HEADER.replace(b":1,", b':"1",'), "line 1: Expected `int`", id="a version that is text"),
        pytest.param(HEADER.replace(b"{}", b"[]"), "line 1: Expected `object`", id="a header field of a wrong type"),
        pytest.param(HEADER + DERIVED + HEADER, "line 3: .*'header'", id="a second header"),
        pytest.param(HEADER + b'{"type":"frobnicate"}\n', "line 2: .*'frobnicate'", id="unknown tag"),
        pytest.param(HEADER + b'{"tensor":1,"sources":[2]}\n', "line 2: .*`type`", id="no tag"),
        pytest.param(HEADER + b'{"type":"derived","tensor":1}', "line 2: .*`sources`", id="missing field"),
        pytest.param(HEADER + DERIVED.replace(b"1", b'"1"'), r"line 2: Expected `int`.*\$\.tensor", id="wrong type"),
        pytest.param(HEADER + DERIVED.replace(b"1", b"1.0"), "line 2: Expected `int`, got `float`", id="a float"),
        pytest.param(HEADER + DERIVED.replace(b"1", b"true"), "line 2: Expected `int`, got `bool`", id="a bool"),
        pytest.param(HEADER + DERIVED + DERIVED[:20], "line 3: Input data was truncated", id="truncated last line"),
        pytest.param(HEADER + b"\n\n" + DERIVED[:20], "line 4: ", id="wrong after blank lines"),
        pytest.param(HEADER + DERIVED[:-1] + DERIVED, "line 2: JSON is malformed", id="two events on a line"),
        pytest.param(
            HEADER + DERIVED.replace(b",", b",\n"), "line 2: Input data was trunc", id="an event on two lines"
        ),
        pytest.param(HEADER + DERIVED.replace(b"\n", b"\r") * 2, "line 2: JSON is malformed", id="old Macintosh lines"),
        pytest.param(HEADER + DERIVED + b"\x00\n", "line 3: JSON is malformed", id="a zero byte"),
        pytest.param(HEADER + DERIVED + op(b'{"a":"\xff"}'), "line 3: not UTF-8", id="not UTF-8"),
        pytest.param(HEADER + op(b'{},"\xff":1'), "line 2: not UTF-8", id="not UTF-8 in what is not kept"),
        pytest.param(HEADER + op(b'{"a":"\xed\xa0\x80"}'), "line 2: not UTF-8", id="a surrogate"),
        pytest.param(HEADER + op(b'{"a":"\\ud800"}'), "line 2: ", id="half of a surrogate pair"),
        pytest.param(HEADER + op(b'{"a":NaN}'), "line 2: JSON is malformed", id="NaN"),
        pytest.param(HEADER + op(b'{"a":Infinity}'), "line 2: JSON is malformed", id="Infinity"),
        pytest.param(HEADER + op(b'{"a":1e999}'), "line 2: Number out of range", id="a float out of range"),
        pytest.param(HEADER + op(b'{"a":' + b"9" * 5000 + b"}"), "line 2: Integer value out", id="a huge integer"),
        pytest.param(HEADER + DERIVED.replace(b"1", b"9" * 5000), "line 2: Integer value out", id="a huge number"),
        pytest.param(
            HEADER + op(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "line 2: nested too deeply", id="too deep"
        ),
        pytest.param(
            HEADER + b'{"type":"tensor","tensor":1,"meta":{"shape":[],"dtype":"int8","device":"cpu"},"role":"input"}',
            "line 2: Invalid enum value 'input'",
            id="a role that no tensor has",
        ),
    ],
)
def test_these_files_are_not(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(StreamError, match=message) as caught:
        EventStream.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        EventStream.load(tmp_path / "none.jsonl")


SAVED = {name: msgspec.json.Encoder().encode_lines([s.header, *s]) for name, s in sample_streams().items()}

slices = st.tuples(st.floats(0, 1), st.integers(0, 60))
mutations = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), slices, st.just(b"")),
        st.tuples(st.just("repeat"), slices, st.just(b"")),
        st.tuples(st.just("put"), slices, st.binary(max_size=4)),
        st.tuples(
            st.just("put"), slices, st.sampled_from([b"\n", b"-", b"9" * 30, b"null", b"[", b'"', b"1e9", b"\\u"])
        ),
        st.tuples(st.just("swap lines"), slices, st.just(b"")),
        st.tuples(st.just("number"), slices, st.sampled_from([b"0", b"-1", b"7", b"1000000", b"18446744073709551616"])),
    ),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, kind: str, at: tuple[float, int], new: bytes) -> bytes:
    start = int(at[0] * len(data))
    end = start + at[1]
    if kind == "swap lines":
        lines = data.split(b"\n")
        a, b = int(at[0] * (len(lines) - 1)), at[1] % len(lines)
        lines[a], lines[b] = lines[b], lines[a]
        return b"\n".join(lines)
    if kind == "number":  # another number in place of the next one: most such files load
        while start < len(data) and not data[start : start + 1].isdigit():
            start += 1
        end = start
        while data[end : end + 1].isdigit():
            end += 1
        return data[:start] + new + data[end:]
    if kind == "repeat":
        return data[:end] + data[start:]
    return data[:start] + new + data[end if kind == "delete" else start :]


@pytest.mark.slow
@settings(deadline=None, max_examples=500)
@given(name=st.sampled_from(sorted(SAVED)), changes=mutations)
def test_damaged_files_raise_our_errors_only(
    path: Path, name: str, changes: list[tuple[str, tuple[float, int], bytes]]
) -> None:
    data = SAVED[name]
    for change in changes:
        data = mutate(data, *change)
    path.write_bytes(data)
    try:
        graph = assemble(EventStream.load(path))
        graph.lint()
    except (StreamError, GraphError) as error:
        assert str(error)  # noqa: PT017 - the point is that nothing else is raised


@settings(deadline=None, max_examples=50)
@given(junk=st.binary(max_size=200), with_header=st.booleans())
def test_junk_is_refused(path: Path, junk: bytes, with_header: bool) -> None:
    path.write_bytes(HEADER * with_header + junk)
    if with_header and not junk.strip():
        assert len(EventStream.load(path)) == 0
    else:
        with pytest.raises(StreamError):
            EventStream.load(path)
