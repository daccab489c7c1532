"""`StreamBuilder`: event streams written by hand, for tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from recorder.events.stream import EventStream
from recorder.events.types import Enter, Event, Header, Leave, Member, Module, Op, Output, Tensor, TensorMeta

__all__ = ["OpenCall", "StreamBuilder"]


class StreamBuilder:
    """Writes a stream event by event, keeping numbers and times (one microsecond an event) by itself.

    Examples:
        >>> from recorder import assemble
        >>> build = StreamBuilder("Net")
        >>> x = build.tensor((1, 3))
        >>> with build.call("", "Net", inputs=[x]) as call:
        ...     call.outputs = [build.op("fc", "Linear", [x], (1, 2), weight=(2, 3))]
        >>> [node.name for node in assemble(build.stream).nodes]
        ['fc']
    """

    def __init__(self, model: str = "Net") -> None:
        self.stream = EventStream(header=Header(model=model))
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._storages: dict[int, int] = {}  # of views, the tensor whose memory they show
        self._modules: dict[str, int] = {}
        self._calls = 0
        self._depth = 0
        self._now = 0

    def tensor(self, shape: Sequence[int], *, name: str | None = None, dtype: str = "float32") -> int:
        """A tensor from outside; with a ``name`` it is a parameter. Returns its number."""
        number = self._number(shape)
        meta = TensorMeta(tuple(shape), dtype, "cpu", requires_grad=name is not None, storage=number)
        self.stream.append(Tensor(number, meta, "constant" if name is None else "parameter", name))
        return number

    def module(
        self,
        fqn: str,
        op_type: str,
        *,
        leaf: bool = False,
        attributes: dict[str, Any] | None = None,
        **members: Sequence[int],
    ) -> int:
        """Describe a module once: its hyper-parameters, and its parameters as ``name=shape``. Returns its number."""
        if fqn not in self._modules:
            number = self._modules[fqn] = len(self._modules)
            prefix = f"{fqn}." if fqn else ""
            own = tuple(Member(name, self.tensor(shape, name=prefix + name)) for name, shape in members.items())
            target = f"torch.nn.{op_type}" if leaf else f"models.{op_type}"
            self.stream.append(
                Module(number, fqn, op_type, target, leaf, root=fqn == "", attributes=attributes or {}, parameters=own)
            )
        return self._modules[fqn]

    def op(
        self,
        fqn: str | None,
        op_type: str,
        inputs: Sequence[int],
        *shapes: Sequence[int],
        error: str | None = None,
        attributes: dict[str, Any] | None = None,
        **members: Sequence[int],
    ) -> int:
        """A finished call with one output for each shape: of the leaf module ``fqn``, or of a function if it is None.
        ``attributes`` are the module's hyper-parameters or the function's arguments. Returns the number of the first
        output (-1 if there is none).
        """
        module = None
        if fqn is not None:
            module, attributes = self.module(fqn, op_type, leaf=True, attributes=attributes, **members), None
        start = self._tick()
        grad_fn = f"{op_type.title()}Backward0"
        outputs = tuple(
            Output(number, TensorMeta(tuple(shape), "float32", "cpu", True, grad_fn, None, number))
            for shape in shapes
            for number in [self._number(shape)]
        )
        self.stream.append(
            Op(
                op_type,
                start,
                self._tick(),
                target="" if fqn is not None else f"torch.{op_type}",
                module=module,
                call=None if module is None else self._call(),
                inputs=tuple(inputs),
                outputs=outputs,
                error=error,
                attributes=attributes or {},
            )
        )
        return outputs[0].tensor if outputs else -1

    def view(self, op_type: str, tensor: int, shape: Sequence[int]) -> int:
        """A function that returns a view of ``tensor``: the two share memory. Returns the view's number."""
        number = self._number(shape)
        storage = self._storages[number] = self._storages.get(tensor, tensor)
        self._method(op_type, (tensor,), number, TensorMeta(tuple(shape), "float32", "cpu", storage=storage))
        return number

    def write(self, op_type: str, tensor: int, inputs: Sequence[int] = ()) -> int:
        """A function that writes ``tensor`` in place. Returns the tensor's number again."""
        storage = self._storages.get(tensor, tensor)
        meta = TensorMeta(self._shapes[tensor], "float32", "cpu", storage=storage)
        self._method(op_type, (tensor, *inputs), tensor, meta, writes=(tensor,))
        return tensor

    def _method(
        self, op_type: str, inputs: tuple[int, ...], made: int, meta: TensorMeta, writes: tuple[int, ...] = ()
    ) -> None:
        """A method of a tensor, which returned one."""
        target, outputs = f"torch.Tensor.{op_type}", (Output(made, meta),)
        times = self._tick(), self._tick()
        self.stream.append(Op(op_type, *times, target=target, inputs=inputs, outputs=outputs, writes=writes))

    @contextmanager
    def call(self, fqn: str, op_type: str, inputs: Sequence[int] = ()) -> "Iterator[OpenCall]":
        """A call of a module that may hold others. Set ``outputs`` (and ``error``) on what this gives you."""
        module = self.module(fqn, op_type)
        open_call = OpenCall()
        number = self._call()
        self.stream.append(Enter(number, module, self._tick(), tuple(inputs), outermost=self._depth == 0))
        self._depth += 1
        yield open_call
        self._depth -= 1
        self.stream.append(Leave(number, self._tick(), tuple(inputs), tuple(open_call.outputs), open_call.error))

    def append(self, event: Event) -> None:
        """Any event of your own making."""
        self.stream.append(event)

    def _number(self, shape: Sequence[int]) -> int:
        number = len(self._shapes)
        self._shapes[number] = tuple(shape)
        return number

    def _call(self) -> int:
        self._calls += 1
        return self._calls - 1

    def _tick(self) -> int:
        self._now += 1000
        return self._now


class OpenCall:
    """What a call in progress is going to return."""

    def __init__(self) -> None:
        self.outputs: Sequence[int] = ()
        self.error: str | None = None
