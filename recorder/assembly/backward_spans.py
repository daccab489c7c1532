"""When backward was done with a call, worked out from autograd's own numbers.

On one thread, autograd runs the nodes that are ready in descending order of their sequence numbers. Whoever uses what a
node made was made later, so among the nodes that are left the one with the highest number is always ready: backward is
forward, node by node, from the end to the beginning. So what backward does of a call is one stretch of it. It is over
when the node is done that the call made first, or when the one begins that was made right before the call.

Nodes are seen only where there are hooks. If there is one at neither of the two, or if times contradict (every device
has a thread of its own), nobody knows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from recorder.events.types import Grad

__all__ = ["Called", "Spans"]

_LINEAR = "torch.nn.modules.linear.Linear"
_BESIDE_PRODUCT = 2
"""So many nodes a linear layer makes before its matrix product, all of them views, which take no time."""


@dataclass(slots=True)
class Called:
    """A call. ``began`` is the number of the first autograd node that it made, if it made any; None if that was not
    recorded. ``seen`` has the number of an autograd node and the time for each event, by pass.
    """

    began: int | None
    target: str
    seen: dict[int, list[tuple[int | None, int]]] = field(default_factory=dict)


class Spans:
    """The stretches of all passes.

    Args:
        calls: those that backward reached, by number.
    """

    def __init__(self, calls: Mapping[int, Called]) -> None:
        self._calls = calls
        self._begun: dict[tuple[int, int], int] = {}  # when a node began, by pass and number
        self._done: dict[tuple[int, int], tuple[int, int]] = {}  # when the first node of a call was done, and the call
        self.several: set[int] = set()

    def see(self, event: Grad) -> None:
        """Backward came to a node, or is done with it."""
        call, number = self._calls[event.call], event.sequence_nr
        call.seen.setdefault(event.backward, []).append((number, event.ns))
        if number is None:
            return
        if event.phase == "arrive":
            self._begun.setdefault((event.backward, number), event.ns)
        elif call.began is not None:
            first = number == call.began or (
                call.target == _LINEAR and call.began < number <= call.began + _BESIDE_PRODUCT
            )
            if first:
                self._done.setdefault((event.backward, call.began), (event.ns, event.call))
            elif number > call.began:
                self.several.add(event.call)

    def came(self, call: int, backward: int) -> bool:
        """Whether backward was seen to come to what a call returned."""
        return call in self._calls and backward in self._calls[call].seen

    def handed_on(self, call: int, backward: int) -> bool:
        """Whether a call made nothing of what backward came to: it returned what it was given."""
        called = self._calls[call]
        return called.began is not None and all(
            number is not None and number < called.began for number, _ in called.seen[backward]
        )

    def left_by(self, call: int, backward: int) -> int | None:
        """The call in it, or itself, whose autograd node was the last one of it in backward."""
        began = self._calls[call].began
        done = None if began is None else self._done.get((backward, began))
        return None if done is None else done[1]

    def time(self, call: int, backward: int, inside: Iterable[int]) -> int | None:
        """How long it took, in nanoseconds, from the arrival of the first gradient of what it returned until
        backward was done with it; None if that is not known. ``inside``: the calls in it that the same pass reached.
        """
        called = self._calls.get(call)
        if called is None or called.began is None or backward not in called.seen:
            return None
        inner = [one for number in inside for one in self._calls[number].seen[backward]]
        own = [ns for number, ns in inner if number is None or number >= called.began]
        if self.handed_on(call, backward):
            return None if own else 0
        mine = [ns for number, ns in called.seen[backward] if number is None or number >= called.began]
        done = self._done.get((backward, called.began))
        end = self._begun.get((backward, called.began - 1)) if done is None else done[0]
        if end is None or end < max(mine + own):
            return None
        return end - min(mine + own)
