"""Which place of one graph is which of the other.

From the outside in: the places in a scope are aligned with those in the scope that it is in the other graph. Names come
first, and what is built alike where names do not tell: items of a list, which an insertion shifts, and functions. Then
what is left over is looked for elsewhere, as what was renamed, wrapped or moved: `recorder.relations.moves`.

What is alike is passed once, so the time is linear in it; what differs is weighed pair by pair, within its scope.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

from recorder.graph.core import Graph, Scope, Value
from recorder.graph.outline import Outline, Place
from recorder.relations.likeness import Likeness, is_numbered
from recorder.relations.moves import match_moved
from recorder.relations.sequences import in_order

__all__ = ["Alignment"]

DEPTH = 3
"""How many wrappers around something are looked through."""


class Alignment:
    """``pairs`` are the places of ``a`` with those of ``b`` that they are, ``back`` the same the other way, and
    ``given`` the inputs of ``a`` with those of ``b``: by name, then by position.
    """

    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = Outline(a), Outline(b)
        self.likeness = Likeness(self.a, self.b)
        self.pairs: dict[Place, Place] = {}
        self.back: dict[Place, Place] = {}
        self.given = _inputs(a, b)
        self._open: list[tuple[Scope | None, Scope | None]] = [(None, None)]
        self._run()
        match_moved(self)

    def pair(self, x: Place, y: Place) -> None:
        """Take two places for the same, and what is in them for what is to be aligned."""
        if x in self.pairs or y in self.back:
            return
        self.pairs[x], self.back[y] = y, x
        if isinstance(x, Scope) and isinstance(y, Scope):
            self._open.append((x, y))
            self._run()

    def renamed(self, name: str) -> str:
        """What a parameter of ``a`` is called in ``b``, after the module that it is in."""
        for owner, rest in _owners(name):
            if owner in self._modules:
                new = self._modules[owner]
                return f"{new}.{rest}" if new else rest
        return name

    def around_parameter(self, name: str) -> Place | None:
        """The innermost place of ``b`` that a parameter is in and that ``a`` has as well; None if that is a new one."""
        for owner, _ in _owners(name):
            if owner in self._places:
                place = self._places[owner]
                return place if place in self.back else None
        return None

    @cached_property
    def _modules(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for x, y in self.pairs.items():
            if x.fqn is not None and y.fqn is not None:
                found.setdefault(x.fqn, y.fqn)
        return found

    @cached_property
    def _places(self) -> dict[str, Place]:
        found: dict[str, Place] = {}
        places: list[Place] = [*self.b.scopes(), *self.b.nodes]
        for place in places:
            if place.fqn is not None:
                found.setdefault(place.fqn, place)
        return found

    def _run(self) -> None:
        """Not by recursion: scopes may nest a thousand deep."""
        while self._open:
            x, y = self._open.pop()
            for one, other in self._aligned(self.a.children[x], self.b.children[y]):
                one, other = self._unwrapped(one, other)
                if one not in self.pairs and other not in self.back:
                    self.pairs[one], self.back[other] = other, one
                    if isinstance(one, Scope) and isinstance(other, Scope):
                        self._open.append((one, other))

    def _aligned(self, xs: Sequence[Place], ys: Sequence[Place]) -> list[tuple[Place, Place]]:
        xs = [x for x in xs if x not in self.pairs]
        ys = [y for y in ys if y not in self.back]
        shifts = _rises(self.a, xs) and _rises(self.b, ys)
        begin, end = 0, 0
        while begin < min(len(xs), len(ys)) and self._same(xs[begin], ys[begin], False):
            begin += 1
        found = [*zip(xs[:begin], ys[:begin])]
        while end < min(len(xs), len(ys)) - begin and self._same(xs[-1 - end], ys[-1 - end], shifts):
            end += 1
        found += zip(xs[len(xs) - end :], ys[len(ys) - end :])
        xs, ys = xs[begin : len(xs) - end], ys[begin : len(ys) - end]
        named = self._by_name(xs, ys, shifts)
        found += named.items()
        taken = {*named, *named.values()}
        rest = [x for x in xs if x not in taken], [y for y in ys if y not in taken]
        found += in_order(*rest, self._worth, lambda place: (self.likeness.alike[place], self.likeness.context[place]))
        return found

    def _same(self, x: Place, y: Place, shifts: bool) -> bool:
        """Whether two places are surely the same, seen in order."""
        if self.likeness.alike[x] != self.likeness.alike[y] or self.likeness.context[x] != self.likeness.context[y]:
            return False
        one, other = self.a.base(x), self.b.base(y)
        return one == other or (shifts and is_numbered(one) and _stem(one) == _stem(other))

    def _by_name(self, xs: Sequence[Place], ys: Sequence[Place], shifts: bool) -> dict[Place, Place]:
        """Modules that have the same name in both, which no list gave."""

        def names(outline: Outline, places: Sequence[Place]) -> dict[str, Place]:
            found = [(outline.base(p), p) for p in places if p.fqn is not None]
            often = Counter(name for name, _ in found)
            return {name: p for name, p in found if often[name] == 1 and not (shifts and is_numbered(name))}

        others = names(self.b, ys)
        return self._exchanged({x: others[name] for name, x in names(self.a, xs).items() if name in others})

    def _exchanged(self, named: dict[Place, Place]) -> dict[Place, Place]:
        """Blocks of which each is built like the namesake of the other have changed their places."""
        alike, size = self.likeness.alike, self.likeness.size
        waiting: dict[tuple[int, int], Place] = {}
        found = dict(named)
        for x, y in named.items():
            if alike[x] != alike[y] and min(size[x], size[y]) > 1:
                other = waiting.pop((alike[y], alike[x]), None)
                if other is None:
                    waiting[alike[x], alike[y]] = x
                else:
                    found[x], found[other] = named[other], y
        return found

    def _worth(self, x: Place, y: Place) -> float:
        """What it is worth to take two places in order for the same. Nodes that are alike count most, then names."""
        like = self.likeness
        if (x.fqn is None) != (y.fqn is None):
            return 0.0
        alike = like.alike[x] == like.alike[y]
        context = like.context[x] == like.context[y]
        if x.fqn is None:
            if x.op_type != y.op_type:  # worth little: it may have been replaced where it stood
                return 8.0 if context and like.context[x] and like.use[x] == like.use[y] else 0.0
            named = self.a.names[x] == self.b.names[y]
            return (100.0 if alike else 40.0) + 20.0 * context + 3.0 * named
        named = self.a.base(x) == self.b.base(y)
        size = min(like.size[x], like.size[y], 1000)
        if alike:
            return 100.0 * size + 20.0 * context + 3.0 * named
        similar = like.similarity(x, y)
        if x.op_type == y.op_type and (named or similar > 0.4):
            return 80.0 * similar * size + 10.0 * context + 3.0 * named
        return 60.0 * similar * size + 20.0 + 3.0 if named or similar > 0.6 else 0.0

    def _unwrapped(self, x: Place, y: Place) -> tuple[Place, Place]:
        """What of two places is the same where one is a wrapper around what the other is."""
        like = self.likeness
        if like.alike[x] == like.alike[y] or x.fqn is None:
            return x, y
        if isinstance(y, Scope) and (inner := self._within(self.b, y, x)) is not None:
            return x, inner
        if isinstance(x, Scope) and (inner := self._within(self.a, x, y)) is not None:
            return inner, y
        return x, y

    def _within(self, outline: Outline, scope: Scope, wanted: Place) -> Place | None:
        """What in a scope is built like something else, and more like it than the scope itself."""
        like = self.likeness
        other_type = scope.op_type != wanted.op_type
        best, found = 0.75 * like.similarity(scope, wanted) if other_type else 0.99, None
        level: Sequence[Place] = [scope]
        for _ in range(DEPTH):
            level = [p for s in level if isinstance(s, Scope) for p in outline.children[s] if p.fqn is not None]
            for place in level:
                similar = like.similarity(place, wanted) if place.op_type == wanted.op_type else 0.0
                if similar > max(best, 0.5):
                    best, found = similar, place
            if found is not None:
                return found
        return found


def _owners(name: str) -> Iterator[tuple[str, str]]:
    """The modules that a parameter is in, by its name, the innermost first, and its name in each."""
    parts = name.split(".")
    for at in range(len(parts) - 1, 0, -1):
        if owner := ".".join(parts[:at]):
            yield owner, ".".join(parts[at:])
    yield "", name


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _rises(outline: Outline, places: Sequence[Place]) -> bool:
    """Whether the items of each list run in the order of their numbers, each once: then the numbers may be shifted."""
    last: dict[str, int] = {}
    for place in places:
        name = outline.base(place) if place.fqn is not None else ""
        if is_numbered(name):
            stem, number = _stem(name), int(name.rpartition(".")[2][:18])
            if last.get(stem, -1) >= number:
                return False
            last[stem] = number
    return True


def _inputs(a: Graph, b: Graph) -> dict[Value, Value]:
    names: defaultdict[str, list[Value]] = defaultdict(list)
    for value, name in zip(reversed(b.inputs), reversed(b.input_names)):
        names[name].append(value)
    found = {v: names[name].pop() for v, name in zip(a.inputs, a.input_names) if names[name]}
    there = set(found.values())
    return found | dict(zip([v for v in a.inputs if v not in found], [w for w in b.inputs if w not in there]))
