"""Random edits of the module trees of real models, and what is true of each: what a diff is held to, beside `edits`,
which has them on graphs of torch.fx.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Callable

from support.edits import Truth, Wrapper
from torch import nn

from recorder import Graph

__all__ = ["MODULE_EDITS"]

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh)
NORMS = (nn.BatchNorm2d, nn.LayerNorm)


def _calls(graph: Graph) -> Counter[str]:
    """How often each module was called."""
    return Counter(place.fqn for place in (*graph.nodes, *graph.scopes) if place.fqn)


def _owner(net: nn.Module, name: str) -> tuple[nn.Module, str]:
    parent, _, last = name.rpartition(".")
    return net.get_submodule(parent), last


def _numbered(net: nn.Module, graph: Graph) -> list[nn.Sequential]:
    calls = _calls(graph)
    found = [(name, module) for name, module in net.named_modules() if type(module) is nn.Sequential and len(module)]
    return [module for name, module in found if name in calls and all(map(str.isdigit, module._modules))]  # type: ignore[misc]


def _of_kind(net: nn.Module, graph: Graph, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    return sorted(name for name in _calls(graph) if type(net.get_submodule(name)) in kinds)


def insert(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """A layer more in the middle of a Sequential, which renames those behind it."""
    found = _numbered(net, graph)
    if not found:
        return None
    sequential = rng.choice(found)
    sequential.insert(rng.randint(0, len(sequential)), nn.Hardtanh())
    return Truth(added=Counter(["Hardtanh"]))


def delete(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """A layer less in a Sequential."""
    kinds = (*ACTIVATIONS, nn.Dropout)
    found = [(s, i) for s in _numbered(net, graph) if len(s) > 1 for i, child in enumerate(s) if type(child) in kinds]
    if not found:
        return None
    sequential, at = rng.choice(found)
    kind = type(sequential[at]).__name__
    del sequential[at]
    return Truth(removed=Counter([kind]))


def replace(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """Another activation."""
    found = _of_kind(net, graph, ACTIVATIONS)
    if not found:
        return None
    name = rng.choice(found)
    setattr(*_owner(net, name), nn.Softplus())
    return Truth(changed=Counter({"Softplus": _calls(graph)[name]}))


def retune(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """Another eps."""
    found = _of_kind(net, graph, NORMS)
    if not found:
        return None
    name = rng.choice(found)
    module = net.get_submodule(name)
    module.eps = 0.5
    return Truth(changed=Counter({type(module).__name__: _calls(graph)[name]}))


def rename(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """Another name for a child of a Sequential whose children have names."""
    found = [
        n for n in _calls(graph) if type(_owner(net, n)[0]) is nn.Sequential and not n.rpartition(".")[2].isdigit()
    ]
    if not found:
        return None
    parent, last = _owner(net, rng.choice(sorted(found)))
    parent._modules = OrderedDict(("other_name" if name == last else name, m) for name, m in parent._modules.items())
    return Truth(renamed=1)


def wrap(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """A module around one."""
    calls = _calls(graph)
    found = sorted(n for n in calls if not isinstance(net.get_submodule(n), nn.Identity | nn.Dropout))
    name = rng.choice(found)
    setattr(*_owner(net, name), Wrapper(net.get_submodule(name)))
    return Truth(added=Counter({"Wrapper": calls[name]}), renamed=1)


def swap(net: nn.Module, graph: Graph, rng: random.Random) -> Truth | None:
    """Two branches of one module, each in the place of the other."""
    branches: dict[str, list[str]] = {}
    for name in sorted(_calls(graph)):
        parent, _, last = name.rpartition(".")
        if last.startswith("branch") and isinstance(net.get_submodule(name), nn.Sequential):
            branches.setdefault(parent, []).append(last)
    found = [(parent, names) for parent, names in branches.items() if len(names) > 1]
    if not found:
        return None
    parent, names = rng.choice(found)
    one, other = rng.sample(names, 2)
    modules = net.get_submodule(parent)._modules
    modules[one], modules[other] = modules[other], modules[one]
    return Truth(renamed=2)


MODULE_EDITS: dict[str, Callable[[nn.Module, Graph, random.Random], Truth | None]] = {
    edit.__name__: edit for edit in (insert, delete, replace, retune, rename, wrap, swap)
}
