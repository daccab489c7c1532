"""Random models, random edits of them as torch.fx makes them, and a diff applied to what it is of: the truth that
`recorder.diff` is held to.
"""

import operator
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import fx, nn

from recorder import Diff, Graph, Node, Recorder, Scope

__all__ = ["EDITS", "Truth", "applied", "edited", "facts", "meta", "recorded", "traced"]

UNARY = [torch.relu, torch.tanh, torch.sigmoid, torch.abs, torch.exp, torch.sin]
BINARY = [operator.add, operator.mul, operator.sub]
MODULES: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(8, 8), lambda: nn.Linear(8, 8, bias=False), lambda: nn.LayerNorm(8), lambda: nn.Dropout(0.25),
]  # fmt: skip


class Truth(NamedTuple):
    """How many places an edit adds, removes, changes and renames, and of which types."""

    added: Counter[str] = Counter()  # noqa: RUF012
    removed: Counter[str] = Counter()  # noqa: RUF012
    changed: Counter[str] = Counter()  # noqa: RUF012
    renamed: int = 0


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def recorded(net: nn.Module, *inputs: Any) -> Graph:
    with Recorder(net.to("meta")) as r:  # in eval, dropout returns what it is given
        net(*inputs)
    return r.graph


def traced(rng: random.Random, size: int) -> fx.GraphModule:
    """A chain with side branches: each operation takes the last value or, now and then, an earlier one."""
    root, graph = nn.Module(), fx.Graph()
    values = [graph.placeholder("x")]
    for number in range(size):
        kind = rng.random()
        last, other = values[-1], rng.choice(values[-4:])
        if kind < 0.4:
            root.add_module(f"part{number}x", rng.choice(MODULES)())
            values.append(graph.call_module(f"part{number}x", (last,)))
        elif kind < 0.75:
            values.append(graph.call_function(rng.choice(UNARY), (last,)))
        else:
            values.append(graph.call_function(rng.choice(BINARY), (last, other)))
    graph.output(values[-1])
    return fx.GraphModule(root, graph)


def edited(net: fx.GraphModule, rng: random.Random, kind: str) -> "tuple[fx.GraphModule, Truth] | None":
    """A copy with one edit of a kind, and what is true of it; None if there is nothing to edit so."""
    root, graph = nn.Module(), fx.Graph()
    for name, module in net.named_children():
        root.add_module(name, module)
    graph.output(graph.graph_copy(net.graph, {}))
    copy = fx.GraphModule(root, graph)
    truth = EDITS[kind](copy, rng)
    copy.graph.lint()
    copy.recompile()
    return None if truth is None else (copy, truth)


def _op(net: fx.GraphModule, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(net.get_submodule(str(node.target))).__name__
    return node.target.__name__.strip("_")  # type: ignore[union-attr]


def _calls(net: fx.GraphModule, op: str = "call_") -> list[fx.Node]:
    return [node for node in net.graph.nodes if node.op.startswith(op)]


def _insert(net: fx.GraphModule, rng: random.Random) -> Truth:
    at = rng.choice(_calls(net))
    with net.graph.inserting_after(at):
        if rng.random() < 0.5:
            net.add_module("fresh", nn.Softplus())
            new = net.graph.call_module("fresh", (at,))
        else:
            new = net.graph.call_function(rng.choice([*UNARY, torch.cos]), (at,))
    at.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    return Truth(added=Counter([_op(net, new)]))


def _delete(net: fx.GraphModule, rng: random.Random) -> Truth:
    node = rng.choice(_calls(net))
    name = _op(net, node)
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
    net.graph.erase_node(node)
    return Truth(removed=Counter([name]))


def _replace(net: fx.GraphModule, rng: random.Random) -> Truth | None:
    nodes = [node for node in _calls(net, "call_function") if len(node.args) == 1]
    if not nodes:
        return None
    rng.choice(nodes).target = torch.erf
    return Truth(changed=Counter(["erf"]))


def _retune(net: fx.GraphModule, rng: random.Random) -> Truth | None:
    nodes = [n for n in _calls(net, "call_module") if _op(net, n) in ("LayerNorm", "Dropout")]
    if not nodes:
        return None
    node = rng.choice(nodes)
    old = net.get_submodule(str(node.target))
    setattr(net, str(node.target), nn.LayerNorm(8, eps=0.5) if isinstance(old, nn.LayerNorm) else nn.Dropout(0.75))
    return Truth(changed=Counter([_op(net, node)]))


def _rename(net: fx.GraphModule, rng: random.Random) -> Truth | None:
    nodes = _calls(net, "call_module")
    if not nodes:
        return None
    node = rng.choice(nodes)
    net.add_module("other_name", net.get_submodule(str(node.target)))
    node.target = "other_name"
    net.delete_all_unused_submodules()
    return Truth(renamed=1)


class Wrapper(nn.Module):
    """Around something, and nothing more."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.module(*inputs, **named)


class Twice(nn.Module):
    """Around something, and a function with it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cos(self.inner(x))


def _wrap(net: fx.GraphModule, rng: random.Random) -> Truth | None:
    nodes = [n for n in _calls(net, "call_module") if _op(net, n) != "Dropout"]
    if not nodes:
        return None
    name = str(rng.choice(nodes).target)
    wrapper = rng.choice([Wrapper, Twice])
    setattr(net, name, wrapper(net.get_submodule(name)))
    return Truth(added=Counter([wrapper.__name__]), renamed=1)


def _swap(net: fx.GraphModule, rng: random.Random) -> Truth | None:
    nodes = [n for n in _calls(net, "call_function") if len(n.args) == 2 and n.args[0] is not n.args[1]]
    if not nodes:
        return None
    node = rng.choice(nodes)
    node.args = node.args[::-1]
    return Truth()


EDITS: dict[str, Callable[[fx.GraphModule, random.Random], Truth | None]] = {
    "insert": _insert, "delete": _delete, "replace": _replace, "retune": _retune, "rename": _rename, "wrap": _wrap,
    "swap": _swap,
}  # fmt: skip


# A diff applied


Fact = tuple[str, dict[str, Any], list[Any]]
"""Of a node: its type, what it is told and has, and where its inputs come from."""


def facts(graph: Graph) -> dict[Node, Fact]:
    """All that a diff is to tell of a graph, for each node of a call."""
    found = {}
    for node in graph.nodes:
        had = {**node.attributes}
        for value in node.inputs:
            if value.role in ("parameter", "buffer"):
                name = value.name.rpartition(".")[2]
                had |= {f"{name}.shape": value.shape, f"{name}.dtype": value.dtype}
        for number, value in enumerate(node.outputs):
            name = "output" if len(node.outputs) == 1 else f"output.{number}"
            had |= {f"{name}.shape": value.shape, f"{name}.dtype": value.dtype}
        sources = [v.producer or v.name for v in node.inputs if v.role in ("input", "activation")]
        found[node] = node.op_type, had, sources
    return found


def applied(diff: Diff) -> dict[Node, Fact]:
    """What `facts` are to be of the graph after, from those of the graph before and what the diff tells."""
    pairs = diff.alignment.pairs
    gone, new = _nodes(diff.a, diff.removed, pairs), _nodes(diff.b, diff.added, diff.alignment.back)
    of_a, of_b = facts(diff.a), facts(diff.b)
    result: dict[Node, Fact] = {node: of_b[node] for node in new}
    changes = {change.b: change.what for change in (*diff.changed, *diff.followed)}
    rewired = {change.b for change in diff.rewired}
    for node, (op_type, had, sources) in of_a.items():
        if node in gone:
            continue
        after = pairs[node]
        assert isinstance(after, Node)
        for name, (old, value) in changes.get(after, {}).items():
            if name == "op_type":
                op_type = value
                continue
            assert had.get(name) == old
            had = {k: v for k, v in had.items() if k != name} | ({} if value is None else {name: value})
        sources = (
            of_b[after][2] if after in rewired else [pairs.get(s, s) if isinstance(s, Node) else s for s in sources]
        )
        result[after] = op_type, had, sources
    return result


def _nodes(graph: Graph, places: Any, paired: Any) -> set[Node]:
    """The nodes that are these or in these, but for what was only wrapped."""
    found = set()
    chosen = set(places)
    for node in graph.nodes:
        around: list[Node | Scope] = [node, *(node.scope.ancestors() if node.scope is not None else ())]
        if node not in paired and chosen.intersection(around):
            found.add(node)
    return found
