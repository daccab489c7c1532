"""What "true dataflow" means, and two witnesses of it that know nothing of this project: torch.fx and torch.export.

The three describe a run in different units. The recorder has module calls and the functions between them, fx has its
proxies, export has ATen operations after functionalization. What they can be asked alike is this: *which tensor goes
from which call of a leaf module to which other one?* So each is first put as a `Trace`, a list of steps in order of
execution, and `contract` then answers for all of them with the same few lines:

* A **leaf** is a ``torch.nn`` module without children, or ``nn.MultiheadAttention``, whose only child is never
  called. That is decided from the module alone, by `is_leaf`, for every side. A module that is called without being
  part of the model counts as a function.
* A leaf call is written ``path#call``. ``path`` is the first of the module's names in ``named_modules()``, ``call``
  counts that module's calls from 0 in order of execution. The tensors that the model was given are ``input#0``,
  ``input#1``, … in that order, and everything that it returned is ``output``.
* An **edge** A → B says: a tensor that A made reaches B, directly or through functions, with no other leaf call in
  between.

What is left out, on every side alike, and why:

* *Leaf calls that return the very object they were given*, such as Identity, or Dropout in eval. They make no tensor.
  `handed_on` finds them by running the model.
* *Conversions of a tensor to the dtype that it has*, which return that very object too. A normalization begins with
  one, and neither side can tell the tensor that it returned from the one beside it on the residual path. So nothing
  was made by a conversion inside a leaf call: it stands for what it was given.
* *What is read off a tensor and is none*: ``torch.zeros(x.shape)`` does not depend on a tensor. fx cannot tell a size
  from a tensor, so what it traced is run once to see which is which.
* *Parameters, buffers and constants.* They are made by no call.
* *In-place activations*, which `without_in_place` turns off. fx does not see that ``ReLU(inplace=True)`` changes its
  input, so it would draw an edge from the layer before where the tensor comes from the activation.
* *Dead code*, where the other side is torch.export, which drops it: steps that no output depends on.
"""

import operator
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple
from unittest.mock import patch

from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from recorder import Graph, Recorder

__all__ = [
    "Edge",
    "Step",
    "Trace",
    "by_export",
    "by_fx",
    "by_recorder",
    "contract",
    "functions",
    "handed_on",
    "has_no_children",
    "is_leaf",
    "record",
    "without_dead_code",
    "without_in_place",
]

Edge = tuple[str, str]
Leaf = Callable[[nn.Module], bool]


class Step(NamedTuple):
    """One operation. ``call`` is the leaf call that it belongs to, None for a function outside of every leaf; ``uses``
    and ``makes`` identify tensors; ``op`` is the function's name, "" if it only packs or unpacks a tuple; ``within``
    is the path of the module that called it."""

    call: str | None
    uses: tuple[Hashable, ...]
    makes: tuple[Hashable, ...]
    op: str = ""
    within: str = ""


class Trace(NamedTuple):
    """A run of a model: its inputs with their labels, the steps in order of execution, and what it returned."""

    inputs: dict[Hashable, str]
    steps: list[Step]
    outputs: tuple[Hashable, ...]


# The one definition of an edge


def contract(trace: Trace, handed_on: Iterable[str] = ()) -> set[Edge]:
    """The edges between leaf calls, looking through those in ``handed_on`` as if they were functions."""
    through = frozenset(handed_on)
    edges: set[Edge] = set()
    for step, sources in _walk(trace, through):
        target = "output" if step is None else step.call
        if target is not None and target not in through:
            edges |= {(source, target) for source in sources if source != target}
    return edges


def _walk(trace: Trace, through: frozenset[str]) -> Iterator[tuple[Step | None, frozenset[str]]]:
    """Each step with the leaf calls and inputs whose tensors reach it; at last None, for what is returned."""
    reach: dict[Hashable, frozenset[str]] = {key: frozenset({label}) for key, label in trace.inputs.items()}
    for step in trace.steps:
        sources = frozenset(label for key in step.uses for label in reach.get(key, ()))
        yield step, sources
        made = sources if step.call is None or step.call in through else frozenset({step.call})
        reach.update(dict.fromkeys(step.makes, made))
    yield None, frozenset(label for key in trace.outputs for label in reach.get(key, ()))


def without_dead_code(trace: Trace) -> Trace:
    """The trace without the steps that no output depends on. A leaf call lives or dies as a whole."""
    needed = set(trace.outputs)
    calls: set[str] = set()
    kept: list[Step] = []
    for step in reversed(trace.steps):
        if step.call in calls or not needed.isdisjoint(step.makes):
            kept.append(step)
            needed.update(step.uses)
            if step.call is not None:
                calls.add(step.call)
    return trace._replace(steps=kept[::-1])


def functions(
    trace: Trace, handed_on: Iterable[str], names: Mapping[str, str], hidden: Iterable[str] = ()
) -> Counter[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    """The functions outside of leaf calls: the module that called each, its name, the leaf calls that reach it, and
    those that it reaches. Equal counts mean the same functions at the same places between the same leaf calls.

    Functions that no leaf call and no input reaches are left out: fx runs them while it traces.

    Args:
        handed_on: leaf calls to look through.
        names: common names for a side's own ones, where they differ.
        hidden: paths of modules whose functions are not looked at.
    """
    hidden, through = frozenset(hidden), frozenset(handed_on)
    below: dict[Hashable, set[str]] = {}
    for key in trace.outputs:
        below.setdefault(key, set()).add("output")
    found: Counter[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = Counter()
    for step, above in reversed(list(_walk(trace, through))):
        if step is None:
            continue
        is_call = step.call is not None and step.call not in through
        reached = {step.call} if is_call else {label for key in step.makes for label in below.get(key, ())}
        for key in step.uses:
            below.setdefault(key, set()).update(reached)
        if step.call is None and step.op and above and step.within not in hidden:
            found[step.within, names.get(step.op, step.op), tuple(sorted(above)), tuple(sorted(reached))] += 1
    return found


# What all sides share: what a leaf is, and how its calls are numbered


def is_leaf(module: nn.Module) -> bool:
    """Whether a call of the module is one step, whatever it does inside."""
    own = type(module).__module__.startswith("torch.nn.modules.")
    return own and (not list(module.children()) or isinstance(module, nn.MultiheadAttention))


def has_no_children(module: nn.Module) -> bool:
    """The same for modules of any library, such as the normalizations of transformers."""
    return is_leaf(module) or not list(module.children())


class _Calls:
    """Numbers the calls of each module, from 0."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def next(self, path: str) -> str:
        self._seen[path] += 1
        return f"{path}#{self._seen[path] - 1}"


def _converts_nothing(op: str, given: Sequence[Any], made: Sequence[Any]) -> bool:
    """Whether a conversion asked for the dtype and device that the tensor had: then it returned the very tensor."""
    if op not in ("to", "float", "type", "type_as") or not given or not made:
        return False
    return given[0].dtype == made[0].dtype and given[0].device == made[0].device


def without_in_place(net: nn.Module) -> nn.Module:
    """The model itself, its in-place activations turned into ordinary ones."""
    for module in net.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False
    return net


def handed_on(net: nn.Module, *args: Any, leaf: Leaf = is_leaf, **kwargs: Any) -> set[str]:
    """Run the model, and see with plain torch hooks which leaf calls return the very object they were given."""
    calls = _Calls()
    found: set[str] = set()
    handles = []
    for path, module in net.named_modules():

        def watch(_: nn.Module, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
            call = calls.next(path)
            if any(output is tensor for tensor in _tensors((args, kwargs))):
                found.add(call)

        if leaf(module):
            handles.append(module.register_forward_hook(watch, with_kwargs=True))
    try:
        net(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _tensors(value: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


# The recorder


def record(net: nn.Module, *args: Any, functions: bool = True, **kwargs: Any) -> Graph:
    """The graph of one call of the model, which agrees with itself."""
    with Recorder(net, functions=functions) as r:
        net(*args, **kwargs)
    r.graph.lint()
    return r.graph


def by_recorder(net: nn.Module, graph: Graph, leaf: Leaf = is_leaf) -> Trace:
    """What the recorder says of a call of ``net``."""
    modules = dict(net.named_modules())
    steps: list[Step] = []
    for node in graph.nodes:
        # A call of a module is a node if nothing was recorded inside it, and else a scope around nodes.
        around = [node] if node.fqn is not None else list(node.scope.ancestors()) if node.scope else []
        calls = [f"{at.fqn}#{at.call}" for at in around if at.fqn in modules and leaf(modules[at.fqn])]
        converted = node.kind == "function" and _converts_nothing(node.op_type, node.inputs, node.outputs)
        steps.append(
            Step(
                calls[0] if calls and not converted else None,
                tuple(map(id, node.inputs)),
                tuple(map(id, node.outputs)),
                node.op_type if node.kind == "function" else "",
                around[0].fqn or "" if around else "",
            )
        )
    return Trace({id(v): f"input#{i}" for i, v in enumerate(graph.inputs)}, steps, tuple(map(id, graph.outputs)))


# torch.fx


class _Tracer(fx.Tracer):
    """torch's own tracer, told what a leaf is."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_leaf(m)


class _Run(fx.Interpreter):
    """Runs what was traced, to tell tensors from the sizes and numbers that were read off them."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.tensors: set[fx.Node] = set()
        self.packing: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        takes_apart = n.target is operator.getitem and not isinstance(self.fetch_args_kwargs_from_env(n)[0][0], Tensor)
        if takes_apart or isinstance(n.target, type):
            self.packing.add(n)
        result = super().run_node(n)
        if _tensors(result):
            self.tensors.add(n)
        return result

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        # fx keeps lists as immutable ones, and torchvision's video models write to theirs.
        return target(*(list(a) if isinstance(a, list) else a for a in args), **kwargs)


def by_fx(net: nn.Module, *args: Any) -> Trace:
    """What symbolic tracing says of ``net(*args)``.

    Parameters of forward that ``args`` leaves out are constants: tracing would invent an input for each, and take a
    branch on it.
    """
    unpassed = {p.name: p.default for p in list(signature(net.forward).parameters.values())[len(args) :]}
    graph = _Tracer().trace(net, concrete_args=unpassed or None)
    run = _Run(fx.GraphModule(net, graph))
    # fx shows its progress through tqdm, which starts a thread to watch over it, and leaves it running.
    with patch.object(fx.interpreter.tqdm, "monitor_interval", 0, create=True):
        run.run(*args, *unpassed.values())
    calls = _Calls()
    inputs: dict[Hashable, str] = {}
    steps: list[Step] = []
    outputs: tuple[Hashable, ...] = ()
    for node in graph.nodes:
        uses = tuple(used for used in node.all_input_nodes if used in run.tensors)
        if node.op == "output":
            outputs = uses
        elif node not in run.tensors:
            continue
        elif node.op == "placeholder":
            inputs[node] = f"input#{len(inputs)}"
        elif node.op == "call_module":
            steps.append(Step(calls.next(str(node.target)), uses, (node,)))
        elif node.op in ("call_function", "call_method"):
            name = node.target if isinstance(node.target, str) else node.target.__name__
            within = list(node.meta.get("nn_module_stack", {"": ("", None)}).values())[-1][0]
            steps.append(Step(None, uses, (node,), "" if node in run.packing else name, within))
    return Trace(inputs, steps, outputs)


# torch.export


def by_export(net: nn.Module, program: ExportedProgram, leaf: Leaf = is_leaf) -> Trace:
    """What an exported program says of a call of ``net``.

    An ATen operation belongs to the innermost call on its ``nn_module_stack``, whose key tells a module's calls apart.
    A module goes there by the name that it was called by; one with two names is still one module.
    """
    first = {id(module): path for path, module in net.named_modules()}
    roles = {spec.arg.name: spec.kind for spec in program.graph_signature.input_specs}
    calls = _Calls()
    numbered: dict[str, str] = {}
    inputs: dict[Hashable, str] = {}
    steps: list[Step] = []
    outputs: tuple[Hashable, ...] = ()
    for node in program.graph.nodes:
        uses = tuple(node.all_input_nodes)
        if node.op == "output":
            outputs = uses
        elif node.op == "placeholder" and roles[node.name] is InputKind.USER_INPUT:
            if isinstance(node.meta["val"], Tensor):
                inputs[node] = f"input#{len(inputs)}"
        elif node.op == "call_function":
            key, (path, _) = list(node.meta.get("nn_module_stack", {"": ("", None)}).items())[-1]
            module = net.get_submodule(path)
            if leaf(module) and key not in numbered:
                numbered[key] = calls.next(first[id(module)])
            op = node.target.__name__.partition(".")[0]
            converted = _converts_nothing(op, [used.meta.get("val") for used in uses], [node.meta.get("val")])
            call = None if converted else numbered.get(key)
            steps.append(Step(call, uses, (node,), op, path))
    return Trace(inputs, steps, outputs)
