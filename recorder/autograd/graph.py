"""The autograd graph: what backward goes through, read from the tensors that it begins at.

Two steps. `walk` follows ``next_functions`` and writes down plain records; `build` makes a `Graph` of them, and needs
neither torch nor the tensors. Nothing that is returned keeps a tensor or an autograd node alive, nothing recurses, and
no hook of the user's runs.

The arrows point forward, as torchviz draws them: from leaf tensors through their AccumulateGrad to the outputs.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recorder.capture.autograd_nodes import in_order
from recorder.capture.describe import is_plain, plain
from recorder.capture.tensor_facts import facts, quietly, sequence_of, tensors_in
from recorder.events.types import TensorMeta
from recorder.graph.core import Graph, Node, Role, Value
from recorder.graph.names import Namespace

__all__ = ["Leaf", "Named", "Step", "Walk", "autograd_graph", "build", "meta_of", "named", "some_tensors", "walk"]

Named = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]
"""Tensors by name: a dict, or pairs as ``net.named_parameters()`` gives them."""

SAVED, RAW = "_saved_", "_raw_saved_"
"""An autograd node has what it saved under the first prefix; if that is a tensor, what holds it under the second."""

_SHOWN = hasattr(torch._C._autograd.SavedTensor, "unpack_hook")
"""Whether a saved tensor can be looked at without unpacking it, which would run hooks: not so in torch 2.8."""

UNKNOWN = TensorMeta((-1,), "unknown", "unknown", True)
"""Where autograd keeps no word about an output."""

_WORDS = (torch.dtype, torch.device, torch.layout, torch.memory_format)


class Leaf(NamedTuple):
    """A tensor that no autograd node made. ``identity`` is its `id`, which is good for as long as it lives."""

    identity: int
    meta: TensorMeta
    parameter: bool


class Step(NamedTuple):
    """One autograd node. ``next`` has, for each of its ``next_functions``, the position of that node and the number of
    that node's output, or None; ``leaf`` is what an AccumulateGrad accumulates into. ``custom``: it belongs to an
    ``autograd.Function`` that somebody has written.

    ``sequence`` counts, per thread, in the order of forward; for every AccumulateGrad it is
    `recorder.capture.tensor_facts.ACCUMULATES`.
    """

    sequence: int
    op_type: str
    target: str
    custom: bool
    next: tuple[tuple[int, int] | None, ...]
    outputs: tuple[TensorMeta, ...]
    leaf: Leaf | None
    attributes: dict[str, Any]


class Walk(NamedTuple):
    """``steps`` stand after all that they lead to. ``ends`` has, for each tensor that the walk began at, the position
    of the node that made it and the number of its output, or the tensor itself as a leaf.
    """

    steps: list[Step]
    ends: list[tuple[int, int] | Leaf]


def autograd_graph(
    outputs: Any, params: Named | None = None, *, saved: bool = False, attributes: bool = False
) -> Graph:
    """The graph that autograd has built for some outputs.

    Every autograd node is a `Node` of kind "autograd", in the order of forward; its outputs are what it would get
    gradients for. Leaf tensors are the inputs of their AccumulateGrad: parameters are the graph's initializers, other
    tensors its inputs. An output that autograd knows nothing of is a constant.

    Args:
        outputs: a tensor, or any nesting of lists, tuples, mappings and dataclasses with tensors in it.
        params: names for leaf tensors: a dict, or pairs such as ``net.named_parameters()``. What is named is a
            parameter; so is every ``nn.Parameter``.
        saved: describe in a node's attributes the tensors that it has saved for backward: ``"float32[64, 3, 7, 7]"``,
            or ``"freed"`` after backward. What hooks have packed, as activation checkpointing does, is
            ``"packed by a hook"``: unpacking it would run the user's code. Nothing where torch does not show what is
            saved without unpacking it, as version 2.8.
        attributes: put the other arguments that it has kept into its attributes.

    Raises:
        TypeError: there is no tensor in ``outputs``, or ``params`` are no named tensors.
    """
    pairs = named(params)
    found = walk(some_tensors(outputs), saved=saved, attributes=attributes)
    return build(found, {id(tensor): name for name, tensor in reversed(pairs)})  # of two names, the first


def some_tensors(outputs: Any) -> list[Tensor]:
    """The tensors in any nesting of outputs, in order.

    Raises:
        TypeError: there is none.
    """
    found = list(tensors_in(outputs))
    if not found:
        raise TypeError(
            f"there is no tensor in what was given, which is a {type(outputs).__name__}: "
            "pass tensors, or lists, tuples, dicts or dataclasses with tensors in them"
        )
    return found


def named(params: Named | None) -> list[tuple[str, Tensor]]:
    """Pairs of name and tensor.

    Raises:
        TypeError: they are something else.
    """
    if isinstance(params, nn.Module):
        raise TypeError("params is a module: pass its named_parameters()")
    pairs = list(params.items() if isinstance(params, Mapping) else params or ())
    for pair in pairs:
        match pair:
            case (str(), Tensor()):
                continue
        raise TypeError("params are tensors by name: a dict, or pairs such as net.named_parameters()")
    return pairs


# Reading


def walk(tensors: Sequence[Tensor], *, saved: bool = False, attributes: bool = False) -> Walk:
    """Everything that autograd can reach from some tensors, as plain records."""
    with quietly():
        makers = [tensor.grad_fn for tensor in tensors]
        order = in_order(fn for fn in makers if fn is not None)
        position = {fn: i for i, fn in enumerate(order)}
        ends = [
            _leaf(tensor) if fn is None else (position[fn], tensor.output_nr)
            for tensor, fn in zip(tensors, makers, strict=True)
        ]
        return Walk([_step(fn, position, saved, attributes) for fn in order], ends)


def _step(fn: Any, position: dict[Any, int], saved: bool, attributes: bool) -> Step:
    kind = type(fn)
    written = getattr(kind, "_forward_cls", None)  # the Function that a user has written
    leaf = getattr(fn, "variable", None) if written is None else None
    return Step(
        sequence_of(fn),
        kind.__name__,
        fn.name() if written is None else f"{written.__module__}.{written.__qualname__}",
        written is not None,
        tuple(None if after is None else (position[after], number) for after, number in fn.next_functions),
        tuple(UNKNOWN if meta is None else _output(meta, kind.__name__) for meta in fn._input_metadata),
        None if leaf is None else _leaf(leaf),
        dict(_attributes(fn, saved, attributes)) if saved or attributes else {},
    )


def _output(meta: Any, grad_fn: str) -> TensorMeta:
    try:
        shape = tuple(size if type(size) is int else -1 for size in meta.shape)
    except RuntimeError:  # a nested tensor has no shape
        shape = (-1,)
    return TensorMeta(shape, plain(meta.dtype), str(meta.device), True, grad_fn)


def _leaf(tensor: Tensor) -> Leaf:
    return Leaf(id(tensor), meta_of(tensor), isinstance(tensor, nn.Parameter))


def meta_of(tensor: Tensor) -> TensorMeta:
    """What there is to say of a tensor that autograd did not make. Call it `quietly`."""
    shape, dtype, device, requires_grad, *_ = facts(tensor)
    return TensorMeta(
        tuple(size if type(size) is int else -1 for size in shape), plain(dtype), str(device), requires_grad
    )


def _attributes(fn: Any, saved: bool, attributes: bool) -> Iterator[tuple[str, Any]]:
    """What a node has kept, as JSON values, in the order of the names."""
    kind = type(fn)
    for name in dir(kind):
        if not name.startswith(SAVED):
            continue
        short = name.removeprefix(SAVED)
        if hasattr(kind, RAW + short):
            if saved and _SHOWN:
                yield short, _saved(fn, short)
        elif attributes:
            try:
                value = getattr(fn, name)
            except RuntimeError:  # backward has freed it
                yield short, "freed"
            else:
                if _says_something(value):
                    yield short, plain(_signed(value))
    if hasattr(kind, "saved_tensors"):  # a Function that a user has written
        if saved and _SHOWN and (held := _saved(fn, "tensors")):
            yield "saved_tensors", held
        if attributes:
            yield from ((name, plain(value)) for name, value in sorted(vars(fn).items()) if _says_something(value))


def _saved(fn: Any, name: str) -> Any:
    """What is saved under a name, in words: one text, or a list of them; None for what was never given."""
    try:
        raw = getattr(fn, RAW + name)
        if isinstance(raw, tuple):
            return [_held(item) for item in raw]
        if raw.unpack_hook is None and raw.data is None:
            getattr(fn, SAVED + name)  # raises if it was freed, and is None if there never was a tensor
        return _held(raw)
    except RuntimeError:
        return "freed"


def _held(raw: Any) -> str | None:
    if raw.unpack_hook is not None:
        return "packed by a hook"
    if raw.data is None:
        return None
    meta = meta_of(raw.data)
    return f"{meta.dtype}[{', '.join('?' if size < 0 else str(size) for size in meta.shape)}]"


def _says_something(value: Any) -> bool:
    """Whether a value can be kept, and reads the same from run to run: not so an object with an address."""
    return value is not None and (is_plain(value) or isinstance(value, _WORDS))


def _signed(value: Any) -> Any:
    """Dimensions are kept as unsigned numbers, where -1 is 2**64 - 1."""
    if isinstance(value, tuple | list):
        return [_signed(item) for item in value]
    return value - 2**64 if type(value) is int and value >= 2**63 else value


# Building


def build(found: Walk, names: Mapping[int, str], parameters: Container[int] | None = None) -> Graph:
    """The graph of a walk. ``names`` has the names of leaf tensors by their identity, ``parameters`` says which of them
    are parameters whatever their type: all, if None.
    """
    parameters = names if parameters is None else parameters
    taken, titles = Namespace(), Namespace()
    ends = [end for end in found.ends if isinstance(end, Leaf)]
    unique = {leaf.identity: leaf for leaf in (*(s.leaf for s in found.steps if s.leaf is not None), *ends)}
    leaves: dict[int, Value] = {}
    for leaf in sorted(unique.values(), key=lambda leaf: leaf.identity not in names):  # names that are given come first
        role: Role = "parameter" if leaf.parameter or leaf.identity in parameters else "input"
        if role == "input" and not leaf.meta.requires_grad:
            role = "constant"
        leaves[leaf.identity] = _value(taken.unique(names.get(leaf.identity, role)), leaf.meta, role)

    nodes: list[Node] = []
    for step in found.steps:
        name = titles.unique(step.op_type)
        inputs = [nodes[end[0]].outputs[end[1]] for end in step.next if end is not None]
        if step.leaf is not None:
            inputs.insert(0, leaves[step.leaf.identity])
        outputs = [_value(taken.unique(f"{name}:{i}"), meta, "activation") for i, meta in enumerate(step.outputs)]
        nodes.append(
            Node(
                name,
                "autograd",
                step.op_type,
                step.target,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                attributes=dict(step.attributes),
            )
        )
    return Graph(
        nodes,
        inputs=[value for value in leaves.values() if value.role == "input"],
        outputs=[leaves[e.identity] if isinstance(e, Leaf) else nodes[e[0]].outputs[e[1]] for e in found.ends],
        initializers=[value for value in leaves.values() if value.role == "parameter"],
        name="autograd graph",
    )


def _value(name: str, meta: TensorMeta, role: Role) -> Value:
    return Value(name, meta.shape, meta.dtype, meta.device, meta.requires_grad, meta.grad_fn, role)
