"""`autograd_graph`: read from autograd, with autograd itself and torchviz as the oracles."""

import gc
import re
import subprocess
import sys
import threading
import warnings
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision
from support.models import in_words, written
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recorder import Graph, Recorder, autograd_graph, collapse, dumps, export, formats, loads
from recorder.autograd.graph import walk
from recorder.capture.tensor_facts import ACCUMULATES


def leaf(*shape: int) -> Tensor:
    return torch.rand(shape or (2, 3), requires_grad=True)


def graph_of(outputs: Any, params: Any = None, **options: bool) -> Graph:
    graph = autograd_graph(outputs, params, **options)
    graph.lint()
    assert loads(dumps(graph)) == graph
    assert {node.kind for node in graph.nodes} <= {"autograd"}
    return graph


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float, note: Any = None) -> Tensor:
        ctx.save_for_backward(x, None)
        ctx.factor, ctx.note, ctx.kept = factor, note, x.exp()
        return x * factor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return gradient * ctx.factor, None, None


# What it looks like


def test_a_layer() -> None:
    net, x = nn.Linear(3, 4), leaf(2, 3)
    y = net(x).relu()
    graph = graph_of(y, net.named_parameters())
    assert in_words(graph) == written("""
        inputs: input
        AccumulateGrad = AccumulateGrad(weight)
        TBackward0 = TBackward0(AccumulateGrad:0)
        AccumulateGrad_1 = AccumulateGrad(bias)
        AccumulateGrad_2 = AccumulateGrad(input)
        AddmmBackward0 = AddmmBackward0(AccumulateGrad_1:0, AccumulateGrad_2:0, TBackward0:0)
        ReluBackward0 = ReluBackward0(AddmmBackward0:0)
        outputs: ReluBackward0:0
    """)
    assert [(v.name, v.shape, v.role) for v in graph.initializers] == [
        ("weight", (4, 3), "parameter"),
        ("bias", (4,), "parameter"),
    ]
    (given,) = graph.inputs
    assert (given.role, given.shape, given.requires_grad, given.grad_fn) == ("input", (2, 3), True, None)
    (made,) = graph.outputs
    assert (made.shape, made.dtype, made.device) == ((2, 4), "float32", "cpu")
    assert (made.requires_grad, made.grad_fn, made.role) == (True, "ReluBackward0", "activation")
    assert {n.target for n in graph.nodes if n.op_type == "AccumulateGrad"} == {"torch::autograd::AccumulateGrad"}


def test_many_outputs_have_numbers_and_shapes_of_their_own() -> None:
    x = leaf(5, 4)
    first, _, last = x.double().split(2)
    graph = graph_of(last + 1)
    (split,) = [n for n in graph.nodes if n.op_type == "SplitBackward0"]
    assert [(v.name, v.shape, v.dtype) for v in split.outputs] == [
        ("SplitBackward0:0", (2, 4), "float64"),
        ("SplitBackward0:1", (2, 4), "float64"),
        ("SplitBackward0:2", (1, 4), "float64"),
    ]
    assert graph.nodes[-1].inputs == (split.outputs[2],)
    assert [v.name for v in graph_of(first).outputs] == ["SplitBackward0:0"]


def test_a_functions_own_name() -> None:
    node = graph_of(Scale.apply(leaf(), 2.0)).nodes[-1]
    assert (node.op_type, node.target) == ("ScaleBackward", f"{__name__}.Scale")


def test_outputs_without_grad_fn() -> None:
    x, frozen = leaf(), nn.Parameter(torch.rand(3), requires_grad=False)
    y = x * frozen
    graph = graph_of([y, y.detach(), x, frozen, torch.rand(2)])
    assert [(v.name, v.role, v.requires_grad) for v in graph.outputs] == [
        ("MulBackward0:0", "activation", True),
        ("constant", "constant", False),
        ("input", "input", True),
        ("parameter", "parameter", False),
        ("constant_1", "constant", False),
    ]
    assert [v.name for v in graph.inputs] == ["input"]
    assert [v.name for v in graph.initializers] == ["parameter"]
    assert graph_of(torch.rand(2)).nodes == []


@dataclass
class Pair:
    first: Any
    second: Any


def test_any_nesting_of_outputs() -> None:
    a, b = leaf() * 2, leaf().exp()
    expected = in_words(graph_of((a, b)))
    for nested in ([a, b], {"a": a, "b": b}, Pair(a, (None, [b])), [None, {"x": Pair(a, None)}, (b,)]):
        assert in_words(graph_of(nested)) == expected


@pytest.mark.parametrize("nothing", [None, [], {"a": None}, "text"])
def test_no_tensor(nothing: Any) -> None:
    with pytest.raises(TypeError, match="there is no tensor in what was given"):
        autograd_graph(nothing)


# Names


def test_names_of_leaves() -> None:
    x, w, v = leaf(), leaf(), nn.Parameter(torch.rand(2, 3))
    y = x * w * v
    for params in ({"w": w}, [("w", w)], iter([("w", w), ("again", w)])):
        graph = graph_of(y, params)
        assert [value.name for value in graph.initializers] == ["w", "parameter"]
        assert [value.name for value in graph.inputs] == ["input"]


def test_names_that_are_given_win() -> None:
    x, w = leaf(), leaf()
    graph = graph_of(x * w, {"input": w})
    assert [v.name for v in graph.initializers] == ["input"]
    assert [v.name for v in graph.inputs] == ["input_1"]
    taken = {"MulBackward0:0": x}
    assert [v.name for v in graph_of(x * w, taken).outputs] == ["MulBackward0:0_1"]


@pytest.mark.parametrize("params", [nn.Linear(1, 1), [torch.rand(2)], {"x": 3}, {1: torch.rand(2)}, ["ab"]])
def test_params_that_are_none(params: Any) -> None:
    with pytest.raises(TypeError, match=r"params|named_parameters"):
        autograd_graph(leaf(), params)


def test_the_same_from_run_to_run() -> None:
    def run() -> bytes:
        torch.manual_seed(0)
        net = torchvision.models.resnet18()
        return dumps(graph_of(net(torch.rand(2, 3, 32, 32)), net.named_parameters(), saved=True, attributes=True))

    assert run() == run()


# Order


def test_nodes_stand_in_the_order_of_forward() -> None:
    net = torchvision.models.googlenet(init_weights=False, aux_logits=True)
    steps, _ = walk(list(net(torch.rand(2, 3, 64, 64))))
    counted = [step.sequence for step in steps if step.sequence != ACCUMULATES]
    assert counted == sorted(counted)
    for i, step in enumerate(steps):
        assert all(after is None or after[0] < i for after in step.next)
        if step.sequence == ACCUMULATES:  # right before its first user, among those of the same one
            users = [j for j, other in enumerate(steps) if (i, 0) in other.next]
            assert {steps[j].sequence for j in range(i, min(users))} == {ACCUMULATES}


def test_numbers_of_other_threads() -> None:
    x = leaf()
    for _ in range(5):
        x = x * 2
    made: list[Tensor] = []
    thread = threading.Thread(target=lambda: made.append(x.exp()))  # counts from 0
    thread.start()
    thread.join()
    graph = graph_of(made[0] + x)
    assert [n.op_type for n in graph.nodes[1:]] == ["MulBackward0"] * 5 + ["ExpBackward0", "AddBackward0"]


def test_double_backward() -> None:
    x = leaf()
    (gradient,) = torch.autograd.grad(x.pow(3).sum(), x, create_graph=True)
    graph = graph_of(gradient, {"x": x})
    nodes, edges = reached([gradient])
    assert nodes["PowBackward0"] == 1  # of x ** 2, and the graph of backward around it
    assert Counter(n.target for n in graph.nodes) == nodes
    assert Counter((e.source.target, e.target.target) for e in graph.edges()) == edges
    assert [v.name for v in graph.initializers] == ["x"]


# The oracles


def reached(outputs: list[Tensor]) -> tuple["Counter[str]", "Counter[tuple[str, str]]"]:
    """Node types and edges between them, by recursion."""
    nodes: Counter[str] = Counter()
    edges: Counter[tuple[str, str]] = Counter()
    seen: set[Any] = set()

    def visit(fn: Any) -> None:
        if fn in seen:
            return
        seen.add(fn)
        nodes[fn.name()] += 1
        for after, _ in fn.next_functions:
            if after is not None:
                edges[after.name(), fn.name()] += 1
                visit(after)

    for output in outputs:
        visit(output.grad_fn)
    return nodes, edges


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_0", "vit"])
def test_nodes_and_edges_are_those_of_autograd(name: str) -> None:
    if name == "vit":
        net: nn.Module = torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16)
    else:
        net = getattr(torchvision.models, name)()
    y = net(torch.rand(2, 3, 32, 32))
    graph = graph_of(y, net.named_parameters())
    nodes, edges = reached([y])
    assert Counter(n.target for n in graph.nodes) == nodes
    assert Counter((e.source.target, e.target.target) for e in graph.edges()) == edges
    assert {v.name for v in graph.initializers} == {name for name, _ in net.named_parameters()}
    assert graph.inputs == []


def test_the_same_nodes_as_torchviz() -> None:
    y = torchvision.models.resnet18()(torch.rand(2, 3, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import torchviz

        body = torchviz.make_dot(y).body
    labels = Counter(m[1] for line in body if (m := re.fullmatch(r"\t\d+ \[label=(\w+)\]\n", line)))
    assert Counter(n.op_type for n in graph_of(y).nodes) == labels


def test_shapes_are_those_of_the_tensors() -> None:
    made: dict[Any, tuple[int, ...]] = {}
    net = torchvision.models.squeezenet1_0()
    for module in net.modules():
        module.register_forward_hook(lambda m, i, out: made.__setitem__(out.grad_fn, tuple(out.shape)))
    y = net(torch.rand(2, 3, 64, 64))
    shapes = Counter((type(fn).__name__, shape) for fn, shape in made.items())
    drawn = Counter((n.op_type, n.outputs[0].shape) for n in graph_of(y).nodes)
    assert len(shapes) > 10
    assert shapes <= drawn


# What nodes have kept


def attributes_of(output: Tensor, **options: bool) -> dict[str, Any]:
    return graph_of(output, **options).nodes[-1].attributes


def test_attributes() -> None:
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)(torch.rand(1, 3, 8, 8))
    assert attributes_of(conv) == {}
    found = attributes_of(conv, attributes=True)
    assert (found["stride"], found["padding"], found["groups"]) == ([2, 2], [1, 1], 1)
    assert "weight" not in found
    assert attributes_of(leaf().sum(-1), attributes=True)["dim"] == [-1]
    assert attributes_of(leaf().softmax(-2), attributes=True)["dim"] == -2
    assert attributes_of(leaf().double(), attributes=True) == {}


shown = pytest.mark.skipif(
    not hasattr(torch._C._autograd.SavedTensor, "unpack_hook"), reason="torch 2.8 does not show what nodes have saved"
)


@shown
def test_saved_tensors() -> None:
    conv = nn.Conv2d(3, 4, 3)(torch.rand(1, 3, 8, 8))
    assert attributes_of(conv, saved=True) == {"input": "float32[1, 3, 8, 8]", "weight": "float32[4, 3, 3, 3]"}
    rows = torch.tensor([0, 1])
    assert attributes_of(leaf()[rows, rows], saved=True) == {"indices": ["int64[2]", "int64[2]"]}
    norm = nn.LayerNorm(3, elementwise_affine=False)(leaf())
    assert attributes_of(norm, saved=True)["weight"] is None


@shown
def test_what_custom_functions_keep() -> None:
    y = Scale.apply(leaf(), 2.5, object())
    assert attributes_of(y, saved=True, attributes=True) == {"factor": 2.5, "saved_tensors": ["float32[2, 3]", None]}
    y.sum().backward()
    assert attributes_of(y, saved=True) == {"saved_tensors": "freed"}


@shown
def test_what_backward_has_freed() -> None:
    y = (leaf() * leaf()).exp()
    y.sum().backward()
    graph = graph_of(y, saved=True, attributes=True)
    assert graph.nodes[-1].attributes["result"] == "freed"
    assert graph.nodes[-2].attributes == {"other": "freed", "self": "freed"}


@shown
def test_changed_in_place() -> None:
    y = leaf().exp()
    z = y * leaf()
    y.add_(1)
    assert attributes_of(z, saved=True)["self"] == "float32[2, 3]"


@shown
def test_no_hook_runs() -> None:
    calls = []

    def block(t: Tensor) -> Tensor:
        calls.append(t)
        return t.exp() * 2

    y = checkpoint(block, leaf(), use_reentrant=False)
    assert next(n.attributes for n in graph_of(y, saved=True).nodes if n.attributes) == {"result": "packed by a hook"}
    assert len(calls) == 1


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning")
def test_ragged_tensors() -> None:
    parts = [leaf(2, 3), leaf(4, 3)]
    graph = graph_of(torch.nested.as_nested_tensor(parts, layout=torch.jagged) * 2, saved=True)
    assert graph.outputs[0].shape == (2, -1, 3)
    graph = graph_of(torch.nested.as_nested_tensor(parts, layout=torch.strided) * 2)
    assert graph.outputs[0].shape == (-1,)


class Aloof(Tensor):
    """Refuses every function that is called on it while it is closed."""

    closed = False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if cls.closed:
            raise ValueError(f"{func} was called")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_tensor_subclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(2, 3).as_subclass(Aloof).requires_grad_()
    y = x * 2 + x
    nodes, _ = reached([y])
    monkeypatch.setattr(Aloof, "closed", True)
    graph = graph_of([y, x], {"x": x}, saved=True, attributes=True)
    assert Counter(n.target for n in graph.nodes) == nodes
    assert graph.outputs[1] is graph.initializers[0]


# Size, and what stays behind


@pytest.mark.slow
def test_a_long_chain() -> None:
    y = leaf()
    for _ in range(100_000):
        y = y + 1
    graph = autograd_graph(y)
    graph.lint()
    assert len(graph.nodes) == 100_001
    assert graph.nodes[-1].name == "AddBackward0_99999"


DEEP = """
import threading
import torch
from recorder import autograd_graph, make_dot

def run():
    steps = 20_000
    y = torch.rand(2, requires_grad=True)
    for i in range(steps):
        y = {step}
        if i == steps // 2:
            half = y
    {look}(y)
    del y
    del half
    print("freed")

threading.stack_size(1 << 20)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("look", "step"),
    [
        ("autograd_graph", "y + 1"),
        ("autograd_graph", "y * y"),
        ("autograd_graph", "y.exp() + y.sin()"),
        ("make_dot", "y + 1"),
    ],
)
def test_deep_graphs_can_be_freed(look: str, step: str) -> None:
    """In a process of its own, on a small stack: where this fails, it overflows."""
    program = DEEP.replace("{look}", look).replace("{step}", step)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "freed\n"), done.stderr


def test_nothing_is_kept_alive() -> None:
    x, h = leaf(), leaf() * 2
    y = Scale.apply(x, 2.0) * h
    node, tensor = weakref.ref(y.grad_fn.next_functions[0][0]), weakref.ref(h)
    leaf_reference = weakref.ref(x)
    graph = graph_of(y, {"x": x}, saved=True, attributes=True)
    del x, y, h
    gc.collect()
    assert node() is None
    assert tensor() is None
    assert leaf_reference() is None
    assert len(graph.nodes) == 5


@pytest.mark.slow
def test_deep_graphs_keep_no_part_alive_either() -> None:
    y = Scale.apply(leaf(), 2.0)
    node = weakref.ref(y.grad_fn)
    for _ in range(5_000):
        y = y + 1
    half = y
    for _ in range(5_000):
        y = Scale.apply(y, 1.0) if y is half else y + 1
    other = weakref.ref(_at(y.grad_fn, 4_999))
    autograd_graph((y, half))
    del y
    gc.collect()
    assert other() is None
    assert node() is not None
    del half
    gc.collect()
    assert node() is None


def _at(fn: Any, steps: int) -> Any:
    for _ in range(steps):
        fn = fn.next_functions[0][0]
    return fn


def test_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18()
    x = torch.rand(2, 3, 32, 32)
    expected = torch.autograd.grad(net(x).sum(), list(net.parameters()))
    y = net(x).sum()
    autograd_graph(y, net.named_parameters(), saved=True, attributes=True)
    assert all(torch.equal(a, b) for a, b in zip(torch.autograd.grad(y, list(net.parameters())), expected))


def test_a_recording_does_not_see_it() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    with Recorder(net) as r:
        y = net(torch.rand(2, 3))
        before = len(r.events)
        autograd_graph(y, net.named_parameters(), saved=True, attributes=True)
        assert len(r.events) == before


# Exporters


@pytest.mark.parametrize("format", sorted({f.name for f in formats()} & {"dot", "mermaid", "onnx-json", "json"}))
def test_every_text_format_takes_it(format: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    y = net(torch.rand(1, 3, 8, 8))
    graph = graph_of([y, y.detach()], net.named_parameters(), saved=True, attributes=True)
    text = export(graph, format)
    assert "MaxPool2DWithIndicesBackward0" in (text if isinstance(text, str) else text.decode())
    view = collapse(graph, 0)
    view.lint()
    assert [n.name for n in view.nodes] == [n.name for n in graph.nodes]
