"""Module calls in progress, and what a call is named."""

from dataclasses import dataclass, field

from recorder.assembly.tensor_versions import State
from recorder.events.types import Enter, Module
from recorder.graph.core import Scope

__all__ = ["OpenCall", "call_name"]


@dataclass(slots=True, eq=False)
class OpenCall:
    """A module call in progress. ``begin`` counts the nodes before it. ``handed_on`` keeps the states of tensors that a
    call inside returned as they were given: to the caller, who uses the same object, nothing has happened to it.
    ``unseen`` counts the tensors that were computed in it where the recording could not look.
    """

    event: Enter
    module: Module
    parent: "OpenCall | None"
    ignored: bool
    depth: int
    begin: int
    scope: Scope | None = None
    handed_on: dict[int, State] = field(default_factory=dict)
    unseen: int = 0

    @staticmethod
    def count_unseen(call: "OpenCall | None") -> None:
        """One more was computed so in a call, if there is one."""
        if call is not None:
            call.unseen += 1


def call_name(module: Module, call: int) -> str:
    """``layer1.0``, and ``layer1.0#2`` of its third call; the root's is named after its class."""
    name = module.fqn or module.op_type
    return f"{name}#{call}" if call else name
