"""The contract of `Recorder`: what it takes, what it records when, and that it leaves nothing behind."""

import subprocess
import sys
import threading
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from models import Block, Net, in_words, linear, record, written, x
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recorder import EventStream, Graph, Recorder, RecorderError, assemble


def net_with_relu() -> Net:
    return Net(lambda net, x: net.fc(x).relu(), fc=linear())


ONE_CALL = """
    inputs: input
    Net: fc = Linear(input, fc.weight)
    Net: relu = relu(fc:0)
    outputs: relu:0
"""

# What it takes


@pytest.mark.parametrize("wrong", [None, torch.relu, torch.ones(1), nn.Linear, "net"])
def test_what_is_no_module_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"torch.nn.Module objects, and was given {type(wrong).__name__}"):
        Recorder(wrong)
    with pytest.raises(TypeError):
        Recorder(linear(), wrong)


def test_entering_a_recorder_that_is_recording_is_refused() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        with pytest.raises(RecorderError, match="recording already"), r:
            pass
        net(x())
    assert in_words(r.graph) == written(ONE_CALL)


def test_a_recorder_that_was_never_entered_is_empty() -> None:
    r = Recorder(net_with_relu())
    assert len(r.events) == 0
    assert len(r.graph.nodes) == 0
    assert list(r.graphs) == []


def test_repr_says_what_is_recorded() -> None:
    r = Recorder(linear())
    assert repr(r) == "<Recorder of torch.nn.modules.linear.Linear, recorded>"
    with r:
        assert repr(r).endswith("recording>")


def test_a_net_that_is_gone_before_the_block_ends() -> None:
    with Recorder(net_with_relu(), net_with_relu()) as r:
        pass
    assert len(r.graph.nodes) == 0


# What it hands out, and when


def test_the_graph_inside_the_block_is_what_is_there_so_far() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        assert len(r.graph.nodes) == 0
        y = net(x())
        assert in_words(r.graph) == written(ONE_CALL)
        y.sum()
        assert [node.name for node in r.graph.nodes] == ["fc", "relu", "sum"]
    assert [node.name for node in r.graph.nodes] == ["fc", "relu", "sum"]
    assert r.graph is r.graph
    r.graph.lint()


def test_the_graph_inside_forward() -> None:
    seen: list[Graph] = []

    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        seen.append(r.graph)
        return y.relu()

    net = Net(forward, fc=linear())
    with Recorder(net) as r:
        net(x())
    seen[0].lint()
    assert in_words(seen[0]) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        outputs:
    """)
    assert in_words(r.graph) == written(ONE_CALL)


def test_events_are_a_stream_that_assembles_to_the_same_graph(tmp_path: Path) -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        net(x()).sum().backward()
    assert isinstance(r.events, EventStream)
    r.events.save(tmp_path / "run.jsonl")
    loaded = EventStream.load(tmp_path / "run.jsonl")
    assert list(loaded) == list(r.events)
    assert assemble(loaded) == r.graph
    assert loaded.header.model == "models.Net"
    assert loaded.header.torch == torch.__version__
    assert loaded.header.created.endswith("+00:00")


def test_one_graph_for_each_outermost_call() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        first = net(x())
        net.fc(x())
        net(first).sum()
    assert [in_words(graph) for graph in r.graphs] == [
        written(ONE_CALL),
        written("""
            inputs: input
            fc = Linear(input, fc.weight)
            outputs: fc:0
        """),
        written("""
            inputs: input
            Net: fc = Linear(input, fc.weight)
            Net: relu = relu(fc:0)
            sum = sum(relu:0)
            outputs: relu:0
        """),
    ]
    for graph in r.graphs:
        graph.lint()


def test_the_same_recorder_entered_again_goes_on() -> None:
    net = net_with_relu()
    r = Recorder(net)
    with r:
        y = net(x())
    net(x())
    with r:
        net(y)
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        Net#1: fc#1 = Linear(relu:0, fc.weight)
        Net#1: Net#1.relu = relu(fc#1:0)
        outputs: relu:0 Net#1.relu:0
    """)


def test_what_follows_an_exception_is_recorded_too() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        with pytest.raises(RuntimeError):
            net(x(2, 5))
        net(x())
    r.graph.lint()
    assert [(node.name, node.error is None) for node in r.graph.nodes] == [
        ("fc", False),
        ("fc#1", True),
        ("Net#1.relu", True),
    ]


# Around the calls of net


def test_a_part_called_by_the_user_is_an_outermost_call() -> None:
    net = Net(lambda net, x: net.block(x), block=Block(lambda block, x: block.fc(x).relu(), fc=linear()))
    with Recorder(net) as r:
        net.block.fc(net.block(x()))
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        block: block.fc = Linear(input, block.fc.weight)
        block: block.relu = relu(block.fc:0)
        block.fc#1 = Linear(block.relu:0, block.fc.weight)
        outputs: block.relu:0 block.fc#1:0
    """)


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.functional.mse_loss], ids=["module", "functional"])
def test_a_loss_outside_is_recorded(criterion: Callable[..., Tensor]) -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        target = x() + 1  # of no tensor that the recording knows
        loss = criterion(net(x()), target)
        (loss * 2).backward()
    r.graph.lint()
    name = "MSELoss" if isinstance(criterion, nn.Module) else "mse_loss"
    assert in_words(r.graph) == written(f"""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        {name} = {name}(relu:0, constant)
        mul = mul({name}:0)
        outputs: relu:0
    """)


@pytest.mark.parametrize(
    ("make", "closure"),
    [
        (torch.optim.SGD, False),
        (torch.optim.SGD, True),
        (torch.optim.Adam, False),
        (torch.optim.Adam, True),
        (torch.optim.LBFGS, True),
    ],
)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")  # torch 2.8's own LBFGS does that
def test_an_optimizers_step_is_not_recorded(make: Any, closure: bool) -> None:
    net, batch = net_with_relu(), x()
    optimizer = make(net.parameters(), lr=0.1)

    def loss() -> Tensor:
        optimizer.zero_grad()
        loss = net(batch).sum()
        loss.backward()
        return loss

    with Recorder(net) as r:
        if closure:
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()
        net(batch).sum()
    r.graph.lint()
    calls = sum(1 for scope in r.graph.scopes)
    assert [node.op_type for node in r.graph.nodes] == ["Linear", "relu", "sum"] * calls


def test_a_copy_of_the_model_inside_the_block_is_not_recorded() -> None:
    net = Net(lambda net, x: net.fc(x) * net.scale + net.shift, fc=linear(), scale=nn.Parameter(x()), shift=x())
    with Recorder(net) as r:
        net(x())
        before = len(r.graph.nodes)
        deepcopy(net)
        {name: value.clone() for name, value in net.state_dict().items()}
    assert len(r.graph.nodes) == before == 3


def test_a_penalty_on_parameters_is_recorded() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        penalty = sum(p.pow(2).sum() for p in net.parameters())
        net(x()).sum() + penalty
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        pow = pow(fc.weight)
        sum = sum(pow:0)
        add = add(sum:0)
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        sum_1 = sum(relu:0)
        add_1 = add(sum_1:0, add:0)
        outputs: relu:0
    """)


def test_what_has_nothing_to_do_with_the_net_is_not_recorded() -> None:
    net, other = net_with_relu(), Net(lambda net, x: net.fc(x).exp(), fc=linear())
    with Recorder(net) as r:
        other(x()).sum()
        torch.ones(3) + 1
    assert len(r.events) == 1  # the parameter
    assert len(r.graph.nodes) == 0


def test_two_models() -> None:
    class Generator(Block):
        pass

    class Discriminator(Block):
        pass

    generator = Generator(lambda g, z: g.fc(z).tanh(), fc=linear())
    discriminator = Discriminator(lambda d, x: d.fc(x), fc=linear(4, 1))
    with Recorder(generator, discriminator) as r:
        fake = generator(x())
        (discriminator(x()).mean() - discriminator(fake).mean()).backward()
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input input_1
        Generator: fc = Linear(input, fc.weight)
        Generator: tanh = tanh(fc:0)
        Discriminator: Discriminator.fc = Linear(input_1, Discriminator.fc.weight)
        mean = mean(Discriminator.fc:0)
        Discriminator#1: Discriminator.fc#1 = Linear(tanh:0, Discriminator.fc.weight)
        mean_1 = mean(Discriminator.fc#1:0)
        sub = sub(mean:0, mean_1:0)
        outputs: tanh:0 Discriminator.fc:0 Discriminator.fc#1:0
    """)
    assert [(scope.fqn, scope.call) for scope in r.graph.scopes] == [
        ("", 0),
        ("Discriminator", 0),
        ("Discriminator", 1),
    ]


# More than one recorder


def test_recorders_of_the_same_net_nest() -> None:
    net = net_with_relu()
    with Recorder(net) as outer:
        with Recorder(net) as inner:
            net(x())
        assert in_words(inner.graph) == written(ONE_CALL)
    assert in_words(outer.graph) == written(ONE_CALL)


def test_a_recorder_of_a_part_inside_one_of_the_whole() -> None:
    net = Net(lambda net, x: net.block(x).exp(), block=Block(lambda block, x: block.fc(x).relu(), fc=linear()))
    with Recorder(net) as outer, Recorder(net.block) as inner:
        net(x())
    assert in_words(inner.graph) == written("""
        inputs: input
        Block: fc = Linear(input, fc.weight)
        Block: relu = relu(fc:0)
        exp = exp(relu:0)
        outputs: relu:0
    """)
    assert in_words(outer.graph) == written("""
        inputs: input
        Net/block: block.fc = Linear(input, block.fc.weight)
        Net/block: block.relu = relu(block.fc:0)
        Net: exp = exp(block.relu:0)
        outputs: exp:0
    """)


def test_recorders_left_in_any_order() -> None:
    net = net_with_relu()
    first, second = Recorder(net), Recorder(net)
    first.__enter__()
    second.__enter__()
    net(x())
    first.__exit__(None, None, None)
    net(x())
    second.__exit__(None, None, None)
    assert len(first.graph.nodes) == 2
    assert len(second.graph.nodes) == 4


def test_a_recorder_entered_inside_forward() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.a(x)
        with Recorder(net.b) as inner:
            y = net.b(y)
        inside.append(inner)
        return y.exp()

    inside: list[Recorder] = []
    net = Net(forward, a=linear(), b=linear())
    with Recorder(net) as outer:
        net(x())
    assert [node.name for node in outer.graph.nodes] == ["a", "b", "exp"]
    assert [node.name for node in inside[0].graph.nodes] == ["Linear"]


def test_threads_do_not_see_each_other() -> None:
    nets = [Net(lambda net, x: net.fc(x).relu() if net.deep else net.fc(x), fc=linear(), deep=i % 2) for i in range(4)]
    graphs: dict[int, Graph] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(nets))

    def run(i: int) -> None:
        try:
            with Recorder(nets[i]) as r:
                for _ in range(20):
                    barrier.wait()
                    nets[i](x()).sum().backward()
                barrier.wait()
            graphs[i] = r.graph
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for i, graph in graphs.items():
        graph.lint()
        assert len(graph.nodes) == 20 * (3 if i % 2 else 2)


def test_what_other_threads_do_is_not_recorded() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        thread = threading.Thread(target=lambda: net(x()))
        thread.start()
        thread.join()
        net(x())
    assert in_words(r.graph) == written(ONE_CALL)


# The user's own hooks, modes and tensors


class Names(TorchFunctionMode):
    """Notes each function that torch dispatches to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_modes_of_the_user_see_what_they_saw() -> None:
    net, batch = Net(lambda net, x: net.attention(x, x, x)[0] + 1, attention=nn.MultiheadAttention(4, 2)), x(3, 2, 4)
    with Names() as plain:
        net(batch)
    with Names() as around, Recorder(net) as below:
        net(batch)
    with Recorder(net) as above, Names() as inside:
        net(batch)
    assert plain.seen == inside.seen
    # The recorder reads nothing through a mode of the user's.
    assert plain.seen == around.seen
    assert in_words(above.graph) == in_words(below.graph)
    assert [node.op_type for node in above.graph.nodes] == ["MultiheadAttention", "add"]


@pytest.mark.parametrize("where", ["around", "inside"])
def test_a_device_context(where: str) -> None:
    net = Net(lambda net, x: net.fc(x) + torch.ones(4), fc=linear())
    if where == "around":
        with torch.device("cpu"), Recorder(net) as r:
            net(x())
    else:
        with Recorder(net) as r, torch.device("cpu"):
            net(x())
    assert in_words(r.graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: ones = ones()
        Net: add = add(fc:0, ones:0)
        outputs: add:0
    """)


def test_hooks_of_the_user_run_in_their_order() -> None:
    def run(recorded: bool) -> list[str]:
        seen: list[str] = []
        net = net_with_relu()
        net.register_forward_pre_hook(lambda *_: seen.append("net before"))
        net.register_forward_hook(lambda *_: seen.append("net after"))
        net.fc.register_forward_pre_hook(lambda *_: seen.append("fc before"))
        net.fc.register_forward_hook(lambda *_: seen.append("fc after"))
        net.fc.register_full_backward_hook(lambda *_: seen.append("fc backward"))
        net.fc.weight.register_hook(lambda _: seen.append("weight backward"))
        everywhere = nn.modules.module.register_module_forward_hook(lambda *_: seen.append("any after"))
        batch = x().requires_grad_()
        try:
            if recorded:
                with Recorder(net):
                    net(batch).sum().backward()
            else:
                net(batch).sum().backward()
        finally:
            everywhere.remove()
        return seen

    assert run(recorded=True) == run(recorded=False)
    assert len(run(recorded=True)) == 8


def test_hooks_of_the_user_that_change_things_are_recorded_as_they_change() -> None:
    net = net_with_relu()
    net.fc.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    net.fc.register_forward_hook(lambda module, args, output: output + 1)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: fc = Linear(constant, fc.weight)
        Net: add = add(fc:0)
        Net: relu = relu(add:0)
        outputs: relu:0
    """)


class Loud(Tensor):
    """A subclass that notes the functions it is given to."""

    seen: list[str]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Loud.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.supported("tensor subclasses with `__torch_function__`")
def test_tensor_subclasses_work_as_before() -> None:
    def run(recorded: bool) -> tuple[list[str], Tensor, Recorder]:
        Loud.seen = []
        torch.manual_seed(0)
        net = Net(lambda net, x: (net.fc(x) + x)[0], fc=linear())
        batch = x().as_subclass(Loud)
        r = Recorder(net)
        if recorded:
            with r:
                y = net(batch)
        else:
            y = net(batch)
        return list(Loud.seen), y, r

    seen, y, r = run(recorded=True)
    plain_seen, plain, _ = run(recorded=False)
    assert type(y) is Loud
    assert seen == plain_seen
    assert torch.equal(y.as_subclass(Tensor), plain.as_subclass(Tensor))
    assert in_words(r.graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: add = add(fc:0, input)
        Net: getitem = getitem(add:0)
        outputs: getitem:0
    """)


# Modules alone


def test_modules_alone_have_the_edges_that_can_be_known() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        a = net.a(x)
        return net.c(net.b(a) + a)

    net = Net(forward, a=linear(), b=linear(), c=linear())
    with Recorder(net, functions=False) as r:
        net(x())
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, b.weight)
        Net: c = Linear(a:0, b:0, c.weight)
        outputs: c:0
    """)
    with torch.no_grad(), Recorder(net, functions=False) as r:
        net(x())
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, b.weight)
        Net: c = Linear(constant, c.weight)
        outputs: c:0
    """)


def test_modules_alone_with_in_place_functions_and_a_loss() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.a(x)
        y += 1
        return net.b(y)

    net = Net(forward, a=linear(), b=linear())
    with Recorder(net, functions=False) as r:
        nn.MSELoss()(net(x()), x()).backward()
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, b.weight)
        MSELoss = MSELoss(b:0, constant)
        outputs: b:0
    """)


# The same from run to run

PROGRAM = """
import sys, torch
from torch import nn
from recorder import Recorder

torch.manual_seed(0)
net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False)
with Recorder(net) as r:
    net(torch.randn(5, 2, 8)).sum().backward()
sys.stdout.write(r.export("json"))
"""


def test_the_same_program_gives_the_same_bytes() -> None:
    def run(seed: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout

    first = run("1")
    assert len(first) > 10_000
    assert first == run("2")


@pytest.mark.parametrize("format", ["json", "dot", "mermaid", "onnx-json"])
def test_recording_twice_gives_the_same_bytes(format: str) -> None:
    net = Net(lambda net, x: net.block(net.block(x)).relu(), block=Block(lambda block, x: block.fc(x), fc=linear()))
    exports = []
    for _ in range(2):
        with Recorder(net) as r:
            net(x()).sum().backward()
        exports.append(r.export(format))
    assert exports[0] == exports[1]


def test_names_are_unique_and_say_where() -> None:
    net = Net(lambda net, x: net.relu(torch.relu(net.relu(x))), relu=nn.ReLU())
    with Recorder(net) as r:
        net(net(x()))
    names = [node.name for node in r.graph.nodes]
    assert names == ["relu", "relu_1", "relu#1", "relu#2", "Net#1.relu", "relu#3"]
    assert r.graph.scopes[0].fqn == ""
    assert [(node.fqn, node.call) for node in r.graph.nodes if node.kind == "module"] == [("relu", i) for i in range(4)]
    assert {(node.fqn, node.call) for node in r.graph.nodes if node.kind == "function"} == {(None, None)}


def test_targets_are_what_a_user_would_import() -> None:
    net = Net(lambda net, x: nn.functional.relu(torch.add(net.fc(x), 1)).view(-1)[None], fc=linear())
    assert [(node.op_type, node.target) for node in record(net, x()).nodes] == [
        ("Linear", "torch.nn.modules.linear.Linear"),
        ("add", "torch.add"),
        ("relu", "torch.nn.functional.relu"),
        ("view", "torch.Tensor.view"),
        ("getitem", "torch.Tensor.__getitem__"),
    ]


def test_operators_are_named_as_they_are_called() -> None:
    net = Net(lambda net, x: torch.ops.aten.relu_.default(torch.ops.aten.mul(torch.ops.aten.add.Tensor(x, 1), x)))
    graph = record(net, x())
    assert [(node.op_type, node.target) for node in graph.nodes] == [
        ("add", "torch.ops.aten.add.Tensor"),
        ("mul", "torch.ops.aten.mul"),
        ("relu_", "torch.ops.aten.relu_.default"),
    ]


def test_arguments_and_hyper_parameters_are_attributes() -> None:
    net = Net(lambda net, x: torch.cumsum(net.conv(x), dim=1, dtype=torch.float64).view(2, -1), conv=nn.Conv1d(1, 2, 3))
    conv, cumsum, view = record(net, x(2, 1, 5)).nodes
    assert conv.attributes["kernel_size"] == [3]
    assert conv.attributes["in_channels"] == 1
    assert cumsum.attributes == {"dim": 1, "dtype": "float64"}
    assert view.attributes == {"arg1": 2, "arg2": -1}


class Shown(nn.Module):
    """Tells its hyper-parameters when it is printed, as modules of other libraries do."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        self.text = text

    def extra_repr(self) -> str:
        if self.text is None:
            raise RuntimeError("not now")
        return self.text

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nf=48, nx=16", {"nf": 48, "nx": 16}),
        ("(16,), eps=1e-06, bias=False", {"eps": 1e-06, "bias": False}),
        ("kernel=(3, 3), mode='a, b', act=gelu, sizes=[1, 2]", {
            "kernel": [3, 3], "mode": "a, b", "act": "gelu", "sizes": [1, 2],
        }),
        ("no names", {}),
        ("x=__import__('os').getpid()", {"x": "__import__('os').getpid()"}),
        (None, {}),
    ],
)  # fmt: skip
def test_what_a_module_shows_of_itself_are_its_attributes(text: str | None, expected: dict[str, Any]) -> None:
    (scope,) = record(Shown(text), x()).scopes
    assert scope.attributes == expected


def test_attention_tells_its_heads() -> None:
    net = Net(lambda net, x: net.attention(x, x, x)[0], attention=nn.MultiheadAttention(8, 2, dropout=0.1))
    (node,) = (node for node in record(net, x(3, 2, 8)).nodes if node.op_type == "MultiheadAttention")
    told = {"embed_dim": 8, "num_heads": 2, "dropout": 0.1, "training": True, "batch_first": False}
    assert node.attributes == told


# Size


def test_a_very_deep_graph_is_freed_without_a_crash() -> None:
    program = """
import torch
from torch import nn
from recorder import Recorder

class Deep(nn.Module):
    def forward(self, x):
        for _ in range(60_000):
            x = x + 1
        return x

net = Deep()
with Recorder(net) as r:
    y = net(torch.ones(1, requires_grad=True))
del y
print(len(r.events))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60_000
