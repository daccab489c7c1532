"""What ties a graph to the run that it was recorded from."""

from typing import NamedTuple

from recorder.graph.core import Node, Value

__all__ = ["Origins"]


class Origins(NamedTuple):
    """What a graph does not say, since it differs from run to run: where autograd's numbers and the stream's tensors
    are in it.

    ``makers`` has, by the number of the autograd node that an output had, who made the output, and the type of the
    autograd node; nobody, where the output was met without having been seen made. ``values`` has the first value of
    each tensor.
    """

    makers: dict[int, tuple[Node | None, str | None]]
    values: dict[int, Value]
