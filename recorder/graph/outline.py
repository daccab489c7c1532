"""What of a graph is its architecture, nested as its modules are, and what each place is called where it stands.

A graph counts: the second ``add`` of a scope is ``add_1``, and one that is inserted before it renames it. Names here
are those that an insertion leaves alone as far as can be: a module has the name that the module around it gives it, a
function that of its operation, and where one name stands for several in a scope, they are told apart by the module or
input that they work on: ``view@query``, ``view@key``.

What happens outside of all calls is part of it only if a later call uses it: glue between two models is, a loss is not.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.document import plain_members

__all__ = ["Outline", "Place", "arguments_of", "around", "attributes_of", "is_flowing", "own_name", "relative"]

_DEVICE = re.compile(r"(?:cpu|cuda|meta|mps|xpu|hpu|npu|xla|mtia|ipu|vulkan|privateuseone)(?::\d+)?")

Place: TypeAlias = Node | Scope


def around(place: Place) -> Scope | None:
    """The scope that a place stands in."""
    return place.scope if isinstance(place, Node) else place.parent


def relative(fqn: str, scope: Scope | None) -> str:
    """A qualified name as seen from inside a scope; from elsewhere it begins with a slash."""
    if scope is not None and fqn:
        if not scope.fqn:
            return fqn
        if fqn.startswith(f"{scope.fqn}."):
            return fqn[len(scope.fqn) + 1 :]
    return f"/{fqn}"


def own_name(value: Value, place: Node) -> str:
    """What a parameter or buffer is called by what uses it: ``weight``; from elsewhere with a slash."""
    owner = place.fqn if place.kind == "module" else None
    if owner is None:
        return relative(value.name, place.scope)
    prefix = f"{owner}." if owner else ""
    return value.name[len(prefix) :] if value.name.startswith(prefix) else f"/{value.name}"


def attributes_of(place: Place) -> dict[str, Any]:
    """Hyper-parameters and arguments that are of the architecture: not on which device it ran, nor in which mode. As
    JSON holds them.

    Raises:
        GraphError: JSON cannot hold them.
    """
    found = {
        name: value
        for name, value in place.attributes.items()
        if name not in ("device", "training") and not (isinstance(value, str) and _DEVICE.fullmatch(value))
    }
    return plain_members(found, place)


def arguments_of(place: Place) -> dict[str, Any]:
    """The plain arguments of a module's call, as JSON holds them."""
    found = place.meta.get("arguments")
    return plain_members(found, place) if isinstance(found, dict) else {}


class Outline:
    """The places of an architecture: ``nodes`` in execution order, ``children`` of each scope (and of None, which is
    around all) in the order in which they ran, and ``names``, which differ within a scope.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: Sequence[Node] = _of_calls(graph)
        self._there = set(self.nodes)
        self.children: dict[Scope | None, list[Place]] = {None: []}
        for node in self.nodes:
            place: Place = node
            scope = node.scope
            while scope is not None and scope not in self.children:
                self.children[scope] = [place]
                place, scope = scope, scope.parent
            self.children[scope].append(place)
        self._anchors: dict[Node, str] = {}
        self.parts: dict[Place, tuple[str, str, int]] = {}  # of each name: what it is, at what, which one of those
        for scope, places in self.children.items():
            self._name(scope, places)
        self.names: dict[Place, str] = {
            place: base + (f"@{anchor}" if anchor else "") + (f"~{number}" if number > 1 else "")
            for place, (base, anchor, number) in self.parts.items()
        }

    def scopes(self) -> Iterator[Scope]:
        """Those that hold something, parents before children."""
        return (scope for scope in self.graph.scopes if scope in self.children)

    def base(self, place: Place) -> str:
        """What a place is called if it is the only one of its name."""
        return place.op_type if place.fqn is None else relative(place.fqn, around(place))

    def child(self, node: Node, scope: Scope | None) -> Place | None:
        """The place directly in a scope that is a node or holds it; None if it is elsewhere, or no part of it."""
        if node not in self._there:
            return None
        place: Place = node
        while (outer := around(place)) is not scope:
            if outer is None:
                return None
            place = outer
        return place

    def _name(self, scope: Scope | None, places: Sequence[Place]) -> None:
        by_base: defaultdict[str, list[Place]] = defaultdict(list)
        for place in places:
            by_base[self.base(place)].append(place)
            if place.fqn is None and isinstance(place, Node):
                self._anchors[place] = self._anchor(place, scope)
        for base, alike in by_base.items():
            if len(alike) == 1:
                self.parts[alike[0]] = base, "", 1
                continue
            seen: defaultdict[str, int] = defaultdict(int)
            for place in alike:
                anchor = self._anchor(place, scope)
                seen[anchor] += 1
                self.parts[place] = base, anchor, seen[anchor]

    def _anchor(self, place: Place, scope: Scope | None) -> str:
        """What a place works on: the nearest module, input, or function of several tensors, along its first tensor that
        leads to one.
        """
        tensors = (value for value in place.inputs if is_flowing(value))
        return next(filter(None, (self._origin(value, scope) for value in tensors)), "")

    def _origin(self, value: Value, scope: Scope | None) -> str:
        maker = None if value.producer is None else self.child(value.producer, scope)
        if maker is None:
            return _input_name(value, scope, self.graph)
        if maker in self._anchors and len(maker.outputs) == 1 and sum(map(is_flowing, maker.inputs)) < 2:
            return self._anchors[maker]
        number = next((i for i, made in enumerate(maker.outputs) if made is value), 0)
        return self.base(maker) + (f".{number}" if number else "")


def is_flowing(value: Value) -> bool:
    """Whether a tensor is made or given, and not there before."""
    return value.role in ("activation", "input")


def _input_name(value: Value, scope: Scope | None, graph: Graph) -> str:
    given, names = (graph.inputs, graph.input_names) if scope is None else (scope.inputs, scope.input_names)
    return next((name for v, name in zip(given, names) if v is value), "")


def _of_calls(graph: Graph) -> list[Node]:
    """The nodes in calls of modules, and those outside that lead to one, or to what is returned; all of a graph without
    any call.
    """
    if not any(node.scope is not None or node.kind == "module" for node in graph.nodes):
        return list(graph.nodes)
    needed = {value.producer for value in graph.outputs if value.producer is not None}
    for node in reversed(graph.nodes):
        if node.scope is not None or node.kind == "module" or node in needed:
            needed.add(node)
            needed.update(value.producer for value in node.inputs if value.producer is not None)
    return [node for node in graph.nodes if node in needed]
