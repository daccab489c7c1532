"""Where a graph begins and ends: what its outermost calls were given and returned, under the names of the calls."""

from collections.abc import Iterable, Sequence
from itertools import chain

from recorder.graph.core import Node, Scope, Value
from recorder.graph.names import Namespace, unlike_output

__all__ = ["Ends", "names_for"]


def names_for(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """A name for each of so many; none where they were not recorded."""
    return names if len(names) == count else ("",) * count


class Ends:
    """Collects them, call by call.

    Attributes:
        inputs: by their `id`, each once.
        input_names: likewise, where a call has told one.
        outputs: in the order of the calls; what is returned twice stands twice.
        output_names: a name for each output.
    """

    def __init__(self) -> None:
        self.inputs: dict[int, Value] = {}
        self.input_names: dict[int, str] = {}
        self.outputs: list[Value] = []
        self.output_names: list[str] = []

    def given(self, values: Iterable[Value], names: Sequence[str] = ()) -> None:
        """An outermost call was given these. Of tensors that were not seen made, it is where they come from."""
        for number, value in enumerate(values):
            if value.producer is None and value.role == "constant":
                value.role = "input"
            if value.role == "input":
                self.inputs.setdefault(id(value), value)
                if number < len(names):
                    self.input_names.setdefault(id(value), names[number])

    def returned(self, values: Sequence[Value], names: tuple[str, ...]) -> None:
        """An outermost call returned these."""
        self.outputs += values
        self.output_names += names_for(names, len(values))

    def name_values(self, namespace: Namespace, nodes: Sequence[Node], scopes: Sequence[Scope]) -> None:
        """Name what has no name yet: inputs as their calls name them; then what was not seen made, in the order of its
        first use, and what a call was only given, or only returned.
        """
        for key, value in self.inputs.items():
            value.name = namespace.unique(unlike_output(self.input_names.get(key) or "input"))
        used = (v for node in nodes for v in node.inputs)
        told = (v for scope in scopes for v in (*scope.inputs, *scope.outputs))
        for value in chain(used, self.outputs, told):
            if not value.name:
                value.name = namespace.unique(value.role)
