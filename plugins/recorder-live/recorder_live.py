"""Follow a recording while it goes on: its events in the log, in a queue, or wherever a function of yours puts them.

Nobody follows until somebody asks: `follow` for the events themselves, or the level of the logger ``recorder_live`` for
a line each.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from recorder import Sink, hookimpl
from recorder.events import Enter, Event, Grad, Leave, Module, Op, ParameterGrad, Tensor, TensorMeta

__all__ = ["follow"]

LOGGER = logging.getLogger(__name__)

REMEMBERED = 100_000
"""So many calls are known by name when backward reaches them, the last ones, so that a run may last for ever."""

_followers: ContextVar[tuple[Sink, ...]] = ContextVar("recorder_live", default=())


@contextmanager
def follow(sink: Sink) -> Iterator[None]:
    """Hand the events of every `Recorder` that is entered inside this block to ``sink``, one by one, in order.

    Args:
        sink: called in the thread that is recorded, each time a call of the model from outside has returned, and when
            the recorder's block ends. If it raises, there is a warning, and that recording is followed no further.
    """
    token = _followers.set((*_followers.get(), sink))
    try:
        yield
    finally:
        _followers.reset(token)


@hookimpl
def recorder_open_sink() -> Sink | None:
    """Whoever follows at this moment."""
    followers = _followers.get()
    if LOGGER.isEnabledFor(logging.INFO):
        followers = (*followers, _Log())

    def sink(event: Event) -> None:
        for follower in followers:
            follower(event)

    return sink if followers else None


class _Log:
    """Writes the log: outermost calls at the level INFO, whatever is inside and backward at DEBUG, errors at WARNING.
    A log record's ``event`` is the event itself.
    """

    def __init__(self) -> None:
        self._modules: dict[int, Module] = {}
        self._parameters: dict[int, str] = {}
        self._calls: dict[int, tuple[str, int, bool]] = {}  # name, start, outermost

    def __call__(self, event: Event) -> None:
        level, error = logging.DEBUG, None
        match event:
            case Module():
                self._modules[event.module] = event
                return
            case Tensor(name=str(name)):
                self._parameters[event.tensor] = name
                return
            case Enter():
                name = self._remember(event.call, self._name(event.module), event.start_ns, event.outermost)
                text = f"{name} …"
            case Leave() if event.call in self._calls:
                name, start, outermost = self._calls[event.call]
                level, error = logging.INFO if outermost else level, event.error
                text = f"{name} took {_milliseconds(event.stop_ns - start)}"
            case Op():
                name = event.op_type if event.module is None else self._name(event.module)
                if event.call is not None:
                    self._remember(event.call, name, event.start_ns, event.outermost)
                level, error = logging.INFO if event.outermost else level, event.error
                made = ", ".join(_in_words(output.meta) for output in event.outputs)
                text = f"{name} took {_milliseconds(event.stop_ns - event.start_ns)}{made and f', made {made}'}"
            case Grad() if event.call in self._calls:
                text = f"backward {'reached' if event.phase == 'arrive' else 'left'} {self._calls[event.call][0]}"
            case ParameterGrad() if event.tensor in self._parameters:
                text = f"{self._parameters[event.tensor]} received a gradient"
            case _:
                return
        if error is not None:
            level, text = logging.WARNING, f"{text}, and failed: {error}"
        LOGGER.log(level, "%s", _in_one_line(text), extra={"event": event})

    def _remember(self, call: int, name: str, start: int, outermost: bool) -> str:
        self._calls[call] = name, start, outermost
        if len(self._calls) > REMEMBERED:
            del self._calls[next(iter(self._calls))]
        return name

    def _name(self, number: int) -> str:
        module = self._modules[number]
        return f"{module.fqn} ({module.op_type})" if module.fqn else module.op_type


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.2f} ms"


def _in_words(meta: TensorMeta) -> str:
    return f"{meta.dtype}{list(meta.shape)}"


def _in_one_line(text: str) -> str:
    """Names come from models, and a terminal obeys what it reads."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
