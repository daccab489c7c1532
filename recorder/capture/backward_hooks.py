"""What happens in backward: hooks on autograd nodes, and on parameters if asked.

Hooks on autograd nodes add nothing to the autograd graph. They are put on when a backward begins that comes to the
nodes (see `recorder.capture.backward_begins` and `recorder.capture.awaited_nodes`), and stay for later ones. What an
outermost call returned has one at once, for a backward of which Python does not tell, or that another thread runs.

Hooks on parameters are called when a gradient has been
accumulated, which `torch.autograd.grad` does not do. They cost about 3 µs a parameter to install and 2 µs a gradient,
so they are there only where the user asked for gradients.

Nothing here keeps a tensor, an autograd node or a module alive.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from threading import get_ident
from time import perf_counter_ns as clock
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from recorder.capture.awaited_nodes import AwaitedNodes, Task
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.raw_records import END, GRAD, Log, Phase, begun_record, parameter_record
from recorder.capture.tensor_facts import (
    Facts,
    Reference,
    facts,
    facts_of_gradient,
    next_sequence,
    quietly,
    sequence_of,
)
from recorder.capture.tensor_stats import Measures
from recorder.capture.views_of_outputs import FOLDED, VIEWS, OutputViews
from recorder.gc_pause import collector_held_back

if TYPE_CHECKING:
    from recorder.capture.memory_hooks import MemoryHooks

__all__ = ["Backward", "Gradients", "backward_hooks"]

Gradients = Literal["calls", "on", "stats", "digest"]
"""What is recorded of gradients: those at module calls; of functions and parameters, too; what is in them; and what two
recordings compare of them.
"""

backward_id: Callable[[], int] = torch._C._current_graph_task_id  # -1 outside of backward

_BEGINS_UNSEEN = "has_torch_function" not in torch.autograd.backward.__code__.co_names
"""Whether no function mode sees `torch.autograd.backward` called: so below torch 2.11."""

_CROWD = 10_000
"""So many autograd nodes are awaited or hooked before those of dead graphs are looked for."""

_present: Callable[[], Any] = torch._C._current_autograd_node
"""The autograd node that backward is at."""


def backward_hooks(begun: Callable[[], None] | None, *watching: Any) -> "Backward":
    """A `Backward` that is given ``watching``. It calls ``begun`` where the mode that should do so is not asked."""
    return _Announcing(begun, *watching) if begun is not None and _BEGINS_UNSEEN else Backward(*watching)


class Backward:
    """The hooks of one recording that are called in backward.

    Args:
        append: appends a record.
        known: the tensors that the recording knows.
        gradients: how much to record.
        failed: is told an error of our own, which must not be the user's.

    Attributes:
        memory: what watches memory, if that is wanted.
        marked: parameters that were made known, and that no record has told of so far, with what is to be said of them.
    """

    def __init__(
        self,
        append: Callable[[Iterable[Any]], None],
        known: KnownTensors,
        gradients: Gradients,
        failed: Callable[[Exception], None],
    ) -> None:
        self._views = OutputViews()
        self._append = append
        self._known = known
        self._failed = failed
        self._of_parameters = gradients != "calls"
        measured = gradients in ("stats", "digest")
        self._measures = Measures(digest=gradients == "digest") if measured else None
        self._awaited = AwaitedNodes()
        self._await = self._awaited.fresh.extend
        self._alone = True
        self._ways_in: list[tuple[int, int, Any]] = []
        self._handles: list[Any] = []
        self._crowded = _CROWD
        self._on_parameters: list[Any] = []
        self._watched: dict[int, Reference] = {}
        self.memory: MemoryHooks | None = None
        self.marked: list[tuple[Reference, Facts]] = []
        self._owner = 0
        self._passes: set[int] = set()

    # Where gradients are looked at

    def watch(self, output: Tensor, key: int, kind: type, sequence: int, leave: bool, given: Any = ()) -> None:
        """Record what reaches, and if asked what leaves, the autograd node of a call's output, which is of a ``kind``
        and has the number ``sequence``. ``given``: what the call was given, of which it made the output, where it is
        seen as a whole.
        """
        number, shape, origin = sequence, None, None
        if kind in VIEWS:  # which may be written: see `recorder.capture.views_of_outputs`
            origin = self._views.origin(output, given) if leave else None
            if origin is not None:  # the view takes no time: what comes to the one comes to the other
                number, kind, shape = sequence_of(origin), type(origin), output.shape
            else:
                self._views.add(output, key)
        task = number, kind, key, leave, shape, sequence
        if self._alone:
            self._await(task)
        else:
            self._hook(output.grad_fn if origin is None else origin, [task])

    def opens(self, outputs: Iterable[Tensor], began: int) -> None:
        """An outermost call returned these: by them a backward comes in that is not seen to begin. ``began`` is the
        number of the first autograd node that it may have made.
        """
        nodes = {node for tensor in outputs if tensor.requires_grad and (node := tensor.grad_fn) is not None}
        for node in nodes:
            handle = node.register_prehook(self._comes_in)
            self._handles.append(handle)
            self._ways_in.append((began, next_sequence(), handle))

    def begins(self, outputs: Iterable[Any]) -> None:
        """A backward begins at these tensors and gradient edges."""
        if not self._awaited:
            return
        try:
            with quietly(), collector_held_back():
                nodes = [o.grad_fn if isinstance(o, Tensor) else o[0] for o in outputs]
                self._meet([node for node in nodes if node is not None])
        except Exception as ours:
            self._failed(ours)

    def not_alone(self) -> None:
        """Another thread computes, too, and numbers its autograd nodes likewise: from here on, none is awaited."""
        self._alone = False

    def _comes_in(self, gradients: tuple[Tensor | None, ...]) -> None:
        """A backward has come to what an outermost call returned."""
        if not self._awaited:
            return
        try:
            here = _present()
            for task in self._meet([here]).get(here, ()):  # this pass does not call what is put on now
                self._record(task[2], "arrive", task[4], task[5], gradients)
        except Exception as ours:
            self._failed(ours)

    def _meet(self, roots: list[Any]) -> dict[Any, list[Task]]:
        """Hook the nodes that were awaited and can be reached. Returns them."""
        found = self._awaited.reached(roots)
        for node, tasks in found:
            for handles in self._hook(node, tasks):
                if handles and len(handles[0].hooks_dict_ref()) > len(handles):
                    _put_first(handles)
        return dict(found)

    def _hook(self, node: Any, tasks: list[Task]) -> tuple[list[Any], list[Any]]:
        """Put hooks on a node, behind those that it has. Returns their handles: where gradients arrive and leave."""
        arrives = [
            node.register_prehook(partial(self._record, key, "arrive", shape, sequence))
            for _, _, key, _, shape, sequence in tasks
        ]
        leaving = [task[2] for task in tasks if task[3]]
        if leaving and type(node) is FOLDED:  # a matrix product is below it, of which this is only the shape
            node = node.next_functions[0][0]
        number = sequence_of(node)
        leaves = [node.register_hook(partial(self._record, key, "leave", None, number)) for key in leaving]
        self._handles += arrives
        self._handles += leaves
        return arrives, leaves

    def starts(self, tensors: Iterable[Tensor]) -> None:
        """Backward is called on these: measure what is in them, if that is done."""
        if self._measures is not None:
            for tensor in tensors:
                said = facts(tensor)
                self._append(begun_record(self._known.mark(tensor), said, self._measures.measure(tensor)))

    def written(self, tensor: Tensor, said: Facts) -> None:
        """A view was written: record what reaches the calls that returned what was there before."""
        node, calls = self._views.written(tensor, said)
        for key, shape in calls:
            self._handles.append(node.register_hook(partial(self._handed_on, key, shape)))

    def _handed_on(self, key: int, shape: Any, gradients: tuple[Tensor | None, ...], *_: Any) -> None:
        self._record(key, "arrive", shape, None, gradients[:1])

    def watch_parameters(self, roots: Mapping[str, nn.Module]) -> None:
        """Record, if asked, what is accumulated in the parameters; those that are watched already cost little."""
        if not self._of_parameters:
            return
        self._owner = get_ident()
        with quietly():
            for parameter in (p for root in roots.values() for p in root.parameters()):
                watched = self._watched.get(id(parameter))
                if (watched is not None and watched() is parameter) or not (
                    parameter.requires_grad and parameter.is_leaf
                ):
                    continue
                reference = self._watched[id(parameter)] = self._known.mark(parameter)
                self.marked.append((reference, facts(parameter)))
                handle = cast(Any, parameter).register_post_accumulate_grad_hook(partial(self._accumulated, reference))
                self._on_parameters.append(handle)
                _put_first([handle])  # one of the user's may be an optimizer's step that sets the gradient to None

    @property
    def watching(self) -> bool:
        """Whether there is anything that a backward could reach."""
        return bool(self._handles or self._awaited)

    @property
    def crowded(self) -> bool:
        """Whether it is time to `tidy`."""
        return len(self._handles) + len(self._awaited) > self._crowded

    def tidy(self) -> None:
        """Forget the hooks on graphs that are gone, as of earlier training steps, and the nodes of these. A graph lives
        by what its outermost call returned, whoever has that, or by a tensor that is known.
        """
        self._handles = [handle for handle in self._handles if handle.hooks_dict_ref() is not None]
        self._ways_in = [way for way in self._ways_in if way[2].hooks_dict_ref() is not None]
        with quietly():
            self._meet([node for tensor in self._known.alive() if (node := tensor.grad_fn) is not None])
        spans = sorted({(began, end) for began, end, _ in self._ways_in})
        self._awaited.forget(lambda number: _is_within(number, spans))
        self._passes.clear()
        self._crowded = max(_CROWD, 2 * (len(self._handles) + len(self._awaited)))

    def unwatch_parameters(self) -> None:
        """Record no longer what is accumulated in parameters, until `watch_parameters`."""
        for handle in self._on_parameters:
            handle.remove()
        self._on_parameters = []
        self._watched.clear()

    def stop(self) -> None:
        """Remove every hook."""
        self.unwatch_parameters()
        for handle in self._handles:
            handle.remove()
        self._handles, self._ways_in = [], []
        self._awaited.forget(lambda _: False)

    def read(self) -> None:
        """Fetch from the devices what was measured so far. This waits for them; nothing else here does."""
        if self._measures is not None:
            self._measures.read()

    def _record(
        self,
        key: int,
        phase: Phase,
        shape: Any,
        sequence: int | None,
        gradients: tuple[Tensor | None, ...],
        *_: Any,
    ) -> None:
        now = clock()
        try:
            backward = backward_id()
            if self._of_parameters:
                self._passes.add(backward)
            with quietly():
                record: Log = [GRAD, key, phase, now, backward, sequence]  # `grad_record`, which would be a call more
                for gradient in gradients:
                    if gradient is None:
                        record.append(None)
                    else:
                        said = facts_of_gradient(gradient)
                        record += said if shape is None else (shape, *said[1:])
                record.append(END)
                if self._measures is not None:
                    record += [self._measures.measure(gradient) for gradient in gradients]
                record.append(END)
                self._append(record)
                if self.memory is not None:
                    self.memory.gradients(gradients)
        except Exception as ours:
            self._failed(ours)

    def _accumulated(self, reference: Reference, parameter: Tensor) -> None:
        now = clock()
        try:
            backward = backward_id()
            with quietly():
                # Another thread that trains the same model calls this too. On a CPU, backward runs in the thread that
                # began it: one from elsewhere is ours if it went through a call of ours. On a device, torch has threads
                # of its own.
                if get_ident() != self._owner and parameter.device.type == "cpu" and backward not in self._passes:
                    return
                gradient = parameter.grad
                measured = None if self._measures is None else self._measures.measure(gradient)
                said = (None,) if gradient is None else facts_of_gradient(gradient)
                self._append(parameter_record(reference, now, backward, measured, said))
                if self.memory is not None:
                    self.memory.accumulated(parameter)
        except Exception as ours:
            self._failed(ours)


class _Announcing(Backward):
    """The same, which calls ``begun`` once in each backward, before all else that its hooks do: the tensors that it
    began at are alive then, and nothing of the graph is gone.
    """

    def __init__(self, begun: Callable[[], None], *watching: Any) -> None:
        super().__init__(*watching)
        self._begun = begun
        self._announced = -1

    def _record(self, *told: Any) -> None:
        if self._announced != (backward := backward_id()):
            self._announced = backward
            try:
                self._begun()
            except Exception as ours:
                self._failed(ours)
        super()._record(*told)


def _put_first(handles: list[Any]) -> None:
    """Have torch call these hooks of one node or tensor, the last ones that it was given, before all others: one of the
    user's may change what ours are to see. torch calls them in the order in which they came into the dict, whatever
    `OrderedDict.move_to_end` says.
    """
    hooks = handles[0].hooks_dict_ref()
    ours = {handle.id for handle in handles}
    for key in [key for key in hooks if key not in ours]:
        hooks[key] = hooks.pop(key)


def _is_within(number: int, spans: list[tuple[int, int]]) -> bool:
    """Whether a number is in one of these sorted stretches."""
    at = bisect_right(spans, number, key=itemgetter(0))
    return at > 0 and number < spans[at - 1][1]
