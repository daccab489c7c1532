"""Errors that are raised in a run, where, and what a graph says of them."""

from collections.abc import Callable
from typing import Any

import torch
from support.models import Block, Net, linear, x
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recorder import Graph

__all__ = ["KINDS", "LONG", "SHORT", "Around", "Fault", "Mute", "Own", "calls", "errors", "small"]


# Kinds of exceptions: each is called to raise one, and gives the object beforehand if there is one


class Mute(Exception):
    """One whose message cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no message")


class Own(BaseException):
    """One that is no `Exception`, as those of test runners and of asynchronous libraries."""


def noted() -> Exception:
    error = ValueError("noted")
    error.add_note("while testing")
    return error


def caused() -> Exception:
    error = KeyError("caused")
    error.__cause__ = OSError("the cause")
    return error


KINDS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no", 3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(4),
    "RecursionError": lambda: RecursionError("maximum recursion depth exceeded"),
    "MemoryError": MemoryError,
    "group": lambda: BaseExceptionGroup("several", [ValueError(1), KeyboardInterrupt()]),
    "mute": Mute,
    "own": Own,
    "noted": noted,
    "caused": caused,
}
SHORT, LONG = torch.ones(2), torch.ones(3)


class Fault:
    """Raises at one place, once. ``kind`` is one of `KINDS`, or how else an exception comes about."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind, self.place, self.armed = kind, place, False
        self.error = KINDS[kind]() if kind in KINDS else None

    def __call__(self, place: str) -> None:
        if place != self.place or not self.armed:
            return
        self.armed = False
        if self.kind == "torch's own":
            SHORT @ LONG
        elif self.kind == "while another was handled":
            try:
                raise LookupError("the context")
            except LookupError:
                raise ValueError("in its handler")  # noqa: B904 - the point
        else:
            assert self.error is not None
            raise self.error


class Around(TorchFunctionMode):
    """A mode of the user's."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.sigmoid:
            self.fault("mode")
        return func(*args, **(kwargs or {}))


def errors(graph: Graph) -> dict[str, str]:
    """The calls of modules with an error, by name, in the second call of the net."""
    found = [(n.name, n.error) for n in graph.nodes if n.kind == "module"] + [(s.name, s.error) for s in graph.scopes]
    return {name.partition("#")[0]: error for name, error in found if error is not None}


def calls(graph: Graph) -> list[Any]:
    """What was called, where, and what it was given, however often the same was called before."""
    numbers = {id(value): i for i, value in enumerate(graph.values())}
    return [
        (n.op_type, n.fqn, [s.fqn for s in n.scope.ancestors()] if n.scope else [], [numbers[id(v)] for v in n.inputs])
        for n in graph.nodes
    ]


def small() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    block = Block(lambda block, x: block.fc(x).relu(), fc=linear())
    return Net(lambda net, x: net.head(net.block(x)), block=block, head=linear()), x()
