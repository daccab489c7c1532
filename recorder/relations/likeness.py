"""How much a place of one graph is like a place of the other: numbers that are equal for what is built alike.

A place is built like another if it does the same with the same arguments and parameters of the same shapes, and inside
of it everything is, in the same order. What it is called and what shapes flow through it does not matter: a block that
was renamed, or is run on larger pictures, is still the same block.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from recorder.graph.core import Node, Scope, Value
from recorder.graph.outline import Outline, Place, around, attributes_of, is_flowing, own_name

__all__ = ["SIZED", "Likeness", "is_numbered"]

SIZED = {"view", "reshape", "expand", "repeat", "unflatten", "arange", "zeros", "ones", "full", "empty", "new_zeros",
         "new_ones", "new_full", "new_empty", "broadcast_to", "resize", "split", "narrow", "interpolate"}  # fmt: skip
"""Functions whose arguments are sizes, which follow from those of their inputs."""


def is_numbered(name: str) -> bool:
    """Whether a name ends in a number alone, as those of items of a list do, which an insertion shifts."""
    return name.rpartition(".")[2].isdecimal()


class Likeness:
    """Of all places of two graphs: ``alike`` has equal numbers for places that are built alike, ``size`` the number of
    nodes in each, ``context`` where its inputs come from, and ``use`` what first uses a function's result, in words
    that a renaming of its surroundings leaves alone.
    """

    def __init__(self, a: Outline, b: Outline) -> None:
        self._symbols: dict[Hashable, int] = {}
        self.alike: dict[Place, int] = {}
        self.size: dict[Place, int] = {}
        self.context: dict[Place, tuple[str, ...]] = {}
        self.use: dict[Place, str] = {}
        self._bags: dict[int, tuple[Counter[int], Counter[str]]] = {}
        self._found: dict[tuple[int, int], float] = {}
        self._inside: dict[Place, list[Place]] = {}
        for outline in (a, b):
            self._read(outline)

    def similarity(self, x: Place, y: Place) -> float:
        """How much of two places is alike, from 0 to 1."""
        one, other = self.alike[x], self.alike[y]
        if one == other:
            return 1.0
        found = self._found.get((one, other))
        if found is None:
            found = self._found[one, other] = self._shared(x, y)
        return found

    def _shared(self, x: Place, y: Place) -> float:
        if isinstance(x, Node) and isinstance(y, Node):
            return 0.5 if x.op_type == y.op_type else 0.0
        (nodes, types), (others, their_types) = self._bag(x), self._bag(y)
        return (_share(nodes, others) + _share(types, their_types)) / 2 * 0.98

    def _bag(self, place: Place) -> tuple[Counter[int], Counter[str]]:
        """The nodes inside of a place, by what they are."""
        key = self.alike[place]
        if key not in self._bags:
            nodes, stack = [], [place]
            while stack:
                at = stack.pop()
                if isinstance(at, Scope):
                    stack += self._inside[at]
                else:
                    nodes.append(at)
            self._bags[key] = Counter(self.alike[node] for node in nodes), Counter(node.op_type for node in nodes)
        return self._bags[key]

    def _read(self, outline: Outline) -> None:
        inputs: dict[Scope | None, dict[Value, str]] = {None: _named(outline.graph.inputs, outline.graph.input_names)}
        for scope, places in outline.children.items():
            if scope is not None:
                self._inside[scope] = places
                inputs[scope] = _named(scope.inputs, scope.input_names)
        for node in outline.nodes:
            self.size[node] = 1
            attributes = "" if node.op_type in SIZED and node.fqn is None else _sorted(attributes_of(node))
            own = tuple((own_name(v, node), v.shape) for v in node.inputs if v.role in ("parameter", "buffer"))
            self.alike[node] = self._symbol(node.kind, node.op_type, attributes, own, len(node.outputs))
            self.context[node] = tuple(_label(outline, v, node, inputs) for v in node.inputs if is_flowing(v))
            if node.fqn is None:
                user = next((user for v in node.outputs for user, _ in v.uses), None)
                place = None if user is None else outline.child(user, node.scope)
                self.use[node] = "" if place is None else _called(outline, place)
        for scope in reversed([*outline.scopes()]):
            inside = outline.children[scope]
            self.size[scope] = sum(self.size[place] for place in inside)
            self.alike[scope] = self._symbol(
                "scope", scope.op_type, _sorted(attributes_of(scope)),
                tuple((self.alike[p], self.context[p] if p.fqn is None else ()) for p in inside),
            )  # fmt: skip
            self.context[scope] = tuple(_label(outline, v, scope, inputs) for v in scope.inputs if is_flowing(v))

    def _symbol(self, *what: Hashable) -> int:
        return self._symbols.setdefault(what, len(self._symbols))


def _sorted(attributes: dict[str, object]) -> str:
    return repr(sorted(attributes.items())) if attributes else ""


def _share(one: "Counter[Any]", other: "Counter[Any]") -> float:
    """How much of two bags is in both."""
    return 2 * (one & other).total() / (one.total() + other.total())


def _named(values: Sequence[Value], names: Sequence[str]) -> dict[Value, str]:
    return dict(zip(values, names))


def _called(outline: Outline, place: Place) -> str:
    name = outline.base(place)
    return place.op_type if place.fqn is None or is_numbered(name) else name


def _label(outline: Outline, value: Value, user: Place, inputs: dict[Scope | None, dict[Value, str]]) -> str:
    """Where a tensor comes from, as seen from the scope of its user."""
    scope = around(user)
    maker = None if value.producer is None else outline.child(value.producer, scope)
    if maker is None:
        return f"${inputs[scope][value]}" if value in inputs.get(scope, ()) else ".."
    name = _called(outline, maker)
    number = next((i for i, made in enumerate(maker.outputs) if made is value), 0)
    return f"{name}:{number}" if number else name
