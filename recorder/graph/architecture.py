"""An architecture as text that people read, that versions of it are compared with, and that reads back.

One line a place, nested as the modules are:

    architecture 1
    name Net
    input x float32[2, 8]
    /: Net <- x=$x
      fc: nn.linear.Linear(in_features=8, out_features=8) <- $x, param weight float32[8, 8] -> float32[2, 8]
      add = Tensor.add <- fc, $x -> float32[2, 8]
      return add
    return /

A colon stands after the name of a module's call, an equals sign after that of a function's call. What a line says of
itself and of where its inputs come from is told within the scope: ``$x`` is what the call was given as ``x``, ``fc``
what a place beside it returned, ``../`` leads out. So what is inserted is a line of its own, and changes those that
use it. Nothing is counted that an insertion would shift, and there is nothing in it that differs between runs of one
program: no weights, no times, no device, no gradients.

`recorder.graph.architecture_reader` reads it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from recorder.errors import GraphError
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.outline import Outline, Place, arguments_of, attributes_of, own_name

__all__ = ["HEAD", "SHORT", "architecture", "op_of", "written_type"]

HEAD = "architecture 1"
"""The first line: what it is, and in which version."""

SHORT = {"nn.": "torch.nn.modules.", "F.": "torch.nn.functional.", "Tensor.": "torch.Tensor.", "torch.": "torch."}
"""How the places where torch's operations live are written; of what is not torch's, the name alone."""

KINDS = {"module": ":", "function": " =", "autograd": " *"}

_WORDS = {"..", "name", "input", "return", "param", "buffer", "constant", "unknown"}
"""What a line or a source begins with that is no name."""

_SAFE = re.compile(r"[\w.\-]+")
_SAFE_OP = re.compile(r"[\w.]+")


def architecture(graph: Graph) -> str:
    """The architecture of a graph as text, as format ``architecture`` writes it and `recorder.loads` reads it.

    Raises:
        GraphError: attributes hold what JSON cannot.
    """
    return "".join(f"{line}\n" for line in _Writer(graph).lines())


def op_of(target: str) -> str:
    """The type of an operation by what was called: ``getitem`` for ``torch.Tensor.__getitem__``."""
    last = target.rpartition(".")[2]
    return last[2:-2] if last.startswith("__") and last.endswith("__") and len(last) > 4 else last


def written_type(value: Value) -> str:
    """Dtype and shape of a tensor: ``float32[1, 64, ?]``."""
    return f"{_text(value.dtype)}[{', '.join('?' if size < 0 else str(size) for size in value.shape)}]"


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outline = Outline(graph)
        self._names = {place: _name(*parts) for place, parts in self.outline.parts.items()}
        self._inputs: dict[Scope | None, dict[Value, str]] = {None: _labels(graph.inputs, graph.input_names)}
        self._inputs |= {scope: _labels(scope.inputs, scope.input_names) for scope in graph.scopes}
        self._outputs = {scope: _labels(scope.outputs, scope.output_names) for scope in graph.scopes}

    def lines(self) -> Iterator[str]:
        graph = self.graph
        yield HEAD
        yield f"name {_text(graph.name)}"
        for value, label in self._inputs[None].items():
            what = "" if value.role == "input" else f"{self._typeless(value, None)} "
            yield f"input {label} {what}{written_type(value)}"
        written: set[Value] = set()
        stack: list[tuple[Scope | None, Iterator[Place]]] = [(None, iter(self.outline.children[None]))]
        while stack:
            scope, places = stack[-1]
            indent = "  " * (len(stack) - 1)
            place = next(places, None)
            if place is None:
                stack.pop()
                outer: Graph | Scope = graph if scope is None else scope
                if outer.outputs:
                    yield f"{indent}return {self._bound(outer.outputs, outer.output_names, scope)}"
            elif isinstance(place, Scope):
                given = self._bound(place.inputs, place.input_names, scope, always=True)
                yield f"{indent}{self._head(place)}" + (f" <- {given}" if given else "")
                stack.append((place, iter(self.outline.children[place])))
            else:
                written.update(place.inputs)
                given = ", ".join(self._source(value, place.scope, place) for value in place.inputs)
                made = ", ".join(map(written_type, place.outputs))
                yield f"{indent}{self._head(place)}{f' <- {given}' if given else ''} ->{f' {made}' if made else ''}"
        rest = (value for value in graph.initializers if value not in written)
        yield from sorted(f"{self._typeless(value, None)} {written_type(value)}" for value in rest)

    def _head(self, place: Place) -> str:
        """Name, operation and arguments."""
        kind = place.kind if isinstance(place, Node) else "module"
        found = attributes_of(place)
        attributes = f"({_members(found, place)})" if found else ""
        arguments = arguments_of(place)
        told = f" given({_members(arguments, place)})" if arguments else ""
        return f"{self._names[place]}{KINDS[kind]} {_operation(place)}{attributes}{told}"

    def _bound(self, values: Sequence[Value], names: Sequence[str], scope: Scope | None, always: bool = False) -> str:
        """What a call was given or returned, each by its name, as seen from a scope."""
        labels = _all_labels(names if len(names) == len(values) else [""] * len(values))
        return ", ".join(
            self._source(v, scope) if not name and not always else f"{label}={self._source(v, scope)}"
            for v, name, label in zip(values, names or [""] * len(values), labels)
        )

    def _source(self, value: Value, scope: Scope | None, user: Node | None = None) -> str:
        """Where a tensor comes from, as seen from inside a scope."""
        out = ""
        if value.role not in ("parameter", "buffer"):
            at = scope
            while True:
                maker = None if value.producer is None else self.outline.child(value.producer, at)
                if maker is not None and maker in self._names:
                    return out + self._path(maker, value)
                if value in self._inputs[at]:
                    return f"{out}${self._inputs[at][value]}"
                if at is None:
                    break
                at, out = at.parent, f"{out}../"
        return f"{self._typeless(value, user)} {written_type(value)}"

    def _path(self, place: Place, value: Value) -> str:
        path = self._names[place]
        while isinstance(place, Scope):
            outputs = self._outputs[place]
            if value in outputs:
                first = next(iter(outputs)) is value
                return path if first else f"{path}:{outputs[value]}"
            inner = None if value.producer is None else self.outline.child(value.producer, place)
            if inner is None:
                break
            place, path = inner, f"{path}/{self._names[inner]}"
        number = next((i for i, made in enumerate(place.outputs) if made is value), 0)
        return f"{path}:{number}" if number else path

    def _typeless(self, value: Value, user: Node | None) -> str:
        if value.role not in ("parameter", "buffer"):
            return "constant" if value.role == "constant" else "unknown"
        name = f"/{value.name}" if user is None else own_name(value, user)
        word = "param" if value.role == "parameter" else "buffer"
        return f"{word} {f'/{_text(name[1:])}' if name.startswith('/') else _text(name)}"


def _name(base: str, anchor: str, number: int) -> str:
    """A name where it is safe in a line: what could be taken for something else is in quotes."""
    at = f"@{_anchor(anchor)}" if anchor else ""
    return f"{_part(base)}{at}{f'~{number}' if number > 1 else ''}"


def _part(name: str) -> str:
    return json.dumps(name) if name in _WORDS else _anchor(name)


def _anchor(name: str) -> str:
    if name.startswith("/"):
        return f"/{_text(name[1:])}" if len(name) > 1 else "/"
    return _text(name)


def _text(text: str) -> str:
    return text if _SAFE.fullmatch(text) else json.dumps(text)


def _labels(values: Iterable[Value], names: Sequence[str]) -> dict[Value, str]:
    """How each tensor of a call is told by its name, one that is there twice by the first."""
    values = list(values)
    found: dict[Value, str] = {}
    for value, label in zip(values, _all_labels(names if len(names) == len(values) else [""] * len(values))):
        found.setdefault(value, label)
    return found


def _all_labels(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    labels = []
    for number, name in enumerate(names):
        plain = name and name not in seen
        labels.append(_text(name) if plain else f"{_text(name) if name else ''}#{number}")
        seen.add(name)
    return labels


def _operation(place: Place) -> str:
    target = place.target
    if op_of(target) == place.op_type and _SAFE_OP.fullmatch(target):
        for short, long in SHORT.items():
            if target.startswith(long):
                return short + target.removeprefix(long)
    return _text(place.op_type) if "." not in place.op_type else json.dumps(place.op_type)


def _members(members: Mapping[str, Any], place: Place) -> str:
    try:
        return ", ".join(f"{_text(key)}={json.dumps(members[key], sort_keys=True)}" for key in sorted(members))
    except (TypeError, ValueError) as error:
        raise GraphError([f"{place.name!r} holds what JSON cannot: {error}"]) from error
