"""What differs between two places that are the same: one by one, and by name."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from recorder.graph.core import Node, Value
from recorder.graph.outline import Outline, Place, arguments_of, around, attributes_of, is_flowing, own_name
from recorder.relations.alignment import Alignment
from recorder.relations.likeness import SIZED
from recorder.relations.moves import correspond, position

__all__ = ["What", "follows", "of_ends", "of_unused", "place_name", "rewiring", "what_changed"]

What: TypeAlias = dict[str, tuple[Any, Any]]
"""What differs, by its name: before and after. None is what was not there."""


def place_name(outline: Outline, place: Place) -> str:
    """What a place is called by people: the qualified name of a module, and which call of it if not the first; of a
    function the name that it has in its scope, behind that scope's.
    """
    if place.fqn is not None:
        return (place.fqn or place.op_type) + (f"#{place.call}" if place.call else "")
    scope = around(place)
    name = outline.names.get(place, place.name)
    return f"{scope.fqn}.{name}" if scope is not None and scope.fqn else name


def what_changed(x: Place, y: Place) -> What:
    """Type, hyper-parameters, arguments, parameters and results, where they differ."""
    what: What = {}
    if x.op_type != y.op_type:
        what["op_type"] = (x.op_type, y.op_type)
    ours, theirs = attributes_of(x), attributes_of(y)
    if ours != theirs:
        what |= _of_members(ours, theirs)
    ours, theirs = arguments_of(x), arguments_of(y)
    if ours != theirs:
        what |= {f"given {name}": pair for name, pair in _of_members(ours, theirs).items()}
    if isinstance(x, Node) and isinstance(y, Node):
        what |= _of_tensors(_parameters(x), _parameters(y))
        what |= _of_tensors(_results(x), _results(y))
    return what


def _of_members(ours: dict[str, Any], theirs: dict[str, Any]) -> What:
    names = dict.fromkeys([*ours, *theirs])
    pairs = {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}
    # Attention's dropout is 0 in eval, whatever it is in training: that is the mode's, and of no architecture.
    return {name: pair for name, pair in pairs.items() if name != "dropout_p" or (pair[0] and pair[1])}


def _of_tensors(ours: dict[str, Value], theirs: dict[str, Value]) -> What:
    what: What = {}
    for name in dict.fromkeys([*ours, *theirs]):
        v, w = ours.get(name), theirs.get(name)
        for part in ("shape", "dtype"):
            pair = getattr(v, part, None), getattr(w, part, None)
            if pair[0] != pair[1]:
                what[f"{name}.{part}"] = pair
    return what


def _parameters(node: Node) -> dict[str, Value]:
    """Those that are its own: one of elsewhere is wired to it, and told of there."""
    found = {own_name(v, node): v for v in node.inputs if v.role in ("parameter", "buffer")}
    return {name: v for name, v in found.items() if not name.startswith("/")}


def _results(node: Node) -> dict[str, Value]:
    if len(node.outputs) == 1:
        return {"output": node.outputs[0]}
    return {f"output.{number}": value for number, value in enumerate(node.outputs)}


def follows(x: Place, y: Place, what: What) -> bool:
    """Whether all that differs is the shape or dtype of results, or a size, and follows from what flows in."""
    if not isinstance(x, Node) or not isinstance(y, Node):
        return False
    sized = x.op_type in SIZED and x.fqn is None
    if not all((name.startswith("output") and name.endswith((".shape", ".dtype"))) or sized for name in what):
        return False
    ours, theirs = (list(filter(is_flowing, node.inputs)) for node in (x, y))
    return any((v.shape, v.dtype) != (w.shape, w.dtype) for v, w in zip(ours, theirs))


def rewiring(alignment: Alignment, x: Node, y: Node) -> What:
    """The inputs that come from elsewhere, by their names or numbers: from where they came and come."""
    ours, theirs = _wired(x), _wired(y)
    what: What = {}
    if len(ours) == len(theirs) and all(_same_source(alignment, v, w) for (_, v), (_, w) in zip(ours, theirs)):
        return what
    for number in range(max(len(ours), len(theirs))):
        name, v = ours[number] if number < len(ours) else ("", None)
        other, w = theirs[number] if number < len(theirs) else ("", None)
        if v is None or w is None or not _same_source(alignment, v, w):
            pair = _source(alignment.a, v), _source(alignment.b, w)
            what[other or name or str(number)] = pair
    return what


def _wired(node: Node) -> list[tuple[str, Value]]:
    """What is given to a node, and is no parameter of its own."""
    names = node.input_names if len(node.input_names) == len(node.inputs) else ("",) * len(node.inputs)
    return [
        (name, v)
        for name, v in zip(names, node.inputs)
        if v.role not in ("parameter", "buffer") or own_name(v, node).startswith("/")
    ]


def _same_source(alignment: Alignment, v: Value, w: Value) -> bool:
    if v.role in ("parameter", "buffer"):
        return v.role == w.role and alignment.renamed(v.name) == w.name
    return correspond(alignment, v, w)


def _source(outline: Outline, value: Value | None) -> str | None:
    if value is None:
        return None
    if value.producer is None:
        return value.name if value.role in ("parameter", "buffer", "input") else value.role
    name = place_name(outline, value.producer)
    number = position(value)
    return f"{name}:{number}" if number else name


def of_ends(alignment: Alignment) -> tuple[What, What]:
    """What differs in what the model is given and returns, and where from it comes that is returned."""
    a, b = alignment.a.graph, alignment.b.graph
    what: What = {}
    ours, theirs = dict(zip(a.inputs, a.input_names)), dict(zip(b.inputs, b.input_names))
    for v, name in ours.items():
        w = alignment.given.get(v)
        if w is None:
            what[f"input {name}"] = (_told(v), None)
            continue
        if theirs[w] != name:
            what[f"input {name}"] = (name, theirs[w])
        what |= _of_tensors({theirs[w]: v}, {theirs[w]: w})
    there = set(alignment.given.values())
    what |= {f"input {name}": (None, _told(w)) for w, name in theirs.items() if w not in there}
    wired: What = {}
    if list(a.output_names) != list(b.output_names):
        what["outputs"] = (_listed(a.output_names), _listed(b.output_names))
    for number in range(max(len(a.outputs), len(b.outputs))):
        one = a.outputs[number] if number < len(a.outputs) else None
        other = b.outputs[number] if number < len(b.outputs) else None
        if one is None or other is None or not _same_source(alignment, one, other):
            names = b.output_names if number < len(b.output_names) else a.output_names
            wired[f"output {names[number]}".rstrip()] = _source(alignment.a, one), _source(alignment.b, other)
    return what, wired


def _listed(names: "list[str] | Any") -> list[str]:
    return [name or str(number) for number, name in enumerate(names)]


def _told(value: Value) -> str:
    return f"{value.dtype}{list(value.shape)}"


def of_unused(alignment: Alignment) -> Iterator[tuple[Place, Place, What]]:
    """What differs in parameters and buffers that no call was seen to use: by the place that they are in."""

    def unused(outline: Outline) -> dict[str, Value]:
        used = {v for node in outline.nodes for v in node.inputs}
        return {v.name: v for v in outline.graph.initializers if v not in used}

    ours = {alignment.renamed(name): (name, v) for name, v in unused(alignment.a).items()}
    theirs = unused(alignment.b)
    if not ours and not theirs:
        return
    everything = ({v.name for v in outline.graph.initializers} for outline in (alignment.a, alignment.b))
    known = {alignment.renamed(name) for name in next(everything)}, next(everything)
    found: dict[Place, What] = {}
    for name in dict.fromkeys([*ours, *theirs]):
        _, v = ours.get(name, ("", None))
        w = theirs.get(name)
        if (v is None and name in known[0]) or (w is None and name in known[1]):
            continue  # used in the other, which the call that uses it tells
        place = alignment.around_parameter(name)
        if place is not None:
            prefix = f"{place.fqn}." if place.fqn else ""
            short = name.removeprefix(prefix)
            what = _of_tensors({} if v is None else {short: v}, {} if w is None else {short: w})
            if what:
                found.setdefault(place, {}).update(what)
    yield from ((alignment.back[place], place, what) for place, what in found.items())
