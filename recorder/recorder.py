"""`Recorder`, the context manager: what users touch. It starts and stops the capture, and hands out what was seen."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, get_args

import torch
from torch import nn

from recorder.assemble import assemble
from recorder.backward import Gradients
from recorder.decode import Decoder
from recorder.describe import Described, Held, by_prefix, describe, describe_early
from recorder.errors import RecorderError
from recorder.events import Header
from recorder.export import export, save
from recorder.graph import Graph
from recorder.hooks import Capture
from recorder.hookspecs import Sink
from recorder.plugins import installed
from recorder.records import Record
from recorder.split import split
from recorder.stream import EventStream
from recorder.summary import Summary

__all__ = ["Recorder"]


class Recorder:
    """Records what modules do while the ``with`` block runs, and changes nothing about it.

        with Recorder(net) as r:
            loss = criterion(net(x), y)
            loss.backward()
        r.save("net.svg")

    What is recorded: every call of ``net`` or of a part of it, with all that happens inside; functions outside of such
    calls if they use a tensor that the recording knows (a loss does, a data loader does not); backward through all
    of it. Only the thread that entered the block is recorded.

    The same recorder may be entered again, and then goes on with the same recording. Recorders may be nested.

    Args:
        net: the model. It is not kept alive by the recorder after the block.
        more_modules: further models in the same recording, such as a discriminator beside a generator. Their modules'
            names begin with their class's name.
        functions: record functions between the modules too. Without them a recording costs least; edges then come
            from tensors that go from module to module as they are and, where gradients are on, from autograd. An edge
            that cannot be known is left out.
        gradients: what to record of gradients. ``"calls"``: what arrives at and leaves each module call, as shapes and
            dtypes. ``"on"``: which parameters received one, too. ``"stats"``: also what is in them, computed on their
            device and read once when the block ends: norm, largest magnitude, NaN, Inf, zeros. See
            `Graph.gradient_report`.

    Raises:
        TypeError: what is to be recorded is no ``nn.Module``.
        ValueError: ``gradients`` is none of these.
    """

    def __init__(
        self, net: nn.Module, *more_modules: nn.Module, functions: bool = True, gradients: Gradients = "calls"
    ) -> None:
        for module in (net, *more_modules):
            if not isinstance(module, nn.Module):
                raise TypeError(
                    f"Recorder takes torch.nn.Module objects, and was given {type(module).__name__}: "
                    "pass the model itself, before it is called"
                )
        if gradients not in get_args(Gradients):
            raise ValueError(f"gradients={gradients!r}: it is one of {', '.join(map(repr, get_args(Gradients)))}")
        self._capture = Capture(by_prefix((net, *more_modules)), functions, describe_early, gradients)
        self._recording = False
        self._decoder: Decoder | None = None
        self._pending: list[tuple[list[Described], list[Held], list[Record]]] = []
        self._sinks: list[Sink] = []
        kind = type(net)
        self._stream = EventStream(
            header=Header(
                torch=str(torch.__version__),
                model=f"{kind.__module__}.{kind.__qualname__}",
                meta={} if gradients == "calls" else {"gradients": gradients},
            )
        )
        self._graph: tuple[int, Graph] | None = None

    def __enter__(self) -> "Recorder":
        if self._recording:
            raise RecorderError("this Recorder is recording already: leave its block first, or make another Recorder")
        if self._decoder is None:
            self._stream.header = Header(
                torch=self._stream.header.torch,
                model=self._stream.header.model,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                meta=self._stream.header.meta,
            )
            self._decoder = Decoder(perf_counter_ns())
        self._sinks = installed().open_sinks(self)
        self._recording = True
        self._capture.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._capture.stop(error)
        self._recording = False
        self._take()
        if self._sinks:
            self._decode()

    def _take(self) -> None:
        """Take what is new from the capture. Modules are described now: they may be gone when somebody asks."""
        capture = self._capture
        with torch._C.DisableTorchFunction():
            described, held = describe(capture.roots(), capture.met, capture.known)
        records = capture.log[:]
        del capture.log[: len(records)]
        capture.backward.read()
        capture.met.clear()
        self._pending.append((described, held, records))

    def _decode(self) -> None:
        assert self._decoder is not None or not self._pending
        for described, held, records in self._pending:
            assert self._decoder is not None
            events = list(self._decoder.decode(described, held, records))
            self._stream.extend(events)
            for sink in self._sinks:
                for event in events:
                    sink(event)
        self._pending.clear()

    @property
    def events(self) -> EventStream:
        """Everything recorded so far. Usable inside the block, after it, and after an exception."""
        if self._recording:
            self._take()
        self._decode()
        return self._stream

    @property
    def graph(self) -> Graph:
        """Everything recorded so far, assembled into one DAG."""
        events = self.events
        if self._graph is None or self._graph[0] != len(events):
            graph = assemble(events)
            installed().annotate(graph)
            self._graph = (len(events), graph)
        return self._graph[1]

    @property
    def graphs(self) -> Sequence[Graph]:
        """One graph for each outermost call of the model, with what followed it until the next."""
        graphs = [assemble(stream) for stream in split(self.events)]
        for graph in graphs:
            installed().annotate(graph)
        return graphs

    def export(self, format: str, **options: Any) -> str | bytes:
        """The graph in one format; see `recorder.export`."""
        return export(self.graph, format, **options)

    def save(self, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> Path:
        """Write the graph into a file, in the format that the suffix names; see `recorder.save`."""
        return save(self.graph, path, format, **options)

    def summary(self, depth: int | None = None) -> Summary:
        """A table of the module calls; ``str()`` of it is text."""
        return Summary(self.graph, depth)

    def __repr__(self) -> str:
        state = "recording" if self._recording else "recorded"
        return f"<Recorder of {self._stream.header.model}, {state}>"
