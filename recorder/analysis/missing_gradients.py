"""Why a parameter received no gradient."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from recorder.analysis.gradient_places import told_of
from recorder.graph.core import Graph, Node, Value

__all__ = ["MissingGradient", "missing_gradients"]

_DETACHES = frozenset({"detach", "detach_", "data", "item", "tolist", "numpy"})


@dataclass(frozen=True)
class MissingGradient:
    """A parameter that received no gradient. ``where`` is the node that ``reason`` is about, if there is one."""

    parameter: str
    reason: str
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.parameter}: {self.reason}"


def missing_gradients(
    graph: Graph, parameters: Sequence[Value], recorded: bool
) -> tuple[tuple[MissingGradient, ...], list[str]]:
    """The parameters without a gradient, and the names of those of which that is not known. ``recorded`` says that
    gradients of parameters were.
    """
    detached = _Ends(graph.nodes, lambda node: node.op_type in _DETACHES)
    lost = _Ends(graph.nodes, lambda node: any(v.requires_grad for v in node.inputs))
    functions = any(node.kind == "function" for node in graph.nodes)
    missing: list[MissingGradient] = []
    doubtful: list[str] = []
    for parameter in parameters:
        if told_of(parameter):
            continue
        reached = [node for node, _ in parameter.uses if told_of(node)]
        hidden = _out_of_view(parameter) or not (functions or parameter.uses)
        if recorded or not parameter.requires_grad or not (reached or hidden):
            missing.append(_why_missing(parameter, reached, detached, lost))
        elif not reached:
            doubtful.append(parameter.name)
    return tuple(missing), doubtful


def _out_of_view(parameter: Value) -> bool:
    """Whether backward may have come by a use unseen: of a function, or of a call without gradients, which may be one
    that is recomputed in backward.
    """
    return any(node.kind != "module" or not any(v.requires_grad for v in node.outputs) for node, _ in parameter.uses)


def _why_missing(parameter: Value, reached: list[Node], detached: "_Ends", lost: "_Ends") -> MissingGradient:
    name = parameter.name
    if not parameter.requires_grad:
        return MissingGradient(name, "requires_grad is off")
    if not parameter.uses:
        return MissingGradient(name, "not used in any recorded call")
    if reached:
        where = reached[0].name
        return MissingGradient(
            name, f"backward went through {where} and accumulated nothing here, as torch.autograd.grad does", where
        )
    node = detached.nearest(parameter)
    if node is not None:
        return MissingGradient(name, f"detached by {node.name}", node.name)
    node = lost.nearest(parameter)
    if node is not None:
        return MissingGradient(name, f"used in {node.name}, whose result requires no gradient", node.name)
    user = parameter.uses[0][0].name
    return MissingGradient(
        name, f"used in {user}, and backward did not come by: what it computed is not in the loss", user
    )


class _Ends:
    """The nodes whose results require no gradient, so that backward does not come by, and of which something holds; for
    each node the nearest one that its results go into.
    """

    def __init__(self, nodes: Sequence[Node], holds: Callable[[Node], bool]) -> None:
        self._nearest: dict[int, tuple[int, Node]] = {}  # with the number of steps to it
        for node in reversed(nodes):
            going_on = [v for v in node.outputs if v.requires_grad]
            if going_on:
                found = self._of(user for v in going_on for user, _ in v.uses)
                if found is not None:
                    self._nearest[id(node)] = (found[0] + 1, found[1])
            elif holds(node):
                self._nearest[id(node)] = (0, node)

    def nearest(self, value: Value) -> Node | None:
        """The nearest one that a value goes into."""
        found = self._of(user for user, _ in value.uses)
        return None if found is None else found[1]

    def _of(self, users: Iterable[Node]) -> tuple[int, Node] | None:
        near = (self._nearest[id(user)] for user in users if id(user) in self._nearest)
        return min(near, key=lambda found: found[0], default=None)
