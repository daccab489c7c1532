"""A diff in words: lines for a terminal, and Markdown for a comment.

What is the same at many places is one line, as is a block of many nodes, or a list whose items have moved on by one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recorder.graph.core import Node, Scope
from recorder.graph.outline import Place, around
from recorder.relations.likeness import is_numbered
from recorder.terminal import in_one_line

if TYPE_CHECKING:
    from recorder.relations.diff import Change, Diff

__all__ = ["SIGNS", "as_markdown", "as_text", "is_told", "lists", "title", "what_in_words"]

SIGNS = {"added": "+", "removed": "−", "changed": "~", "rewired": "»", "renamed": "="}
"""What marks each kind of difference, wherever one is told."""

PLACES, PARTS, LONGEST = 3, 6, 160
IN_MARKDOWN = 40


class Line(NamedTuple):
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{SIGNS.get(self.kind, ' ')} {in_one_line(self.text)}"


def as_text(diff: "Diff", lines: int | None) -> str:
    """The difference in lines, of which the first says how much there is, and the last what it costs."""
    if not diff:
        return "the same architecture"
    found = list(_lines(diff))
    around_them = [title(diff), *lists(diff)], [", ".join(map(str, diff.costs))]
    if lines is not None and len(found) > (room := max(lines - sum(map(len, around_them)) - 1, 1)):
        more = len(found) - room
        found[room:] = [Line("", f"… and {more} line{'s' * (more > 1)} more")]
    return "\n".join([*map(in_one_line, around_them[0]), *map(str, found), *around_them[1]])


def as_markdown(diff: "Diff") -> str:
    """A heading in bold, what differs in a block that GitHub colours, and a table of the costs."""
    if not diff:
        return "**The architecture is the same.**\n"
    found = list(_lines(diff))
    more = len(found) - IN_MARKDOWN
    if more > 1:
        found[IN_MARKDOWN:] = [Line("", f"… and {more} lines more")]
    # GitHub knows the signs of its own diffs alone: minus is a hyphen there, and an exclamation mark is for changes.
    told = {"removed": "-", "changed": "! ~", "rewired": "! »", "renamed": "# ="}
    lines = [f"{told.get(line.kind, SIGNS.get(line.kind, ' '))} {in_one_line(line.text)}" for line in found]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", "\n".join(lines))), default=0))
    rows = [f"| {cost.name} | {' | '.join(_cells(str(cost), cost.name))} |" for cost in diff.costs]
    return "\n".join(
        [
            f"**{_plain(title(diff))}**", "", *(f"{_plain(line)}  " for line in lists(diff)),
            f"{fence}diff", *lines, fence, "",
            "| | before | after |", "|---|---|---|", *rows, "",
        ]
    )  # fmt: skip


def _cells(told: str, name: str) -> tuple[str, str]:
    before, arrow, after = told.removeprefix(f"{name} ").partition(" → ")
    return before, after if arrow else before


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", in_one_line(text))


def title(diff: "Diff") -> str:
    """How much differs, in one line."""
    counts = [
        f"{len(found)} {kind}" for kind in ("added", "removed", "changed", "rewired", "renamed")
        if (found := getattr(diff, kind))
    ]  # fmt: skip
    counts += [f"{len(diff.followed)} with other shapes"] if diff.followed else []
    name = diff.b.name if diff.a.name in ("", diff.b.name) else f"{diff.a.name} → {diff.b.name}"
    return f"{name or 'graph'}: {', '.join(counts) or 'the same'}"


def lists(diff: "Diff") -> list[str]:
    """Of which lists of blocks the length differs: ``encoder: 12 → 13 layers``."""
    found: dict[tuple[Scope | None, str], None] = {}
    alignment = diff.alignment
    for place in diff.added:
        if place.fqn is not None and is_numbered(alignment.b.base(place)):
            found[around(place), alignment.b.base(place).rpartition(".")[0]] = None
    for place in diff.removed:
        if place.fqn is not None and is_numbered(name := alignment.a.base(place)):
            outer = around(place)
            other = alignment.pairs.get(outer) if outer is not None else None
            if other is None or isinstance(other, Scope):
                found[other, name.rpartition(".")[0]] = None
    lines = []
    for scope, stem in found:
        other = None if scope is None else alignment.back.get(scope)
        if (other is None) == (scope is None) and (other is None or isinstance(other, Scope)):
            before = _items(alignment.a.base, alignment.a.children[other], stem)
            after = _items(alignment.b.base, alignment.b.children[scope], stem)
            if before != after and before:
                name = diff.b.name if scope is None else scope.fqn or scope.op_type
                lines.append(f"{name}: {before} → {after} {stem.rpartition('.')[2].lstrip('/') or 'items'}")
    return lines


def _items(base: Any, places: Sequence[Place], stem: str) -> int:
    names = {base(place) for place in places if place.fqn is not None}
    return sum(is_numbered(name) and name.rpartition(".")[0] == stem for name in names)


def _lines(diff: "Diff") -> Iterator[Line]:
    for kind, places in (("added", diff.added), ("removed", diff.removed)):
        yield from _of_places(diff, kind, places)
    yield from _of_changes(diff, "changed", diff.changed)
    yield from _of_changes(diff, "rewired", [change for change in diff.rewired if not is_told(diff, change)])
    yield from (Line("renamed", line) for line in _renames(diff.renamed))
    if diff.followed:
        names = [diff.name(change.b) for change in diff.followed]
        yield Line("", f"with other shapes, as what they are given has: {_listed(names)}")


def _of_places(diff: "Diff", kind: str, places: Sequence[Place]) -> Iterator[Line]:
    """Places that are alike and stand together are one line."""
    grouped: defaultdict[tuple[object, ...], list[Place]] = defaultdict(list)
    for place in places:
        key = diff.alignment.likeness.alike[place], re.sub(r"\d+", "*", diff.name(place))
        grouped[key].append(place)
    for alike in grouped.values():
        yield Line(kind, f"{_listed([diff.name(p) for p in alike])}  {_told(diff, alike)}")


def _told(diff: "Diff", alike: Sequence[Place]) -> str:
    """What places are, and where they stand: those of one scope between what is around all of them, others as the
    first of them does.
    """
    place = alike[0]
    last = alike[-1] if all(around(each) is around(place) for each in alike) else place
    alignment = diff.alignment
    new = place in alignment.b.parts
    outline, paired = (alignment.b, alignment.back) if new else (alignment.a, alignment.pairs)
    size = alignment.likeness.size[place]
    told = place.op_type + (f" of {size} nodes" if isinstance(place, Scope) and size > 1 else "")
    inner = _wrapped(outline.children, place, paired)
    if inner is not None:
        told += f" around {diff.name(inner)}"
    siblings = outline.children[around(place)]
    before = next((v.producer for v in place.inputs if v.producer is not None), None)
    source = None if before is None else outline.child(before, around(place))
    user = next((user for value in last.outputs for user, _ in value.uses), None)
    use = None if user is None else outline.child(user, around(place))
    ends = [diff.name(end) for end in (source, use) if end is not None and end not in alike]
    if len(ends) == 2:
        told += f", between {ends[0]} and {ends[1]}"
    elif ends:
        told += f", {'before' if source is None else 'after'} {ends[0]}"
    elif place in siblings and (at := siblings.index(place)) + 1 < len(siblings):
        told += f", before {diff.name(siblings[at + 1])}"
    return told


def _wrapped(children: dict[Scope | None, list[Place]], place: Place, paired: dict[Place, Place]) -> Place | None:
    stack = [place]
    while stack:
        at = stack.pop()
        if at in paired:
            return at
        if isinstance(at, Scope):
            stack += children[at]
    return None


def _of_changes(diff: "Diff", kind: str, changes: Sequence["Change"]) -> Iterator[Line]:
    """What changed alike at several places is one line."""
    grouped: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        words = what_in_words(change.what)
        if kind == "rewired":
            words = re.sub(r"\d+", "*", words) if len(changes) > 12 else words
        grouped[change.b.op_type, words].append(change)
    for (op_type, words), alike in grouped.items():
        names = [diff.name(change.b) for change in alike]
        yield Line(kind, f"{_listed(names)}  {op_type}  {words if len(alike) > 1 else what_in_words(alike[0].what)}")


def is_told(diff: "Diff", change: "Change") -> bool:
    """Whether an input comes from elsewhere because something was put between, or taken out."""
    if not isinstance(change.a, Node) or not isinstance(change.b, Node):
        return bool(diff.added or diff.removed)
    new = any(v.producer is not None and v.producer not in diff.alignment.back for v in change.b.inputs)
    return new or any(v.producer is not None and v.producer not in diff.alignment.pairs for v in change.a.inputs)


def _renames(renamed: Iterable["Change"]) -> Iterator[str]:
    """``layers.6–11 → layers.7–12`` for items of a list that moved on together."""
    runs: list[list[tuple[str, str]]] = []
    for change in renamed:
        pair: tuple[str, str] = change.what["name"]
        if runs and _follow(runs[-1][-1], pair):
            runs[-1].append(pair)
        else:
            runs.append([pair])
    for run in runs:
        if len(run) == 1:
            yield f"{run[0][0] or '(the model)'} → {run[0][1] or '(the model)'}"
        else:
            yield " → ".join(f"{run[0][side]}–{run[-1][side].rpartition('.')[2]}" for side in (0, 1))


def _follow(pair: tuple[str, str], after: tuple[str, str]) -> bool:
    """Whether two renamings are of items that follow each other."""
    return all(
        is_numbered(one)
        and is_numbered(other)
        and one.rpartition(".")[0] == other.rpartition(".")[0]
        and int(one.rpartition(".")[2][:18]) + 1 == int(other.rpartition(".")[2][:18])
        for one, other in zip(pair, after)
    )


def what_in_words(what: dict[str, tuple[Any, Any]]) -> str:
    """``kernel_size: 3×3 → 5×5, padding: 1×1 → 2×2``."""
    if "op_type" in what:  # then what only one of the types has is a matter of course
        what = {name: pair for name, pair in what.items() if name == "op_type" or None not in pair}
    told = [f"{name}: {_value(a)} → {_value(b)}" for name, (a, b) in what.items()]
    more = len(told) - PARTS
    return ", ".join([*told[:PARTS], f"and {more} more"] if more > 0 else told)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and all(type(part) is int for part in value):
        return "×".join(map(str, value)) or "scalar"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _listed(names: Sequence[str]) -> str:
    """Several names in a line: those that differ by numbers alone as one."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        kinds[re.sub(r"\d+", "*", name)].append(name)
    told = [alike[0] if len(alike) == 1 else f"{_pattern(alike)} ({len(alike)} places)" for alike in kinds.values()]
    more = len(told) - PLACES
    return ", ".join([*told[:PLACES], f"and {more} more"] if more > 1 else told)


def _pattern(names: Sequence[str]) -> str:
    """What names have in common, with a star for each number that differs."""
    parts = [re.split(r"(\d+)", name) for name in names]
    return "".join(column[0] if len(set(column)) == 1 else "*" for column in zip(*parts))
