"""Compilers and tracers: those of docs/supported.md, and that recording leaves them as they were."""

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import Thread
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, written, x
from support.twice import run_twice
from torch import Tensor, nn
from torch._dynamo import eval_frame
from torch.nn.modules.module import register_module_forward_hook

from recorder import Recorder

supported = pytest.mark.supported
EAGERLY = {"compiled": "run eagerly while recorded"}
SAID = "compiled code ran eagerly while it was recorded"

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # the compiler itself reads it
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated"),
    pytest.mark.slow,
]


class Counting:
    """A backend that runs what it is given as it is, and counts."""

    def __init__(self) -> None:
        self.compiled = self.ran = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        self.compiled += 1

        def run(*args: Any) -> Any:
            self.ran += 1
            return graph.forward(*args)

        return run


@pytest.fixture
def backend() -> Iterator[Counting]:
    torch._dynamo.reset()
    assert eval_frame._stance == eval_frame.DynamoStance()
    functions = eval_frame._callback_from_stance, torch.nn.modules.module._has_any_global_hook
    yield Counting()
    assert eval_frame._stance == eval_frame.DynamoStance()
    assert functions == (eval_frame._callback_from_stance, torch.nn.modules.module._has_any_global_hook)
    torch._dynamo.reset()


def told() -> Any:
    """A block that ends with the recorder's warning that compiled code ran eagerly."""
    return pytest.warns(RuntimeWarning, match=SAID)


def model() -> Net:
    return Net(lambda net, x: net.block(x).relu(), block=Block(lambda block, x: block.fc(x).sin(), fc=linear()))


def whole(backend: Any) -> Any:
    return torch.compile(model(), backend=backend)


def part(backend: Any) -> Any:
    net = model()
    net.block.compile(backend=backend)
    return net


def wrapped_part(backend: Any) -> Any:
    net = model()
    net.block = torch.compile(net.block, backend=backend)
    return net


def function(backend: Any) -> Any:
    sine = torch.compile(torch.sin, backend=backend)
    block = Block(lambda block, x: sine(block.fc(x)), fc=linear())
    return Net(lambda net, x: net.block(x).relu(), block=block)


def strict_function(backend: Any) -> Any:
    sine = torch.compile(lambda x: x.sin(), backend=backend, fullgraph=True)
    block = Block(lambda block, x: sine(block.fc(x)), fc=linear())
    return Net(lambda net, x: net.block(x).relu(), block=block)


PLAIN = written("""
    inputs: input
    Net/block: block.fc = Linear(input, block.fc.weight)
    Net/block: block.sin = sin(block.fc:0)
    Net: relu = relu(block.sin:0)
    outputs: relu:0
""")
KINDS: dict[Any, str] = {
    whole: written("""
        inputs: args.0
        OptimizedModule/_orig_mod/_orig_mod.block: _orig_mod.block.fc = Linear(args.0, _orig_mod.block.fc.weight)
        OptimizedModule/_orig_mod/_orig_mod.block: _orig_mod.block.sin = sin(_orig_mod.block.fc:0)
        OptimizedModule/_orig_mod: _orig_mod.relu = relu(_orig_mod.block.sin:0)
        outputs: _orig_mod.relu:0
    """),
    part: PLAIN,
    wrapped_part: written("""
        inputs: input
        Net/block/block._orig_mod: block._orig_mod.fc = Linear(input, block._orig_mod.fc.weight)
        Net/block/block._orig_mod: block._orig_mod.sin = sin(block._orig_mod.fc:0)
        Net: relu = relu(block._orig_mod.sin:0)
        outputs: relu:0
    """),
    function: PLAIN,
    strict_function: PLAIN,
}


@supported("a model that `torch.compile` compiled")
@supported("a compiled part of a model")
@supported("a compiled function inside forward")
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_compiled_code_is_recorded_eagerly_and_runs_compiled_again_afterwards(
    make: Callable[[Any], Any], backend: Counting
) -> None:
    def counts() -> tuple[int, int]:
        return backend.compiled, backend.ran

    graph = run_twice(lambda: (make(backend), x()), said=[SAID])
    assert in_words(graph) == KINDS[make]
    assert graph.meta == EAGERLY
    assert graph.name == "Net"

    torch._dynamo.reset()
    net, batch = make(backend), x()
    net(batch)
    compiled, ran = counts()
    with told(), Recorder(net) as r:
        net(batch)
    assert counts() == (compiled, ran)
    again = net(batch)
    assert counts()[0] == compiled  # no need to compile anew
    assert counts()[1] > ran
    assert torch.equal(again, net(batch))
    r.graph.lint()
    named = dict(net.named_modules())
    assert {scope.fqn for scope in r.graph.scopes} <= named.keys()
    assert {value.name for value in r.graph.initializers} == {name for name, _ in net.named_parameters()}


@supported("`torch.compile` called inside the block")
def test_compile_inside_the_block(backend: Counting) -> None:
    net, batch = model(), x()
    with told(), Recorder(net) as r:
        compiled = torch.compile(net, backend=backend)
        compiled(batch)
    assert in_words(r.graph) == PLAIN
    assert r.graph.meta == EAGERLY
    assert backend.compiled == 0
    compiled(batch)
    compiled(batch)
    assert (backend.compiled, backend.ran) == (1, 2)


PROGRAM = """
import sys, warnings
warnings.simplefilter("error")
import torch
from recorder import Recorder

net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
finders = list(sys.meta_path)
with Recorder(net) as first:
    net(torch.ones(1, 2)).sum().backward()
assert "torch._dynamo" not in sys.modules
assert sys.meta_path == finders
with warnings.catch_warnings(record=True) as told, Recorder(net) as second, Recorder(net) as third:
    warnings.simplefilter("always")
    compiled = torch.compile(net, backend="eager")
    compiled(torch.ones(1, 2))
assert [str(w.message)[:24] for w in told] == ["compiled code ran eagerly"[:24]] * 2
assert sys.meta_path == finders
assert first.graph.meta == {}
assert second.graph.meta == third.graph.meta == {"compiled": "run eagerly while recorded"}
assert [node.name for node in second.graph.nodes] == ["0", "1"]
from torch._dynamo import eval_frame
assert eval_frame._stance == eval_frame.DynamoStance()
"""


@supported("`torch.compile` called inside the block")
def test_the_compiler_is_imported_by_nobody_but_the_user() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The stance


STANCES: dict[str, dict[str, Any]] = {
    "default": {},
    "another backend": {"force_backend": "eager"},
    "force_eager": {"stance": "force_eager"},
    "fail_on_recompile": {"stance": "fail_on_recompile"},
    "unsafe": {"skip_guard_eval_unsafe": True},
}


@pytest.mark.parametrize("name", STANCES)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
@pytest.mark.filterwarnings(f"ignore:{SAID}")
def test_the_stance_is_the_users_own_all_the_time(
    name: str, error: type[BaseException] | None, backend: Counting
) -> None:
    net = whole(backend)
    with torch.compiler.set_stance(**STANCES[name]):
        mine = eval_frame._stance
        with pytest.raises(error) if error else nullcontext(), Recorder(net) as outer:
            with Recorder(net) as inner:
                net(x())
                assert eval_frame._stance is mine
            net(x())
            assert eval_frame._stance is mine
            if error:
                raise error
        assert eval_frame._stance is mine
    assert backend.compiled == 0
    assert len(inner.graph.nodes) == 3
    assert len(outer.graph.nodes) == 6


def test_where_compiled_code_runs_eagerly_anyway_there_is_nothing_to_warn_of(backend: Counting) -> None:
    net = whole(backend)
    with torch.compiler.set_stance("force_eager"), Recorder(net) as r:
        net(x())
    assert r.graph.meta == EAGERLY


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
@pytest.mark.filterwarnings(f"ignore:{SAID}")
def test_recorders_left_in_any_order_put_it_back(order: tuple[int, ...], backend: Counting) -> None:
    net = whole(backend)
    recorders = [Recorder(net) for _ in order]
    with torch.compiler.set_stance("fail_on_recompile"):
        for r in recorders:
            r.__enter__()
        for number in order:
            net(x())  # would raise if it was not run eagerly
            recorders[number].__exit__(None, None, None)
        with pytest.raises(RuntimeError, match="Detected recompile"):
            net(x())


@pytest.mark.filterwarnings(f"ignore:{SAID}")
def test_a_stance_taken_inside_the_block(backend: Counting) -> None:
    net = whole(backend)
    unfollowed = pytest.warns(RuntimeWarning, match="^not followed in this recording: torch.compile")
    with unfollowed, Recorder(net) as r:
        with torch.compiler.set_stance("fail_on_recompile"), pytest.raises(RuntimeError, match="Detected recompile"):
            net(x())
        net(x())
        torch.compiler.set_stance("eager_on_recompile")
    assert [said["name"] for said in r.graph.meta["not_followed"]] == ["torch.compile"]
    assert eval_frame._stance.stance == "eager_on_recompile"
    torch.compiler.set_stance("default")


def test_it_is_said_once_for_each_recording(backend: Counting) -> None:
    net = whole(backend)
    r = Recorder(net)
    with told() as said, r:
        net(x())
        net(x())
    assert len(said) == 1
    with r:
        net(x())


def test_only_what_ran_in_the_recorders_thread_is_in_its_metadata(backend: Counting) -> None:
    net = whole(backend)
    other = Thread(target=net, args=(x(),))
    r = Recorder(net)
    with pytest.warns(RuntimeWarning, match="it was called on another thread"), r:  # noqa: PT031
        other.start()
        other.join()
    assert (len(r.graph.nodes), list(r.graph.meta)) == (0, ["nothing_recorded"])


def test_what_is_only_shielded_from_the_compiler_is_not_called_compiled(backend: Counting) -> None:
    net = Net(lambda net, x: torch.compiler.disable(lambda x: x.sin())(net.fc(x)), fc=linear())
    with Recorder(net) as r:
        net(x())
    assert [node.op_type for node in r.graph.nodes] == ["Linear", "sin"]
    assert r.graph.meta == {}


def test_torch_warns_of_the_users_own_global_hooks_as_before(backend: Counting) -> None:
    net = whole(backend)
    with told(), Recorder(net), warnings.catch_warnings():
        warnings.simplefilter("error")
        net(x())
        hook = register_module_forward_hook(lambda *_: None)
        try:
            with pytest.warns(UserWarning, match="when there are global hooks"):
                net(x())
        finally:
            hook.remove()
        net(x())


# Tracers inside the block


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = linear()
        self.body = nn.Sequential(linear(), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.fc(x)).view(-1, x.shape[1]) * x.shape[0]


TOWER = written("""
    inputs: x
    Tower: fc = Linear(x, fc.weight)
    Tower/body: body.0 = Linear(fc:0, body.0.weight)
    Tower/body: body.1 = ReLU(body.0:0)
    Tower: view = view(body.1:0)
    Tower: mul = mul(view:0)
    outputs: mul:0
""")


@supported("`torch.export` called inside the block")
@pytest.mark.parametrize("dynamic", [None, ({0: torch.export.Dim("batch")},)], ids=["static", "dynamic"])
def test_export_inside_the_block(dynamic: Any) -> None:
    programs = []

    def step(net: nn.Module, batch: Tensor) -> Tensor:
        program = torch.export.export(net, (batch,), dynamic_shapes=dynamic)
        programs.append(re.sub(r"Graph\[id=\d+\]", "", str(program)))
        return program.module()(batch)

    def make() -> tuple[Any, ...]:
        torch._dynamo.reset()
        return Tower(), x(3, 4)

    graph = run_twice(make, step)
    assert len(set(programs)) == 1
    inside = [node for node in graph.nodes if node.scope is not None]
    assert [node.name for node in inside] == ["fc", "body.0", "body.1", "view", "mul"]
    assert [value.name for value in inside[0].inputs] == ["x", "constant"]  # not the weight: a fake in its place
    assert graph.inputs[0].shape == (3 if dynamic is None else -1, 4)
    # What the exported program runs are operators.
    called = {node.op_type: node.target for node in graph.nodes if node.scope is None}
    assert called["linear"] == "torch.ops.aten.linear.default"
    assert called["mul"] == "torch.ops.aten.mul.Tensor"


@supported("`torch.export(..., strict=True)` called inside the block")
@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace the builtin")
def test_strict_export_inside_the_block_is_refused_by_the_compiler(backend: Counting) -> None:
    net, batch = Tower(), x(3, 4)
    with Recorder(net) as r:
        with pytest.raises((torch._dynamo.exc.Unsupported, AssertionError)) as refused:
            torch.export.export(net, (batch,), strict=True)
        net(batch)
    assert f"{os.sep}_dynamo{os.sep}" in str(refused.traceback[-1].path)
    ran = refused.type is AssertionError  # torch 2.8 runs the model, and then does not find what it returned
    assert len(r.graphs) == 1 + ran
    assert in_words(r.graphs[0]) == TOWER


@supported("`torch.fx.symbolic_trace` called inside the block")
def test_symbolic_trace_inside_the_block() -> None:
    codes = []

    def step(net: nn.Module, batch: Tensor) -> Tensor:
        traced = torch.fx.symbolic_trace(net)
        codes.append(traced.code)
        return traced(batch)

    graph = run_twice(lambda: (Tower(), x(3, 4)), step)
    assert len(set(codes)) == 1
    traced, *ran = graph.nodes
    assert (traced.name, traced.inputs, traced.outputs) == ("body", (), ())  # it went through there without a tensor
    assert [node.name for node in ran] == ["fc", "body.0", "body.1", "view", "mul"]


@supported("`torch.jit.trace` called inside the block")
def test_jit_trace_inside_the_block() -> None:
    traces = []

    def step(net: nn.Module, batch: Tensor) -> Tensor:
        traced = torch.jit.trace(net, batch, check_trace=False)
        traces.append([(node.kind(), node.scopeName()) for node in traced.inlined_graph.nodes()])
        return traced(batch)

    graph = run_twice(lambda: (Tower(), x(3, 4)), step)
    assert traces[1:] == traces[:1] * 3
    first, *_, last = graph.nodes
    assert (first.name, first.outputs[0].shape) == ("fc", (-1, -1))  # a size that is traced is no number
    assert (last.op_type, last.scope) == ("TopLevelTracedModule", None)


@supported("TorchScript modules")
def test_torchscript_is_opaque() -> None:
    def make() -> tuple[Any, ...]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scripted = torch.jit.script(nn.Sequential(linear(), nn.ReLU()))
            traced = torch.jit.trace(nn.Sequential(nn.Tanh(), linear()), x())
        net = Net(lambda net, x: net.traced(net.scripted(net.fc(x))), fc=linear(), scripted=scripted, traced=traced)
        return net, x()

    graph = run_twice(make)
    assert [(node.name, node.op_type) for node in graph.nodes] == [
        ("fc", "Linear"),
        ("scripted", "RecursiveScriptModule"),
        ("traced", "TopLevelTracedModule"),
    ]
    assert [(e.source.name, e.target.name) for e in graph.edges()] == [("fc", "scripted"), ("scripted", "traced")]
