"""Functions at which gradients are recorded, as at the calls of modules: only where the user asked for gradients.

What arrives at a function is seen at the autograd nodes that it made. One that hands its input on made none, as
``contiguous()`` and ``dropout`` in eval do. A tensor view that was written in place has a node that autograd makes up
when it is asked, by which not all comes that comes to the write, so there nothing is recorded.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor

from recorder.capture.backward_hooks import Backward, backward_id
from recorder.capture.function_mode import BACKWARD, Watching
from recorder.capture.raw_records import Log, call_record
from recorder.capture.tensor_facts import next_sequence, quietly, sequence_of, tensors_in
from recorder.capture.value_hooks import Measuring

__all__ = ["Graded", "GradedMeasuring"]


class Graded(Watching):
    """Records functions, and what comes to them and leaves them in backward."""

    def __init__(self, keys: Iterator[int], backward: Backward, *watching: Any) -> None:
        super().__init__(*watching)
        self._alone = False  # so that `_put` gets to see every call
        self._keys = keys
        self._backward = backward
        self._began = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in BACKWARD:
            self._starts(args, kwargs or {})
        self._began = next_sequence()
        return super().__torch_function__(func, types, args, kwargs)

    def record_opaque(self, func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        self._began = next_sequence()
        return super().record_opaque(func, args, kwargs, run)

    def begin(self, func: Any, args: Any) -> Log:
        self._began = next_sequence()
        return super().begin(func, args)

    def _put(self, args: Any, kwargs: Any, outputs: Iterable[Tensor], record: Log) -> None:
        super()._put(args, kwargs, outputs, record)
        if backward_id() != -1:  # what a checkpoint computes again is no call
            return
        began = self._began
        made: dict[int, Tensor] = {}
        for tensor in outputs:
            if not tensor.requires_grad or (node := tensor.grad_fn) is None:
                continue
            number = sequence_of(node)
            if number >= began and not (tensor._is_view() and _is_among(tensor, args, kwargs)):
                made.setdefault(number, tensor)
        if made:
            key = next(self._keys)
            for number, tensor in made.items():
                self._backward.watch(tensor, key, type(tensor.grad_fn), number, True, (args, kwargs))
            if not self._stack:
                self._backward.opens(made.values(), began)
            record[:0] = call_record(key, began)

    def _starts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Backward is called on what is given first."""
        try:
            with quietly():
                first = args[:1] or [kwargs[name] for name in ("tensors", "outputs") if name in kwargs]
                self._backward.starts([tensor for tensor in tensors_in(first) if tensor in self._known])
        except Exception as ours:
            self._failed(ours)


class GradedMeasuring(Graded, Measuring):
    """The same where what is in values is measured, too."""


def _is_among(tensor: Tensor, args: Any, kwargs: Any) -> bool:
    return any(tensor is given for given in (*tensors_in(args), *tensors_in(kwargs)))
