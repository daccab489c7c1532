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

from recorder.assemble import assemble, assemble_with_origins
from recorder.backward import Gradients
from recorder.collector import collector_held_back
from recorder.compiled import Eagerly, original
from recorder.decode import Decoder
from recorder.describe import by_prefix, describe, describe_early
from recorder.errors import RecorderError
from recorder.events import Header
from recorder.export import export, save
from recorder.functional import unwatch, watch
from recorder.graph import Graph
from recorder.hooks import Capture
from recorder.hookspecs import Sink
from recorder.plugins import installed
from recorder.records import Log
from recorder.split import split
from recorder.stream import EventStream
from recorder.summary import Summary
from recorder.tie import Reading, read, tie

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
        autograd: read the autograd graph while the run goes on, so that `autograd` has it when nothing is alive any
            more: whenever a backward begins, and when the block ends. Without functions: whenever a call from outside
            returns, and when the block ends.
        gradients: what to record of gradients. ``"calls"``: what arrives at and leaves each module call, as shapes and
            dtypes. ``"on"``: which parameters received one, too. ``"stats"``: also what is in them, computed on their
            device and read once when the block ends: norm, largest magnitude, NaN, Inf, zeros. See
            `Graph.gradient_report`.

    Raises:
        TypeError: what is to be recorded is no ``nn.Module``.
        ValueError: ``gradients`` is none of these.
    """

    def __init__(
        self,
        net: nn.Module,
        *more_modules: nn.Module,
        functions: bool = True,
        autograd: bool = False,
        gradients: Gradients = "calls",
    ) -> None:
        for module in (net, *more_modules):
            if not isinstance(module, nn.Module):
                raise TypeError(
                    f"Recorder takes torch.nn.Module objects, and was given {type(module).__name__}: "
                    "pass the model itself, before it is called"
                )
        if gradients not in get_args(Gradients):
            raise ValueError(f"gradients={gradients!r}: it is one of {', '.join(map(repr, get_args(Gradients)))}")
        roots = by_prefix((net, *more_modules))
        before_backward = self._read_autograd if autograd else None
        self._capture = Capture(roots, functions, describe_early, gradients, before_backward)
        self._functions = functions
        self._autograd = autograd
        self._reading: Reading | None = None
        self._recording = False
        self._decoder: Decoder | None = None
        self._pending: list[Log] = []
        self._sinks: list[Sink] = []
        kind = type(original(net))
        self._stream = EventStream(
            header=Header(
                torch=str(torch.__version__),
                model=f"{kind.__module__}.{kind.__qualname__}",
                meta={} if gradients == "calls" else {"gradients": gradients},
            )
        )
        self._eagerly = Eagerly(self._stream.header.meta)
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
        self._eagerly.start()
        watch(self._capture.replaced)
        self._recording = True
        self._capture.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._capture.stop(error)
        unwatch(self._capture.replaced)
        self._eagerly.stop()
        self._recording = False
        if self._autograd:
            self._read_autograd()
        self._take()
        if self._sinks:
            self._decode()

    def _take(self) -> None:
        """Take what is new from the capture. Modules are described now: they may be gone when somebody asks."""
        capture = self._capture
        with torch._C.DisableTorchFunction():
            described = describe(capture.roots(), capture.met, capture.known)
        records = capture.log[:]
        del capture.log[: len(records)]
        capture.backward.read()
        capture.met.clear()
        self._pending += (described, records)

    def _decode(self) -> None:
        assert self._decoder is not None or not self._pending
        for log in self._pending:
            assert self._decoder is not None
            with collector_held_back():
                events = list(self._decoder.decode(log))
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

    @property
    def autograd(self) -> Graph:
        """The autograd graph that the recorded run built: each autograd node in the scope of the forward node that made
        it, whose name in `graph` is the autograd node's ``meta["forward"]``. Arrows point forward, as
        `recorder.autograd_graph` draws them; the outputs are the recorded tensors that no autograd node uses.

        It is read when it is asked for, from the recorded tensors that are alive, or while the run goes on, with
        ``Recorder(net, autograd=True)``. Of several graphs, as training steps make them, it is the last one that was
        whole, with those before it whose outputs are still alive then. An autograd node whose forward node cannot be
        known has no ``meta["forward"]``; without functions, that is every one but those of the modules' results.

        Raises:
            RecorderError: no recorded tensor with an autograd graph is alive, or ever was.
        """
        events = self.events
        if self._recording or not self._autograd:
            self._read_autograd()
        if self._reading is None or self._decoder is None:
            raise RecorderError(
                "there is no autograd graph to read: none of the recorded tensors that are alive has one. Keep the "
                "loss or the output until you have asked for it, or record with Recorder(net, autograd=True); and "
                "record with gradients on"
            )
        return tie(self._reading, *assemble_with_origins(events), self._decoder.number, self._functions)

    def _read_autograd(self) -> None:
        """What is left after a backward may be less than the graph that it began with: only a later one counts."""
        found = read(self._capture.known)
        if found is not None and (self._reading is None or found.latest > self._reading.latest):
            self._reading = found

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
