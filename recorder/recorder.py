"""`Recorder`, the context manager: what users touch. It begins and ends a session, and hands out what was seen."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import torch
from torch import nn

from recorder.assembly.assembler import assemble, assemble_with_origins
from recorder.autograd.reading import LatestReading, tie
from recorder.capture.backward_hooks import Gradients
from recorder.capture.compiled_models import original
from recorder.capture.describe import by_prefix
from recorder.capture.saved_tensors import CAN_LOOK
from recorder.capture.session import Session
from recorder.capture.value_hooks import Values
from recorder.errors import RecorderError
from recorder.events.store import InFile, InMemory, LastParts, Store
from recorder.events.stream import EventStream
from recorder.events.types import Header
from recorder.graph.core import Graph
from recorder.notebook import mimebundle, show
from recorder.plugins.exporting import export, save
from recorder.plugins.manager import installed
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
        net: the model. It is not kept alive by the recorder after the block. Several models may be given by name, as
            ``{"generator": g, "critic": d}``: then the names of their modules begin with these.
        more_modules: further models in the same recording, without a name of their own: their modules' names begin with
            their class's name.
        functions: record functions between the modules too. Without them a recording costs least; edges then come
            from tensors that go from module to module as they are and, where gradients are on, from autograd. An edge
            that cannot be known is left out.
        autograd: read the autograd graph while the run goes on, so that `autograd` has it when nothing is alive any
            more: whenever a backward begins, and when the block ends. Without functions: whenever a call from outside
            returns, and when the block ends.
        gradients: what to record of gradients. ``"calls"``: what arrives at and leaves each module call, as shapes and
            dtypes. ``"on"``: also at each function, and which parameters received one. ``"stats"``: also what is in
            them, and in what backward is called on, computed on their device and read once when the block ends: norm,
            largest magnitude, NaN, Inf, zeros. See `Graph.gradient_report`. ``"digest"``: also what
            `recorder.diverge` compares of them.
        stream: a file, as JSON Lines, into which the events are written while the run goes on, each time a call from
            outside has returned; they are not kept in memory. Whatever happens to the process, what the file holds can
            be read with ``EventStream.load``. A file that cannot be written is refused when the block begins, with a
            `StreamError`. What goes wrong with it later ends the recording with a warning, and never the run.
        every: record each so-many-th step alone, the first one included. A step is a call of the module that was called
            first, with what follows until its next one.
        keep: keep the last so many recorded steps alone, so that a recording of any length takes the same memory.
        source: say of each function where it was called: ``node.meta["source"]`` is ``"file:line"``, the innermost line
            that is not torch's. The paths of your files are in the recording then.
        values: ``"stats"`` records what is in every floating-point or complex tensor that a call made, computed on its
            device right after the call, and read once when the block ends: norm, largest magnitude, mean, NaN, Inf,
            zeros, as ``value.meta["stats"]``. See `Graph.value_report`. It waits for no device meanwhile.
        memory: record what autograd keeps for backward, by whom, and when storages come and go, without keeping any
            alive. Gradients are recorded as with ``"on"`` then. See `Graph.memory_report`.
            ``"digest"`` records the same, of integers and truth values, too, and as ``value.meta["digest"]`` what
            `recorder.diverge` compares: a fixed sample of the elements, a sketch of all of them, and a sum of all bits.

    Raises:
        TypeError: what is to be recorded is no ``nn.Module``, or a model's name is no text.
        RecorderError: ``memory`` is asked for, and this torch does not let one look at what autograd keeps.
        ValueError: no model is given, or there are models with and without names; ``gradients`` or ``values`` is none
            of these, ``every`` or ``keep`` is no positive number, or there are both ``stream`` and ``keep``: a file
            keeps everything.
    """

    def __init__(
        self,
        net: nn.Module | Mapping[str, nn.Module],
        *more_modules: nn.Module,
        functions: bool = True,
        autograd: bool = False,
        gradients: Gradients = "calls",
        stream: str | os.PathLike[str] | None = None,
        every: int = 1,
        keep: int | None = None,
        source: bool = False,
        values: Values | None = None,
        memory: bool = False,
    ) -> None:
        modules: Sequence[nn.Module] | Mapping[str, nn.Module]
        modules = net if isinstance(net, Mapping) and not more_modules else (net, *more_modules)  # type: ignore[arg-type]
        _check_modules(modules)
        _check(gradients, every, keep, stream, values)
        if memory and not CAN_LOOK:
            raise RecorderError(
                f"memory=True needs torch 2.10 or newer, and this is {torch.__version__}: before, autograd does not "
                "let one look at what it keeps"
            )
        store: Store = InMemory() if keep is None else LastParts(keep)
        if stream is not None:
            store = InFile(stream)
        roots = by_prefix(modules)
        kind = type(original(next(iter(roots.values()))))
        if memory and gradients == "calls":
            gradients = "on"
        meta: dict[str, Any] = {} if gradients == "calls" else {"gradients": gradients}
        meta |= {} if values is None else {"values": values}
        meta |= {"memory": True} if memory else {}
        meta |= {} if functions else {"functions": False}
        meta |= ({} if every == 1 else {"every": every}) | ({} if keep is None else {"keep": keep})
        self._functions = functions
        self._autograd = autograd
        self._reading = LatestReading()
        self._session = Session(
            roots,
            store,
            Header(torch=str(torch.__version__), model=f"{kind.__module__}.{kind.__qualname__}", meta=meta),
            functions=functions,
            gradients=gradients,
            every=every,
            source=source,
            values=values,
            memory=memory,
            read_autograd=self._reading.read if autograd else None,
        )
        self._graph: tuple[int, Graph] | None = None

    def __enter__(self) -> "Recorder":
        if self._session.recording:
            raise RecorderError("this Recorder is recording already: leave its block first, or make another Recorder")
        self._session.begin(lambda: installed().open_sinks(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        faults = self._session.end(error)
        if faults:
            warnings.warn(
                f"graph-recorder failed at {len(faults)} places of this recording, which are missing from it; the run "
                f"was not harmed. Please report the first one: {faults[0]}",
                RuntimeWarning,
                stacklevel=2,
            )
        for said in self._session.shortfalls.warnings():
            warnings.warn(said, RuntimeWarning, stacklevel=2)

    @property
    def events(self) -> EventStream:
        """Everything recorded so far. Usable inside the block, after it, and after an exception.

        With ``stream=`` it is read from the file.
        """
        return self._session.stream()

    @property
    def graph(self) -> Graph:
        """Everything recorded so far, assembled into one DAG."""
        self._session.catch_up()
        if self._graph is None or self._graph[0] != self._session.changes:
            graph = assemble(self.events)
            installed().annotate(graph)
            self._graph = (self._session.changes, graph)
        return self._graph[1]

    @property
    def graphs(self) -> Sequence[Graph]:
        """One graph for each outermost call of the model, with what followed it until the next."""
        graphs = [assemble(stream) for stream in self.events.split()]
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
        if self._session.recording or not self._autograd:
            self._reading.read(self._session.capture.known)
        reading = self._reading.reading
        if reading is None:
            advice = "Keep the loss or the output until you have asked for it, or use Recorder(net, autograd=True); "
            raise RecorderError(
                "there is no autograd graph to read: none of the recorded tensors that are alive has one, or had one "
                f"when a backward began. {'' if self._autograd else advice}record with gradients on"
            )
        return tie(reading, *assemble_with_origins(events), self._session.number, self._functions)

    def export(self, format: str, **options: Any) -> str | bytes:
        """The graph in one format; see `recorder.export`."""
        return export(self.graph, format, **options)

    def save(self, path: str | os.PathLike[str], format: str | None = None, **options: Any) -> Path:
        """Write the graph into a file, in the format that the suffix names; see `recorder.save`."""
        return save(self.graph, path, format, **options)

    def summary(
        self,
        depth: int | None = None,
        *,
        columns: Sequence[str] | str | None = None,
        functions: bool = False,
        fold: bool = False,
    ) -> Summary:
        """A table of the module calls with totals; ``str()`` of it is text. See `recorder.summary.Summary`.

        Args:
            depth: show calls down to this depth alone, 0 for the outermost; all if None.
            columns: their names in order, or ``"all"``: module, type, inputs, outputs, dtype, device, kernel, stride,
                groups, hyper_parameters, parameters, parameters_share, trainable, parameter_bytes, activation_bytes,
                saved_bytes, macs, flops, flops_backward, forward, backward, time_share, gradient, value_norm,
                value_largest, not_finite, zeros, repeats.
            functions: whether calls of functions have rows, too.
            fold: whether calls that repeat have one row, which says ``× 12``; totals count every one.
        """
        return Summary(self.graph, depth, columns=columns, functions=functions, fold=fold)

    def show(self, **options: Any) -> Path | None:
        """Show the graph: below the cell in a notebook, else as a page in your browser. Where there is no browser, it
        says where the page is.

        Args:
            options: what the format html takes; in a notebook, the page is opened in a browser then.

        Returns:
            The page's file; None in a notebook.
        """
        return show(self.graph, repr(self), options)

    def __repr__(self) -> str:
        state = "recording" if self._session.recording else "recorded"
        return f"<Recorder of {self._session.header.model}, {state}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """A notebook shows the graph of what was recorded so far."""
        return mimebundle(self.graph, repr(self))


def _check_modules(modules: Sequence[Any] | Mapping[Any, Any]) -> None:
    """Raise what `Recorder` says that it raises."""
    if isinstance(modules, Mapping):
        if not modules:
            raise ValueError('Recorder was given no model: name at least one, as in Recorder({"generator": g})')
        for name in modules:
            if not isinstance(name, str) or not name:
                raise TypeError(f"a model's name is text, and not {name!r}: Recorder({{'generator': g, 'critic': d}})")
    elif any(isinstance(module, Mapping) for module in modules):
        raise ValueError("name all models or none: Recorder({'generator': g, 'critic': d}), or Recorder(g, d)")
    for module in modules.values() if isinstance(modules, Mapping) else modules:
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"Recorder takes torch.nn.Module objects, and was given {type(module).__name__}: "
                "pass the model itself, before it is called"
            )


def _check(gradients: Any, every: Any, keep: Any, stream: str | os.PathLike[str] | None, values: Any) -> None:
    """The same of what is no model."""
    if values is not None and values not in get_args(Values):
        raise ValueError(f"values={values!r}: it is one of None, {', '.join(map(repr, get_args(Values)))}")
    if gradients not in get_args(Gradients):
        raise ValueError(f"gradients={gradients!r}: it is one of {', '.join(map(repr, get_args(Gradients)))}")
    for name, number in (("every", every), ("keep", keep)):
        if number is not None and (type(number) is not int or number < 1):
            raise ValueError(f"{name}={number!r}: it is a number of steps, 1 or more")
    if stream is not None and keep is not None:
        raise ValueError("stream= and keep= exclude each other: a file keeps everything that is recorded")
