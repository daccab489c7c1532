"""Tensors in anything: what a call is given and returns in lists, mappings, and objects of any class."""

import gc
import weakref
from collections import ChainMap, OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs
import pydantic
import pytest
import torch
import transformers
from support.models import Block, Net, linear, x
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from recorder import Graph, Recorder
from recorder.capture.containers import DEEPEST, _looks, named_tensors, tensors_in
from recorder.graph.core import Node


class Box:
    def __init__(self, x: Any, **others: Any) -> None:
        self.x = x
        vars(self).update(others)


class Slots:
    __slots__ = ("__hidden", "b", "x")

    def __init__(self, x: Any) -> None:
        self.x = x
        self.__hidden = [x]


class SlotsOfBase(Slots):
    __slots__ = ("another",)


@attrs.define
class Attrs:
    x: Any
    mask: Any = None


@dataclass(slots=True)
class Slotted:
    x: Any


@dataclass
class Plain:
    x: Any
    mode: str = "eval"


class Pydantic(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    x: Tensor


class Registered:
    """Shows nothing but through the function that is registered for it."""

    __slots__ = ("__weakref__", "hidden")

    def __init__(self, x: Any) -> None:
        self.hidden = lambda: x


pytree.register_pytree_node(Registered, lambda r: ([r.hidden()], None), lambda items, _: Registered(*items))

Pair = namedtuple("Pair", "x y")


class Batch(list[Any]):
    """A list with attributes."""


def batch(t: Tensor) -> Batch:
    made = Batch()
    made.x = t  # type: ignore[attr-defined]
    return made


def deep(t: Any, levels: int) -> Any:
    for _ in range(levels):
        t = [t]
    return t


def circle(t: Tensor) -> Box:
    made = Box(t)
    made.itself = [made, {"again": made}]  # type: ignore[attr-defined]
    return made


def list_in_itself(t: Tensor) -> list[Any]:
    made: list[Any] = [t]
    made.append(made)
    return made


KINDS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "tensor": (lambda t: t, ""),
    "list": (lambda t: [1, t], "1"),
    "dict": (lambda t: {"a": (0, {"b": t})}, "a.1.b"),
    "named tuple": (lambda t: Pair(1, t), "y"),
    "OrderedDict": (lambda t: OrderedDict(x=t), "x"),
    "deque": (lambda t: deque([t]), "0"),
    "set": (lambda t: {t}, "0"),
    "frozenset": (lambda t: frozenset({t}), "0"),
    "values of a dict": (lambda t: {"x": t}.values(), "0"),
    "mapping proxy": (lambda t: MappingProxyType({"x": t}), "x"),
    "UserDict": (lambda t: UserDict(x=t), "x"),
    "ChainMap": (lambda t: ChainMap({"x": t}), "maps.0.x"),
    "BatchEncoding": (lambda t: transformers.BatchEncoding({"x": t}), "x"),
    "plain class": (Box, "x"),
    "namespace": (lambda t: SimpleNamespace(x=t), "x"),
    "slots of a base": (lambda t: SlotsOfBase(t), "x"),
    "attrs": (Attrs, "x"),
    "dataclass": (Plain, "x"),
    "dataclass with slots": (Slotted, "x"),
    "pydantic": (lambda t: Pydantic(x=t), "x"),
    "registered": (Registered, "0"),
    "distribution": (lambda t: torch.distributions.Categorical(logits=t), "logits"),
    "list with attributes": (batch, "x"),
    "object in an object": (lambda t: {"k": [Box(Box(t))]}, "k.0.x.x"),
    "circle": (circle, "x"),
    "list in itself": (list_in_itself, "0"),
    "30 levels of lists": (lambda t: deep(t, 30), ".".join(["0"] * 30)),
    "2,000 levels of objects": (lambda t: _nested(t, 2_000), ".".join(["x"] * 2_000)),
}


def _nested(t: Any, levels: int) -> Any:
    for _ in range(levels):
        t = Box(t)
    return t


kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_where_a_tensor_is(kind: str) -> None:
    make, where = KINDS[kind]
    given = x()
    found = dict(named_tensors(make(given)))
    assert where in found
    if kind == "distribution":
        return  # which makes another tensor of it
    assert all(t is given for t in found.values())
    assert [id(t) for t in tensors_in(make(given))] == [id(given)] * len(found)
    assert len(found) == (2 if kind == "slots of a base" else 1)


@kinds
def test_into_and_out_of_a_module(kind: str) -> None:
    make, where = KINDS[kind]

    def open_(held: Any) -> Tensor:
        return dict(named_tensors(held))[where]

    net = Net(
        lambda net, held: make(net.last(open_(net.inner(held)))),
        inner=Block(lambda inner, held: make(inner.first(open_(held))), first=linear()),
        last=linear(),
    )
    with Recorder(net) as r:
        open_(net(make(x()))).sum().backward()
    graph = r.graph
    graph.lint()
    first, last = (node for node in graph.nodes if node.op_type == "Linear")
    assert first.inputs[0] in graph.inputs
    assert {value.role for value in first.inputs + last.inputs} == {"input", "activation", "parameter"}
    assert reaches(first, last)
    assert last.outputs[0] in graph.outputs or kind == "distribution"
    assert all(scope.meta["backward"] for scope in graph.scopes)


def reaches(first: Node, last: Node) -> bool:
    pending, seen = [last], set()
    while pending:
        node = pending.pop()
        if node is first:
            return True
        if id(node) not in seen:
            seen.add(id(node))
            pending += [v.producer for v in node.inputs if v.producer is not None]
    return False


@kinds
def test_into_a_function_outside(kind: str) -> None:
    """A loss is a module that was not given to the recorder: it is recorded if it uses what was computed."""
    make, where = KINDS[kind]
    loss = Block(lambda loss, held: (dict(named_tensors(held))[where] ** 2).sum())
    net = Net(lambda net, t: net.fc(t), fc=linear())
    with Recorder(net) as r:
        loss(make(net(x())))
    assert [scope.op_type for scope in r.graph.scopes] == ["Net", "Block"]


def function_graph(*args: Any) -> Graph:
    """What is recorded of a function that is given anything at all."""

    class Sink(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return torch.ones(2) if func is consume else super().__torch_function__(func, types, args, kwargs or {})

    def consume(sink: Tensor, *held: Any) -> Any:
        return torch.overrides.handle_torch_function(consume, (sink,), sink, *held)

    net = Net(lambda net, *held: consume(net.sink, *held), sink=x().as_subclass(Sink))
    with Recorder(net) as r:
        net(*args)
    r.graph.lint()
    return r.graph


@kinds
def test_into_a_function(kind: str) -> None:
    make, _ = KINDS[kind]
    graph = function_graph(make(x()))
    (node,) = [node for node in graph.nodes if node.op_type == "consume"]
    assert graph.inputs[0] in node.inputs


# What is left alone


class Hostile:
    """Counts whatever of its code runs."""

    calls: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, x: Any) -> None:
        object.__getattribute__(self, "__dict__").update(x=x)

    def _called(self, *args: Any) -> Any:
        Hostile.calls.append("called")
        raise RuntimeError("no")

    __getattr__ = __getattribute__ = __iter__ = __len__ = __eq__ = __bool__ = __getitem__ = __contains__ = _called
    __hash__ = __repr__ = __str__ = __call__ = __next__ = __reduce_ex__ = __dir__ = keys = values = items = _called
    shape = property(_called)
    __class__ = property(_called)  # type: ignore[assignment]
    _fields = __dataclass_fields = property(_called)


class HostileDict(dict[str, Any]):
    def _called(self, *args: Any) -> Any:
        Hostile.calls.append("called")
        raise RuntimeError("no")

    __iter__ = __len__ = __getitem__ = keys = values = items = get = __contains__ = __bool__ = _called
    __getattr__ = __getattribute__ = __eq__ = _called
    __hash__ = None  # type: ignore[assignment]


class HostileList(list[Any]):
    __iter__ = __len__ = __getitem__ = __contains__ = __bool__ = __getattribute__ = HostileDict._called


class HostileDescriptor:
    """A class whose ``__dict__`` is a property, too."""

    __dict__ = property(Hostile._called)  # type: ignore[assignment]
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x


HOSTILE: dict[str, Callable[[Tensor], Any]] = {
    "object": Hostile,
    "dict": lambda t: HostileDict(x=t),
    "list": lambda t: HostileList([t]),
    "dictionary": HostileDescriptor,
    "set": lambda t: Box({t, 1}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_code_of_an_object_runs(kind: str) -> None:
    given = x()
    held = HOSTILE[kind](given)
    Hostile.calls.clear()
    assert list(map(id, tensors_in(held))) == [id(given)]
    graph = function_graph(held)
    assert not Hostile.calls
    assert len(graph.inputs) == 1


def test_modules_functions_and_machinery_are_not_looked_into() -> None:
    net = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(net.parameters())
    closed = [net, optimizer, net.forward, lambda: net, Box, torch, torch.Generator(), iter([x()]), weakref.ref(net)]
    assert not tensors_in(closed)
    assert not tensors_in(Box(closed))
    held = (t for t in [x()])
    assert not tensors_in(held)
    assert len(list(held)) == 1


def test_what_an_object_leads_to_is_bounded() -> None:
    many = Box([Box(i) for i in range(30_000)], last=x())
    assert tensors_in(many) == []
    assert len(tensors_in([x() for _ in range(30_000)])) == 30_000


def test_shared_parts_are_looked_at_in_reasonable_time() -> None:
    shared: Any = [x()]
    for _ in range(200):
        shared = [shared, shared]
    assert 1 <= len(tensors_in(shared)) <= 2**DEEPEST


def test_what_is_there_twice_is_found_twice() -> None:
    t = x()
    assert len(tensors_in((t, [t], {"a": t}))) == 3
    assert [name for name, _ in named_tensors([t, {"a": t}])] == ["0", "1.a"]


def test_classes_are_not_kept() -> None:
    class Gone:
        __slots__ = ("__dict__", "__weakref__", "x")

    made = Gone()
    made.x = x()
    assert len(tensors_in(made)) == 1
    identity, gone = id(Gone), weakref.ref(Gone)
    assert identity in _looks
    del Gone, made
    gc.collect()
    assert gone() is None
    assert identity not in _looks


def test_a_class_that_is_registered_later() -> None:
    class Late:
        def __init__(self, x: Tensor) -> None:
            self.inner = x

    made = Late(x())
    assert [name for name, _ in named_tensors(made)] == ["inner"]
    pytree.register_pytree_node(
        Late,
        lambda late: ([late.inner], None),
        lambda items, _: Late(*items),
        flatten_with_keys_fn=lambda late: ([(pytree.MappingKey("shown"), late.inner)], None),
    )
    try:
        assert [name for name, _ in named_tensors(made)] == ["shown"]
    finally:
        pytree._deregister_pytree_node(Late)


def test_a_flatten_function_that_fails() -> None:
    class Broken:
        def __init__(self, x: Tensor) -> None:
            self.x = x

    def flatten(_: Any) -> Any:
        raise RuntimeError("no")

    pytree.register_pytree_node(Broken, flatten, lambda items, _: Broken(*items))
    try:
        assert [name for name, _ in named_tensors(Broken(x()))] == ["x"]
    finally:
        pytree._deregister_pytree_node(Broken)


def test_slots_are_in_the_order_of_the_class() -> None:
    made = SlotsOfBase(x())
    made.another = x()
    made.b = x()
    assert [name for name, _ in named_tensors(made)] == ["_Slots__hidden.0", "b", "x", "another"]


def test_a_cache_of_keys_and_values() -> None:
    net = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=10, n_positions=8)
    ).eval()
    cache = transformers.DynamicCache(config=net.config)
    ids = torch.zeros(1, 3, dtype=torch.int64)
    with torch.no_grad(), Recorder(net) as r:
        output = net(ids, cache, use_cache=True)
    layers = [f"layers.{layer}.{part}" for layer in range(2) for part in ("keys", "values")]
    assert [name for name, _ in named_tensors(cache)] == layers
    names = [name for name, _ in named_tensors(output)]
    assert names[0] == "logits"
    assert [name.partition(".")[2] for name in names[1:]] == layers
    assert len(r.graph.outputs) == 5
    assert len(r.graph.inputs) == 1
