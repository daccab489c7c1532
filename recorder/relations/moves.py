"""What has no partner in the scope where it should be, looked for elsewhere: renamed, moved, or replaced."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from recorder.graph.core import Node, Scope, Value
from recorder.graph.outline import Place, around, is_flowing

if TYPE_CHECKING:
    from recorder.relations.alignment import Alignment

__all__ = ["correspond", "match_moved", "position"]

_Key = tuple[str, Node | Scope | str | None]
_P = TypeVar("_P", bound=Node | Scope)


def match_moved(alignment: "Alignment") -> None:
    """Pair what is left over: first blocks, the largest first, then single places, then what replaced another."""
    a, b = alignment.a, alignment.b
    like = alignment.likeness
    left, right = _left(a.scopes(), alignment.pairs), _left(b.scopes(), alignment.back)
    if left and right:
        waiting: defaultdict[int, list[Place]] = defaultdict(list)
        for y in right:
            waiting[like.alike[y]].append(y)
        for x in left:  # parents before children, so the largest first
            free = [y for y in waiting[like.alike[x]] if y not in alignment.back]
            if x not in alignment.pairs and free:
                alignment.pair(x, next((y for y in free if _last(x) == _last(y)), free[0]))
    for fits in (_moved, _replaced):
        _match_nodes(alignment, fits)


def _match_nodes(alignment: "Alignment", fits: "Callable[[Alignment, Node, Node], bool]") -> None:
    left, right = _left(alignment.a.nodes, alignment.pairs), _left(alignment.b.nodes, alignment.back)
    if not left or not right:
        return
    by_source: defaultdict[_Key, list[Node]] = defaultdict(list)
    for y in right:
        for key in _keys(y):
            by_source[key].append(y)
    for x in left:
        near: dict[Node, None] = {}
        for key in _keys(x):
            near |= dict.fromkeys(by_source.get(_beyond(alignment, key), ()))
        near |= dict.fromkeys(by_source.get(("name", _last(x)), ())) if x.fqn is not None else {}
        found = next((y for y in near if y not in alignment.back and fits(alignment, x, y)), None)
        if found is not None:
            alignment.pair(x, found)


def _keys(node: Node) -> list[_Key]:
    """What a node can be found by: what made its inputs, what uses its outputs, and its name."""
    keys: list[_Key] = [("made", v.producer) for v in node.inputs if v.producer is not None]
    keys += [("used", user) for v in node.outputs for user, _ in v.uses]
    return [*keys, ("given", None), ("name", _last(node))] if node.fqn is not None else [*keys, ("given", None)]


def _beyond(alignment: "Alignment", key: _Key) -> _Key:
    """What finds the same in the other graph."""
    kind, of = key
    return (kind, alignment.pairs.get(of)) if isinstance(of, Node) else key


def _moved(alignment: "Alignment", x: Node, y: Node) -> bool:
    like = alignment.likeness
    if like.alike[x] != like.alike[y]:
        return False
    if x.fqn is not None and any(v.role == "parameter" for v in x.inputs) and _last(x) == _last(y):
        return True
    return _sources_correspond(alignment, x, y) or _users_correspond(alignment, x, y)


def _replaced(alignment: "Alignment", x: Node, y: Node) -> bool:
    """Whether one function stands exactly where another stood."""
    if x.fqn is not None or y.fqn is not None or (x.op_type == y.op_type and x.attributes == y.attributes):
        return False
    scopes = around(x), around(y)
    if scopes != (None, None) and (scopes[0] is None or alignment.pairs.get(scopes[0]) is not scopes[1]):
        return False
    return _sources_correspond(alignment, x, y) and _users_correspond(alignment, x, y)


def _sources_correspond(alignment: "Alignment", x: Node, y: Node) -> bool:
    """Whether what flows into one comes, input by input, from what it comes from in the other graph."""
    ours, theirs = (list(filter(is_flowing, node.inputs)) for node in (x, y))
    return len(ours) == len(theirs) > 0 and all(correspond(alignment, v, w) for v, w in zip(ours, theirs))


def correspond(alignment: "Alignment", v: Value, w: Value) -> bool:
    """Whether two tensors are the same output of the same node, or the same input."""
    if v.producer is None or w.producer is None:
        if v in alignment.given or w in alignment.given.values():
            return alignment.given.get(v) is w
        return v.producer is w.producer and v.role == w.role
    return alignment.pairs.get(v.producer) is w.producer and position(v) == position(w)


def _users_correspond(alignment: "Alignment", x: Node, y: Node) -> bool:
    """Whether any user of what one made is a user of what the other made, at the same input."""
    ours = {(alignment.pairs.get(user), at) for v in x.outputs for user, at in v.uses}
    theirs = {(user, at) for v in y.outputs for user, at in v.uses}
    if not any(v.uses for v in (*x.outputs, *y.outputs)):
        return bool(x.outputs) == bool(y.outputs)
    return bool(ours & theirs)


def position(value: Value) -> int:
    """Which of its maker's outputs a tensor is."""
    assert value.producer is not None
    return next((i for i, made in enumerate(value.producer.outputs) if made is value), 0)


def _last(place: Place) -> str:
    return "" if place.fqn is None else place.fqn.rpartition(".")[2]


def _left(places: Iterable[_P], paired: dict[Place, Place]) -> list[_P]:
    return [place for place in places if place not in paired]
