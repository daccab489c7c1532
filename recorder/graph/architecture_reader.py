"""From the text of an architecture back to a graph: what `recorder.graph.architecture` writes.

The graph has the places, their names and arguments, the tensors' shapes and dtypes, and how all of it is wired. What
the text does not tell is not there: times, gradients, devices, values.
"""

import json
import re
from collections import defaultdict
from typing import Any, NoReturn

from recorder.errors import StreamError
from recorder.graph.architecture import HEAD, KINDS, SHORT, op_of
from recorder.graph.core import Graph, Node, Role, Scope, Value
from recorder.graph.names import Namespace, of_output
from recorder.graph.outline import Place
from recorder.limits import DEEPEST, LARGEST

__all__ = ["read"]

_SEGMENT = r'(?:"(?:[^"\\\n]|\\.)*"|[\w.\-]+)'
_PART = rf"(?:/{_SEGMENT}?|{_SEGMENT})"
_NAME = re.compile(rf"({_PART})(?:@{_PART})?(?:~\d+)?")
_LABEL = re.compile(rf"({_SEGMENT})?(?:#\d+)?")
_TYPE = re.compile(rf"({_SEGMENT})\[([\d?, ]*)\]")
_TENSOR = re.compile(rf"(?:(param|buffer) ({_PART})|constant|unknown) (?={_SEGMENT}\[)")
_OPERATION = re.compile(_SEGMENT)
_DECODER = json.JSONDecoder()
_UNKNOWN = "meta"
"""The device of a tensor of which none is told: the one that holds no data."""


def read(text: str) -> Graph:
    """The graph that a text describes, checked with `Graph.lint`.

    Raises:
        StreamError: the text is no architecture; the message says in which line.
        GraphError: it is one, and the graph in it contradicts itself.
    """
    lines = text.split("\n")
    if lines[0].rstrip() != HEAD:
        raise StreamError(f"not the text of an architecture that can be read here: it does not begin with {HEAD!r}")
    reader = _Reader()
    for number, line in enumerate(lines[1:], 2):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        try:
            reader.line(line)
        except (ValueError, IndexError, RecursionError) as error:
            raise StreamError(f"line {number}: {error}") from error
    graph = reader.graph()
    graph.lint()
    return graph


class _Reader:
    """Reads line by line; ``_frames`` are the scopes around, None for what is around all."""

    def __init__(self) -> None:
        self._name = ""
        self._nodes: list[Node] = []
        self._scopes: list[Scope] = []
        self._frames: list[Scope | None] = [None]
        self._places: defaultdict[Scope | None, dict[str, Place]] = defaultdict(dict)
        self._given: defaultdict[Scope | None, dict[str, Value]] = defaultdict(dict)
        self._returned: defaultdict[Scope | None, dict[str, Value]] = defaultdict(dict)
        self._ends: dict[str, list[tuple[str, Value]]] = {"inputs": [], "outputs": []}
        self._initializers: dict[str, Value] = {}
        self._calls: defaultdict[str, int] = defaultdict(int)
        self._names, self._scope_names = Namespace(), Namespace()
        self._others: list[Value] = []

    def graph(self) -> Graph:
        (inputs, outputs) = self._ends["inputs"], self._ends["outputs"]
        names = Namespace()  # those of parameters say whose they are, and stay
        for value in (*self._initializers.values(), *self._others):
            value.name = names.unique(value.name)
        return Graph(
            self._nodes,
            inputs=[value for _, value in inputs],
            outputs=[value for _, value in outputs],
            input_names=[name for name, _ in inputs],
            output_names=[name for name, _ in outputs],
            initializers=list(self._initializers.values()),
            scopes=self._scopes,
            name=self._name,
        )

    def line(self, line: str) -> None:
        text = _Text(line)
        depth = (len(line) - len(line.lstrip(" "))) // 2
        if depth >= len(self._frames):
            raise ValueError("it is indented deeper than what it could be in")
        del self._frames[depth + 1 :]
        text.at = 2 * depth
        scope = self._frames[-1]
        if text.takes("name "):
            self._name = _unquoted(text.match(_OPERATION, "a name")[0])
        elif text.takes("input "):
            self._input(text)
        elif text.takes("return "):
            self._return(text, scope)
        elif (tensor := text.maybe(_TENSOR)) is not None:
            self._tensor(text, tensor, None)
        else:
            self._place(text, scope)
        text.ends()

    def _input(self, text: "_Text") -> None:
        label = text.match(_LABEL, "a name")
        name = _unquoted(label[1] or '""')
        text.needs(" ")
        tensor = text.maybe(_TENSOR)
        if tensor is not None:
            value = self._tensor(text, tensor, None)
        else:
            value = self._value(text, "input", name)
        self._given[None][label[0]] = value
        self._ends["inputs"].append((name, value))

    def _return(self, text: "_Text", scope: Scope | None) -> None:
        bound = self._bindings(text, scope)
        values, names = tuple(v for _, _, v in bound), tuple(name for _, name, _ in bound)
        for label, _, value in bound:
            self._returned[scope].setdefault(label, value)
        if scope is None:
            self._ends["outputs"] += zip(names, values)
        else:
            scope.outputs, scope.output_names = values, names

    def _place(self, text: "_Text", scope: Scope | None) -> None:
        name = text.match(_NAME, "the name of a place")
        if name[0] in self._places[scope]:
            raise ValueError(f"there are two places {name[0]} here")
        kind = next((kind for kind, sign in KINDS.items() if text.takes(f"{sign} ")), None)
        if kind is None:
            raise ValueError(f"after the name {name[0]} there is no sign of what it is: ':' or ' ='")
        op_type, target = _operation(text.match(_OPERATION, "an operation")[0])
        attributes = text.members() if text.takes("(") else {}
        meta: dict[str, Any] = {"arguments": text.members()} if text.takes(" given(") else {}
        fqn = _fqn(_part(name[1]), scope) if kind == "module" else None
        leaf = re.search(r" ->( |$)", _without_quotes(text.rest)) is not None
        if not leaf and fqn is None:
            raise ValueError("a function's line tells what it made, after '->'")
        bindings = text.takes(" <- ")
        place: Place
        if leaf:
            place = self._node(kind, op_type, target, fqn, scope, attributes, meta)
            place.inputs = tuple(self._sources(text, scope, place)) if bindings else ()
            text.needs(" ->")
            place.outputs = tuple(self._made(text, place)) if text.takes(" ") else ()
            self._nodes.append(place)
        else:
            place = self._scope(op_type, target, fqn or "", scope, attributes, meta)
            bound = self._bindings(text, scope) if bindings else []
            self._given[place] |= {label: value for label, _, value in reversed(bound)}
            place.inputs, place.input_names = tuple(v for _, _, v in bound), tuple(name for _, name, _ in bound)
            self._scopes.append(place)
            self._frames.append(place)
            if len(self._frames) > DEEPEST:
                raise ValueError(f"places are nested more than {DEEPEST:,} deep")
        self._places[scope][name[0]] = place

    def _node(self, kind: Any, op_type: str, target: str, fqn: str | None, scope: Scope | None, *rest: Any) -> Node:
        if fqn is None:
            within = f"{scope.fqn}." if scope is not None and scope.fqn else ""
            return Node(self._names.unique(within + op_type), kind, op_type, target, None, None, scope, (), (), *rest)
        call, wish = self._call(fqn, op_type)
        return Node(self._names.unique(wish), kind, op_type, target, fqn, call, scope, (), (), *rest)

    def _scope(self, op_type: str, target: str, fqn: str, scope: Scope | None, *rest: Any) -> Scope:
        call, wish = self._call(fqn, op_type)
        return Scope(fqn, call, op_type, scope, self._scope_names.unique(wish), target, None, None, None, *rest)

    def _call(self, fqn: str, op_type: str) -> tuple[int, str]:
        call = self._calls[fqn]
        self._calls[fqn] += 1
        return call, (fqn or op_type) + (f"#{call}" if call else "")

    def _made(self, text: "_Text", node: Node) -> Any:
        while True:
            dtype, shape = text.type()
            self._others.append(Value(of_output(node.name, text.count()), shape, dtype, _UNKNOWN))
            yield self._others[-1]
            if not text.takes(", "):
                return

    def _bindings(self, text: "_Text", scope: Scope | None) -> list[tuple[str, str, Value]]:
        """What stands after the arrow of a scope, or after ``return``: label, name and tensor."""
        found: list[tuple[str, str, Value]] = []
        while True:
            label = text.maybe(re.compile(rf"({_LABEL.pattern})="))
            told = f"#{len(found)}" if label is None else label[1]
            name = "" if label is None else _unquoted(label[2] or '""')
            found.append((told, name, self._source(text, scope, None)))
            if not text.takes(", "):
                return found

    def _sources(self, text: "_Text", scope: Scope | None, user: Node) -> Any:
        while True:
            yield self._source(text, scope, user)
            if not text.takes(", "):
                return

    def _source(self, text: "_Text", scope: Scope | None, user: Node | None) -> Value:
        tensor = text.maybe(_TENSOR)
        if tensor is not None:
            return self._tensor(text, tensor, user)
        start = text.at
        while text.takes("../"):
            if scope is None:
                raise ValueError("'../' leads out of everything")
            scope = scope.parent
        if text.takes("$"):
            label = text.match(_LABEL, "the name of an input")[0]
            found = self._given[scope].get(label)
            return found if found is not None else _lost(text, start)
        while True:
            place = self._places[scope].get(text.match(_NAME, "a place")[0])
            if place is None:
                _lost(text, start)
            if isinstance(place, Node):
                number = int(text.match(re.compile(r"\d{1,9}"), "a number")[0]) if text.takes(":") else 0
                return place.outputs[number] if number < len(place.outputs) else _lost(text, start)
            if not text.takes("/"):
                break
            scope = place
        returned = self._returned[place]
        label = text.match(_LABEL, "the name of an output")[0] if text.takes(":") else next(iter(returned), "")
        return returned[label] if label in returned else _lost(text, start)

    def _tensor(self, text: "_Text", tensor: "re.Match[str]", user: Node | None) -> Value:
        word = tensor[1]
        if word is None:
            role: Role = "constant" if tensor[0].startswith("constant") else "activation"
            return self._value(text, role, "constant" if role == "constant" else "activation")
        part = _part(tensor[2])
        name = part[1:] if part.startswith("/") else _within(user, part)
        value = self._value(text, "parameter" if word == "param" else "buffer", name)
        known = self._initializers.setdefault(name, value)
        if (known.shape, known.dtype, known.role) != (value.shape, value.dtype, value.role):
            raise ValueError(f"{name!r} is another tensor than before")
        return known

    def _value(self, text: "_Text", role: Role, name: str) -> Value:
        dtype, shape = text.type()
        value = Value(name, shape, dtype, _UNKNOWN, role=role)
        if role not in ("parameter", "buffer"):
            self._others.append(value)
        return value


class _Text:
    """One line, and how far it has been read."""

    def __init__(self, line: str) -> None:
        self.line, self.at, self._counted = line, 0, -1

    @property
    def rest(self) -> str:
        return self.line[self.at :]

    def takes(self, word: str) -> bool:
        """Go on past a word if it stands here."""
        there = self.line.startswith(word, self.at)
        self.at += len(word) if there else 0
        return there

    def needs(self, word: str) -> None:
        if not self.takes(word):
            raise ValueError(f"{word!r} is missing before {self.rest[:40]!r}")

    def maybe(self, pattern: "re.Pattern[str]") -> "re.Match[str] | None":
        found = pattern.match(self.line, self.at)
        self.at = self.at if found is None else found.end()
        return found

    def match(self, pattern: "re.Pattern[str]", what: str) -> "re.Match[str]":
        found = self.maybe(pattern)
        if found is None:
            raise ValueError(f"{what} is missing before {self.rest[:40]!r}")
        return found

    def type(self) -> tuple[str, tuple[int, ...]]:
        found = self.match(_TYPE, "a dtype and shape")
        sizes = [-1 if size == "?" else int(size[:20]) for size in found[2].split(", ") if size]
        if any(size > LARGEST for size in sizes):
            raise ValueError("no tensor is that large")
        return _unquoted(found[1]), tuple(sizes)

    def members(self) -> dict[str, Any]:
        """What stands in parentheses, of which the first has been read."""
        found: dict[str, Any] = {}
        while not self.takes(")"):
            key = _unquoted(self.match(_OPERATION, "the name of an argument")[0])
            self.needs("=")
            found[key], self.at = _DECODER.raw_decode(self.line, self.at)
            self.takes(", ")
        return found

    def count(self) -> int:
        self._counted += 1
        return self._counted

    def ends(self) -> None:
        if self.rest.strip():
            raise ValueError(f"nothing was expected where {self.rest[:40]!r} stands")


def _lost(text: _Text, start: int) -> NoReturn:
    raise ValueError(f"{text.line[start : text.at]!r} leads nowhere")


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


def _part(text: str) -> str:
    return f"/{_unquoted(text[1:])}" if text.startswith("/") else _unquoted(text)


def _without_quotes(text: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def _fqn(part: str, scope: Scope | None) -> str:
    if part.startswith("/"):
        return part[1:]
    return f"{scope.fqn}.{part}" if scope is not None and scope.fqn else part


def _within(user: Node | None, name: str) -> str:
    owner = "" if user is None else user.fqn if user.kind == "module" else user.scope.fqn if user.scope else ""
    return f"{owner}.{name}" if owner else name


def _operation(text: str) -> tuple[str, str]:
    """The type and the target of an operation."""
    if text.startswith('"') or "." not in text:
        op_type = _unquoted(text)
        return op_type, op_type
    for short, long in SHORT.items():
        if text.startswith(short):
            return op_of(text), long + text.removeprefix(short)
    raise ValueError(f"{text!r} is no operation of torch's")
