"""A recording on a time line: a Chrome trace, as Perfetto and chrome://tracing show it.

A graph knows how long a call took, and not when it was; the events do. So this is no exporter but a command,
``recorder trace run.jsonl``, and `chrome_trace` for programs.

    forward                calls of modules, and of functions, as they lie inside each other
    backward on <device>   from the arrival of a call's gradient until backward was done with it, as ``backward_ns`` of
                           the graph has it, and nothing where that is not known; torch has one thread a device

    memory                 bytes by kind, where the recording has them: ``Recorder(net, memory=True)``

An arrow leads from a call to its part of a backward pass. Times are those of the Python side: what a call put on a
device's queue may have run later.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import EventStream, Graph, Node, Scope, StreamError, assemble, hookimpl
from recorder.events import UNFINISHED, Collective, Enter, Event, Grad, Group, Leave, Module, Op, TensorMeta

if TYPE_CHECKING:
    import click

__all__ = ["chrome_trace"]

PROCESS = 1


def chrome_trace(stream: EventStream, *others: EventStream) -> dict[str, Any]:
    """A recording in the Trace Event Format, as an object for JSON; with others, such as those of the ranks of a job,
    each as a process of its own.

    Slices are pairs of ``B`` and ``E``, which lie in each other like brackets in each thread; where two calls overlap
    and neither lies in the other, the second is on a thread of its own. Flows from forward to backward have the
    category and name ``fwdbwd``, as those of torch.profiler. What was issued between ranks says in which group it was,
    and the how-manieth: ``args.collective``. Times are microseconds since the recorder of the process was entered.
    """
    events: list[dict[str, Any]] = []
    flows = 0
    for process, one in enumerate((stream, *others), PROCESS):
        of_one = list(_process(one, process, flows))
        flows = max((event["id"] + 1 for event in of_one if "id" in event), default=flows)
        events += of_one
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"model": stream.header.model, "torch": stream.header.torch, "created": stream.header.created},
    }


def _memory(stream: EventStream, process: int) -> Iterator[dict[str, Any]]:
    """What was in memory as a counter. Of what was there at one time, the largest sum is told, and then the last."""
    if not stream.header.meta.get("memory"):
        return
    try:
        report = assemble(stream).memory_report()
    except StreamError:  # a file can say anything
        return
    for moment in report.timeline:
        sizes = {kind: getattr(moment, kind) for kind in report.by_kind}
        yield {"ph": "C", "pid": process, "ts": moment.ns / 1000, "name": "memory", "args": sizes}


def _process(stream: EventStream, process: int, flows: int) -> Iterator[dict[str, Any]]:
    """The events of one recording. The numbers of its flows begin at ``flows``."""
    header = stream.header
    rank = f"rank {header.meta['rank']}: " if type(header.meta.get("rank")) is int else ""
    title = f"{rank}{header.model or 'recording'}{f', torch {header.torch}' if header.torch else ''}"
    yield _named("process_name", process, 0, title)
    thread = 0
    for track, spans in _Timeline(stream).tracks().items():
        for number, lane in enumerate(_lanes(spans), 1):
            thread += 1
            yield _named("thread_name", process, thread, track if number == 1 else f"{track} ({number})")
            for event in lane.events:
                numbered = {"id": event["id"] + flows} if "id" in event else {}
                yield {"pid": process, "tid": thread, **event, **numbered}
    yield from _memory(stream, process)


def _named(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": process, "tid": thread, "name": what, "args": {"name": name}}


@dataclass(slots=True)
class _Span:
    """Something that took its time, in nanoseconds. ``flows`` leave it ("s") or end in it ("f"), by number."""

    name: str
    category: str
    start: int
    stop: int
    args: dict[str, Any]
    flows: list[tuple[str, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Visit:
    """A call in one backward pass: when autograd was seen in it, with the numbers of its nodes."""

    device: str
    seen: list[tuple[int | None, int]] = field(default_factory=list)

    def start(self, began: int | None) -> int | None:
        """When backward came to what the call computed; its first autograd node has the number ``began``. What a call
        handed on is none of its own.
        """
        return min((ns for n, ns in self.seen if n is None or began is None or n >= began), default=None)


class _Timeline:
    """Reads a stream once, and knows then when everything was."""

    def __init__(self, stream: EventStream) -> None:
        self._modules: dict[int, Module] = {}
        self._groups: dict[int, Group] = {}
        self._issued: dict[int, Collective] = {}
        self._forward: list[_Span] = []
        self._calls: dict[int, _Span] = {}
        self._around: dict[int, int] = {}  # the call that each call lies in
        self._open: list[int] = []
        self._visits: dict[tuple[int, int], _Visit] = {}  # by call and backward pass
        self._began: dict[int, int | None] = {}  # the number of the first autograd node of each call
        self._now = 0
        for event in stream:
            match event:
                case Module():
                    self._modules[event.module] = event
                case Enter():
                    self._enter(event)
                case Leave():
                    self._leave(event)
                case Op():
                    self._op(event)
                case Group():
                    self._groups[event.group] = event
                case Collective():
                    self._issued[event.collective] = event
                case Grad():
                    self._grad(event)
        self._close(0)
        self._times = _Times(stream)

    def tracks(self) -> dict[str, list[_Span]]:
        """What lies on each time line, by its name; what is around others comes before them."""
        for (call, number), visit, own in [(*item, [*item[1].seen]) for item in self._visits.items()]:
            around = self._around.get(call)
            while around is not None:
                outer = self._visits.setdefault((around, number), _Visit(visit.device))
                outer.seen += own
                around = self._around.get(around)
        with_others_inside = {(self._around.get(call), number) for call, number in self._visits}

        tracks = {"forward": self._forward}
        for flow, ((call, number), visit) in enumerate(sorted(self._visits.items(), key=itemgetter(0))):
            start, time = visit.start(self._began.get(call)), self._times.of(call, number)
            if call in self._calls and start is not None and time is not None:
                forward = self._calls[call]
                backward = _Span(forward.name, "backward", start, start + time, {"pass": number})
                tracks.setdefault(f"backward on {visit.device}", []).append(backward)
                if (call, number) not in with_others_inside:
                    forward.flows.append(("s", flow))
                    backward.flows.append(("f", flow))
        return tracks

    def _enter(self, event: Enter) -> None:
        self._now = max(self._now, event.start_ns)
        name, args = self._described(event.module)
        self._began[event.call] = event.sequence_nr
        self._add(_Span(name, self._category(event), event.start_ns, event.start_ns, args), event.call)
        self._open.append(event.call)

    def _leave(self, event: Leave) -> None:
        self._now = max(self._now, event.stop_ns)
        if event.call in self._open:
            depth = self._open.index(event.call)
            self._close(depth + 1)
            self._open.pop()
            self._calls[event.call].stop = event.stop_ns
            names = {"inputs": list(event.input_names), "outputs": list(event.output_names)}
            told = {what: known for what, known in names.items() if any(known)}
            self._calls[event.call].args |= _filled(arguments=event.arguments, **told, error=event.error)

    def _close(self, depth: int) -> None:
        """Calls that never returned end when something was seen last."""
        for call in self._open[depth:]:
            self._calls[call].stop = self._now
            self._calls[call].args["error"] = UNFINISHED
        del self._open[depth:]

    def _op(self, event: Op) -> None:
        self._now = max(self._now, event.stop_ns)
        if event.module is not None:
            name, args = self._described(event.module)
            args |= _filled(arguments=event.attributes, inputs=[name for name in event.input_names if name])
        else:
            name = event.op_type
            args = {"op_type": name, "target": event.target} | _filled(attributes=event.attributes)
        names = event.output_names or ("",) * len(event.outputs)
        outputs = [_in_words(output.meta, called) for output, called in zip(event.outputs, names)]
        args |= _filled(outputs=outputs, error=event.error, collective=self._collective(event.collective))
        if event.call is not None:
            self._began[event.call] = event.sequence_nr
        self._add(_Span(name, self._category(event), event.start_ns, event.stop_ns, args), event.call)

    def _collective(self, number: int | None) -> dict[str, Any]:
        """By what it is found in the other ranks: what is equal in all of them."""
        issued = None if number is None else self._issued.get(number)
        group = None if issued is None else self._groups.get(issued.group)
        if issued is None or group is None:
            return {}
        told = {"group": group.name, "ranks": group.ranks, "number": issued.number, "phase": issued.phase}
        return told if issued.peer is None else {**told, "peer": issued.peer}

    def _described(self, number: int) -> tuple[str, dict[str, Any]]:
        module = self._modules.get(number)
        if module is None:  # a file can say anything
            return f"module {number}", {}
        args = {"op_type": module.op_type, "target": module.target} | _filled(attributes=module.attributes)
        return module.fqn or module.op_type, args

    def _add(self, span: _Span, call: int | None) -> None:
        self._forward.append(span)
        if call is not None:
            if self._open and call not in self._calls:  # so that no call lies in itself, whatever a file says
                self._around[call] = self._open[-1]
            self._calls[call] = span

    def _category(self, event: Enter | Op) -> str:
        around = self._calls[self._open[-1]].category if self._open else "forward"
        return "recomputed" if event.recomputed else around

    def _grad(self, event: Grad) -> None:
        self._now = max(self._now, event.ns)
        device = next((meta.device for meta in event.gradients if meta is not None), "cpu")
        self._visits.setdefault((event.call, event.backward), _Visit(device)).seen.append((event.sequence_nr, event.ns))


class _Times:
    """How long each pass of backward took in each call, as the graph says it: of a call that several passes came to, as
    that of the recording with the one pass alone.
    """

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._read: dict[int | None, dict[int, tuple[int | None, int]]] = {}

    def of(self, call: int, number: int) -> int | None:
        """In nanoseconds; None if it is not known."""
        time, passes = self._with(None).get(call, (None, 1))
        return time if passes == 1 else self._with(number).get(call, (None, 1))[0]

    def _with(self, number: int | None) -> dict[int, tuple[int | None, int]]:
        if number not in self._read:
            kept = [e for e in self._stream if number is None or not isinstance(e, Grad) or e.backward == number]
            try:
                self._read[number] = dict(_times(kept, assemble(EventStream(kept, self._stream.header))))
            except StreamError:  # a file can say anything
                self._read[number] = {}
        return self._read[number]


def _times(events: Sequence[Event], graph: Graph) -> Iterator[tuple[int, tuple[int | None, int]]]:
    """Calls, with how long backward took in them, and in how many passes. The calls of a module, and all those of
    functions, stand in a graph in the order in which they began; what was computed again is none of them.
    """
    modules = {event.module: event.fqn for event in events if isinstance(event, Module)}
    of_name = Counter(modules.values())
    all_of_them: list[Node | Scope] = [*graph.nodes, *graph.scopes]
    places = {(place.fqn, place.call): place for place in all_of_them if place.fqn is not None}
    functions = iter([node for node in graph.nodes if node.kind == "function"])
    calls: Counter[int] = Counter()
    around: list[tuple[int, bool]] = []  # the calls in progress, and whether they compute something again
    for event in events:
        if isinstance(event, Leave):
            while around and around.pop()[0] != event.call:
                pass
        if not isinstance(event, Op) and not isinstance(event, Enter):
            continue
        if event.outermost:
            around.clear()
        again = event.recomputed or (bool(around) and around[-1][1])
        if isinstance(event, Enter):
            around.append((event.call, again))
        if again:
            continue
        place: Node | Scope | None = None
        if event.module is None:
            place = next(functions, None)
        else:
            if of_name[modules[event.module]] == 1:
                place = places.get((modules[event.module], calls[event.module]))
            calls[event.module] += 1
        if place is not None and event.call is not None and "backward" in place.meta:
            yield event.call, (place.backward_ns, place.meta["backward"]["passes"])


def _filled(**args: Any) -> dict[str, Any]:
    return {name: value for name, value in args.items() if value}


def _in_words(meta: TensorMeta, name: str) -> str:
    return f"{f'{name}: ' if name else ''}{meta.dtype}{list(meta.shape)} {meta.device}"


class _Lane:
    """A thread of the trace, on which spans lie in each other or one after another."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._open: list[_Span] = []

    def take(self, span: _Span) -> bool:
        """Put a span there, which starts no earlier than those before, if it fits."""
        self._close(span.start)
        if self._open and span.stop > self._open[-1].stop:
            return False
        span.stop = max(span.start, span.stop)
        start = span.start / 1000
        self.events.append({"ph": "B", "ts": start, "name": span.name, "cat": span.category, "args": span.args})
        for phase, flow in span.flows:
            bound = {"bp": "e"} if phase == "f" else {}
            self.events.append({"ph": phase, "ts": start, "name": "fwdbwd", "cat": "fwdbwd", "id": flow, **bound})
        self._open.append(span)
        return True

    def _close(self, now: float) -> None:
        while self._open and self._open[-1].stop <= now:
            span = self._open.pop()
            self.events.append({"ph": "E", "ts": span.stop / 1000, "name": span.name, "cat": span.category})

    def end(self) -> None:
        """End whatever is open."""
        self._close(float("inf"))


def _lanes(spans: list[_Span]) -> list[_Lane]:
    """The spans on as few threads as it takes, since a thread can show only what lies in each other."""
    lanes: list[_Lane] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.stop)):
        if not any(lane.take(span) for lane in lanes):
            lanes.append(_Lane())
            lanes[-1].take(span)
    for lane in lanes:
        lane.end()
    return lanes


@hookimpl
def recorder_register_commands(cli: "click.Group") -> None:
    """Add ``recorder trace``."""
    import click

    file = click.Path(exists=True, dir_okay=False, path_type=Path)

    @cli.command()
    @click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=file)
    @click.option("-o", "--output", type=click.File("w", "utf-8", atomic=True), required=True, metavar="FILE")
    def trace(sources: tuple[Path, ...], output: Any) -> None:
        """Write when everything in a recording (.jsonl) was, for ui.perfetto.dev or chrome://tracing.

        Several are those of the ranks of a job; each has a clock of its own.
        """
        json.dump(chrome_trace(*map(EventStream.load, sources)), output)
