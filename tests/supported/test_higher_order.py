"""Operators that take functions, which torch builds on its compiler: the rows of docs/supported.md, and that recording
leaves what the compiler does as it was.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, written, x
from support.twice import both, run_twice
from torch import Tensor, nn
from torch._dynamo import eval_frame
from torch._higher_order_ops import map as map_over
from torch._higher_order_ops import scan, while_loop
from torch._ops import HigherOrderOperator
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.modules import module as torch_module
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import stateless
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from recorder import Recorder

supported = pytest.mark.supported
Make = Callable[[], tuple[Any, ...]]

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # the compiler itself reads it
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
]

TABLES = [table for name, table in vars(torch_module).items() if name.startswith("_global_") and "hooks" in name]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """What the compiler has compiled is forgotten before and after; what is torch's own is the same."""
    torch._dynamo.reset()

    def state() -> tuple[Any, ...]:
        return (
            eval_frame._stance,
            eval_frame._callback_from_stance,
            HigherOrderOperator.__call__,
            stateless._reparametrize_module,
            [list(table) for table in TABLES],
            _get_current_function_mode_stack(),
        )

    before = state()
    yield
    assert state() == before
    torch._dynamo.reset()


def around(operator: Callable[[Any, Tensor], Tensor]) -> Net:
    """A net whose operator stands between two linear layers, and may use two more, one with dropout."""
    return Net(
        lambda net, x: net.post(net.block(net.pre(x))),
        pre=linear(),
        block=Block(operator, a=linear(), b=nn.Sequential(linear(), nn.Dropout())),
        post=linear(),
    )


def cond(block: Any, x: Tensor) -> Tensor:
    return torch.cond(x.sum() < -1e9, lambda x: block.a(x), lambda x: block.b(x).sin(), (x,))


def over_rows(block: Any, x: Tensor) -> Tensor:
    return map_over(lambda row, factor: block.a(row) * factor, x, block.b[0].weight[0])


def scanned(block: Any, x: Tensor) -> Tensor:
    def combine(carry: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        carry = torch.tanh(block.a(row) + carry)
        return carry, carry.clone()

    carry, rows = scan(combine, x.new_zeros(4), x)
    return rows + carry


def looped(block: Any, x: Tensor) -> Tensor:
    count = torch.zeros((), dtype=torch.int64)
    return while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, block.a(x)), (count, x))[1]


NODES = {
    cond: """
        Net/block: block.sum = sum(pre:0)
        Net/block: block.lt = lt(block.sum:0)
        Net/block: block.cond = cond(block.lt:0, pre:0, block.a.weight, block.b.0.weight)
    """,
    over_rows: """
        Net/block: block.getitem = getitem(block.b.0.weight)
        Net/block: block.map_impl = map_impl(pre:0, block.getitem:0, block.a.weight)
    """,
    scanned: """
        Net/block: block.new_zeros = new_zeros(pre:0)
        Net/block: block.scan = scan(block.new_zeros:0, pre:0, block.a.weight) -> block.scan:0 block.scan:1
        Net/block: block.add = add(block.scan:1, block.scan:0)
    """,
    looped: """
        Net/block: block.zeros = zeros()
        Net/block: block.while_loop = while_loop(block.zeros:0, pre:0, block.a.weight) -> %s:0 %s:1
    """
    % (("block.while_loop",) * 2),
}  # fmt: skip
SAID = r"^not followed in this recording: torch\.ops\.higher_order\.\w+ \(.*torch runs it on its compiler"
REASON = "torch runs it on its compiler: what happens inside is not recorded, and it is one node"


def told() -> Any:
    """A block that ends with the recorder's warning of what it did not follow."""
    return pytest.warns(RuntimeWarning, match=SAID)


def twice(net: Any, *args: Any) -> Any:
    """Two steps, of which the second finds what the compiler made in the first."""
    return both(net, *args), both(net, *args)


def without_gradients(net: Any, *args: Any) -> Any:
    with torch.no_grad():
        return net(*args)


def evaluated(net: Any, *args: Any) -> Any:
    return without_gradients(net.eval(), *args)


def trained(operator: Any) -> Any:
    """The step that an operator is tried with: torch has gradients of `while_loop` since 2.9, and none of its own for
    `map` and `scan` before.
    """
    torch._dynamo.reset()
    try:
        both(around(operator), x())
    except (RuntimeError, NotImplementedError):
        return without_gradients
    return twice


@supported("`torch.cond`, `scan`, `map`, `while_loop`")
@pytest.mark.parametrize("operator", NODES)
@pytest.mark.parametrize("options", [{}, {"autograd": True, "gradients": "stats", "source": True}], ids=["", "all"])
def test_results_and_gradients_are_those_of_the_unrecorded_run(operator: Any, options: Any) -> None:
    graph = run_twice(lambda: (around(operator), x()), trained(operator), [SAID], **options)
    (node,) = [n for n in graph.nodes if n.call is None and n.target.startswith("torch.ops.higher_order.")][:1]
    assert graph.meta["not_followed"] == [{"name": node.target, "reason": REASON}]
    if options:
        assert str(node.meta["source"]).startswith(__file__)


@supported("`torch.cond`, `scan`, `map`, `while_loop`")
@pytest.mark.parametrize("operator", NODES)
def test_the_operator_is_a_node_that_uses_what_its_functions_do(operator: Any) -> None:
    graph = run_twice(lambda: (around(operator), x()), evaluated, [SAID])
    lines = written(NODES[operator]).splitlines()
    last = lines[-1].split(": ")[1].split(" = ")[0]
    made = {"block.while_loop": "block.while_loop:1"}.get(last, f"{last}:0")
    told = in_words(graph).replace("block.movedim:0", "pre:0").splitlines()
    assert [line for line in told if " = movedim(" not in line] == [  # which torch calls around `scan` below 2.9
        "inputs: input",
        "Net: pre = Linear(input, pre.weight)",
        *lines,
        f"Net: post = Linear({made}, post.weight)",
        "outputs: post:0",
    ]


@supported("`flex_attention` that nobody compiled")
def test_flex_attention() -> None:
    def attend(block: Any, x: Tensor) -> Tensor:
        query, key = x.view(1, 1, -1, 4), block.a(x).view(1, 1, -1, 4)
        return flex_attention(query, key, query, score_mod=lambda score, b, h, i, j: score + block.bias[i]).view(-1, 4)

    def make() -> tuple[Any, ...]:
        net = around(attend)
        net.block.register_buffer("bias", torch.randn(8))
        return net, x(8, 4)

    graph = run_twice(make, evaluated, [SAID])
    node = next(n for n in graph.nodes if n.op_type == "flex_attention")
    made = [source.name for source in (value.producer for value in node.inputs) if source is not None]
    assert {"block.view", "block.view_1"} <= set(made)
    assert "block.bias" in [value.name for value in node.inputs]
    assert [edge.target.op_type for edge in graph.edges() if edge.source is node]


def test_inside_a_model_that_the_user_compiled() -> None:
    said = ["compiled code ran eagerly", SAID]
    graph = run_twice(lambda: (torch.compile(around(cond), backend="eager"), x()), twice, said)
    assert "cond" in [node.op_type for node in graph.nodes]


def test_what_the_user_compiled_is_traced_inside_as_ever() -> None:
    def function(block: Any, x: Tensor) -> Tensor:
        return torch.cond(x.sum() < -1e9, lambda x: x.clone(), lambda x: block.wave(block.b(x)), (x,))

    def make() -> tuple[Any, ...]:
        net = around(function)
        net.block.wave = torch.compile(lambda x: x.sin(), backend="eager")
        net.block.b = torch.compile(net.block.b, backend="eager")
        return net, x()

    graph = run_twice(make, twice, [SAID])
    assert "compiled" not in graph.meta


def test_functional_call_inside() -> None:
    """In a process of its own: whether torch can do it depends on what was compiled before, too."""
    program = "import test_higher_order; test_higher_order.functional_call_inside()"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    if "UncapturedHigherOrderOpError" in done.stderr:
        pytest.skip("this version of torch cannot do it")
    assert done.returncode == 0, done.stderr


def functional_call_inside() -> None:
    def function(block: Any, x: Tensor) -> Tensor:
        other = {"weight": block.b[0].weight}
        return torch.cond(
            x.sum() < -1e9, lambda x: x.clone(), lambda x: torch.func.functional_call(block.a, other, (x,)), (x,)
        )

    around(function)(x())
    graph = run_twice(lambda: (around(function), x()), twice, [SAID])
    (node,) = [n for n in graph.nodes if n.op_type == "cond"][:1]
    assert "block.b.0.weight" in [value.name for value in node.inputs]


def test_modes_and_hooks_are_in_their_places_again() -> None:
    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    def state() -> tuple[Any, ...]:
        return _get_current_function_mode_stack(), *(list(table.items()) for table in TABLES)

    seen = []

    def function(block: Any, x: Tensor) -> Tensor:
        seen.append(state())
        result = cond(block, x)
        seen.append(state())
        return result

    net, batch = around(function), x()
    before = register_module_forward_hook(lambda *_: None)
    try:
        with torch.device("cpu"), told(), Recorder(net) as r:
            after = register_module_forward_hook(lambda *_: None)
            with Mode():
                net(batch)
            after.remove()
    finally:
        before.remove()
    was, now = seen
    assert was == now
    assert len(was[0]) == 3
    assert "cond" in [node.op_type for node in r.graph.nodes]


def test_an_operator_that_fails_fails_alike_and_the_recording_goes_on() -> None:
    def function(block: Any, x: Tensor) -> Tensor:
        try:
            torch.cond(x.sum() < -1e9, lambda x: x.sum(), lambda x: x.long(), (x,))
        except Exception as error:
            errors.append((type(error), str(error)))
        return block.b(x)

    errors: list[Any] = []
    net, batch = around(function), x()
    net(batch)
    torch._dynamo.reset()
    with Recorder(net) as r:
        net(batch)
    assert errors[0] == errors[1]
    assert [node.fqn for node in r.graph.nodes if node.kind == "module"] == ["pre", "block.b.0", "block.b.1", "post"]


@pytest.mark.parametrize("functions", [True, False])
def test_recorders_in_one_another_note_it_each(functions: bool) -> None:
    net = around(cond)
    with told() as said, Recorder(net) as outer, Recorder(net, functions=functions) as inner:
        net(x())
    assert len(said) == 2
    assert outer.graph.meta["not_followed"] == inner.graph.meta["not_followed"]
    assert "never_called" not in {**outer.graph.meta, **inner.graph.meta}  # what the branches call is not seen
    assert [node.op_type for node in outer.graph.nodes] == ["Linear", "sum", "lt", "cond", "Linear"]
    assert ("cond" in [node.op_type for node in inner.graph.nodes]) is functions


def test_what_is_no_part_of_the_recording_is_not_said() -> None:
    net, other = around(lambda block, x: block.a(x)), around(cond)
    with Recorder(net) as r:
        net(x())
        other(x())
    assert "not_followed" not in r.graph.meta
    assert [node.op_type for node in r.graph.nodes] == ["Linear"] * 3


@pytest.mark.skipif(torch.__version__ < "2.9", reason="torch 2.8 refuses operators that write their inputs")
def test_an_operator_that_writes_its_inputs_is_said_to() -> None:
    def function(block: Any, x: Tensor) -> Tensor:
        torch.cond(x.sum() < -1e9, lambda x: x.sin(), lambda x: x.add_(1), (x,))
        return x

    graph = run_twice(lambda: (around(function), x()), without_gradients, [SAID])
    reasons = [said["reason"] for said in graph.meta["not_followed"]]
    assert reasons[0].startswith("it wrote into tensors that it was given")
    assert reasons[1:] == [REASON]
