"""What is not registered, and what was not called, is told: by the graph, the table and the report of gradients."""

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Net, linear, net_with_relu, x
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from recorder import EventStream, Graph, Recorder, assemble, dumps, loads, remarks
from recorder.summary import Summary


class Holder:
    """No module, and holds one."""

    def __init__(self) -> None:
        self.layer = linear()


def strange(graph: Graph) -> list[str]:
    return [value.name for value in graph.values() if "unregistered" in value.meta]


def recorded(net: nn.Module, *args: Any, **options: Any) -> Recorder:
    with Recorder(net, **options) as r:
        net(*args).sum().backward()
    return r


def uncalled(graph: Graph) -> list[str]:
    return [told["fqn"] for told in graph.meta.get("never_called", [])]


def as_saved(r: Recorder, path: Path) -> list[Graph]:
    """The graph as the recorder has it, from a saved stream, and from a saved graph."""
    return [r.graph, assemble(EventStream.load(r.events.save(path / "run.jsonl"))), loads(dumps(r.graph))]


# What is not registered


def in_a_list(net: Any, x: Tensor) -> Tensor:
    for layer in net.layers:
        x = layer(x).relu()
    return net.out(x)


def with_layers(layers: Any) -> Net:
    net = Net(in_a_list, out=linear(4, 1))
    net.layers = layers
    return net


def test_layers_in_a_plain_list_are_not_registered(tmp_path: Path) -> None:
    net = with_layers([nn.Linear(4, 4) for _ in range(3)])
    r = recorded(net, x(), gradients="stats")
    own = sum(p.numel() for p in net.parameters())
    for graph in as_saved(r, tmp_path):
        summary, report = Summary(graph), graph.gradient_report()
        assert summary.total["parameters"] == summary.total["trainable"] == own
        assert summary.total["parameter_bytes"] == 4 * own
        assert summary.totals()[0] == f"{own} parameters, {own} trainable, {4 * own} B"
        assert summary.remarks[0].startswith("60 more parameters are used and not registered: no optimizer over")
        assert [row.name for row in summary.rows if row.unregistered] == ["Linear", "Linear_1", "Linear_2"]
        assert str(summary).count(" (not registered)") == 3
        assert not report.ok
        assert not report.missing
        assert str(report.unregistered[0]) == (
            "Linear.weight: not registered: no optimizer over the model's parameters sees it"
        )
        assert len(report.unregistered) == 6
        assert "accumulated nothing" not in str(report)
    shares = [record["parameters_share"] for record in r.summary(columns="all").records()]
    assert shares[0] == 1
    assert net.layers[0].weight.grad is not None


@pytest.mark.parametrize("held", [{"a": linear()}, (linear(),), [linear(), linear()]], ids=["dict", "tuple", "list"])
def test_other_plain_holders(held: Any) -> None:
    net = Net(lambda net, x: net.out(sum(layer(x) for layer in net.all())), out=linear())
    net.all = (lambda: held.values()) if isinstance(held, dict) else (lambda: held)
    assert len(strange(recorded(net, x()).graph)) == len(held)


def test_a_layer_of_an_object_and_one_that_is_thrown_away() -> None:
    net = Net(lambda net, x: net.out(nn.Linear(4, 4)(net.holder.layer(x))), out=linear())
    net.holder = Holder()
    r = recorded(net, x(), gradients="on")
    assert sorted(strange(r.graph)) == ["Linear.bias", "Linear.weight", "Linear.weight_1"]
    assert len(r.graph.gradient_report().unregistered) == 3


def test_a_block_in_a_list_is_marked_with_what_is_in_it() -> None:
    block = Net(lambda net, x: net.fc(x).relu(), fc=linear())
    net = with_layers([block])
    graph = recorded(net, x()).graph
    assert [scope.name for scope in graph.scopes if "unregistered" in scope.meta] == ["Net_1"]
    assert [node.name for node in graph.nodes if "unregistered" in node.meta] == ["Net.fc"]


@pytest.mark.parametrize("wrapped", [nn.Parameter, lambda tensor: tensor.requires_grad_()], ids=["Parameter", "Tensor"])
@pytest.mark.parametrize("functions", [True, False])
def test_a_tensor_in_a_plain_list_that_requires_a_gradient(wrapped: Callable[..., Any], functions: bool) -> None:
    net = Net(lambda net, x: net.out(net.plain[0], x * 1), out=nn.Bilinear(4, 4, 2))
    net.plain = [wrapped(torch.randn(2, 4))]
    r = recorded(net, x(), functions=functions, gradients="on")
    if not functions:  # then it may have been made in forward, and nobody looked
        assert strange(r.graph) == []
        return
    assert strange(r.graph) == ["constant"]
    assert [found.parameter for found in r.graph.gradient_report().unregistered] == ["constant"]
    assert r.summary().remarks[0].startswith("8 more parameters are used and not registered")


def test_a_frozen_layer_that_is_not_registered_is_counted_and_no_fault() -> None:
    net = with_layers([linear().requires_grad_(requires_grad=False)])
    r = recorded(net, x(), gradients="on")
    assert strange(r.graph) == ["Linear.weight"]
    assert r.graph.gradient_report().ok


class Lazily(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "fc"):
            self.fc = linear()
        y: Tensor = self.fc(x)
        return y


def tied() -> nn.Module:
    net = nn.Sequential(linear(), linear())
    net[1].weight = net[0].weight
    return net


def replaced_while_it_runs() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        y = x @ net.w
        net.w = nn.Parameter(torch.ones(4, 4))
        return y

    return Net(forward, w=nn.Parameter(torch.ones(4, 4)))


def detached_inside() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        z = x.detach().requires_grad_()
        y: Tensor = torch.autograd.grad(net.fc(z).sum(), z, create_graph=True)[0] * net.fc(x)
        return y

    return Net(forward, fc=linear())


MODELS: dict[str, Callable[[], nn.Module]] = {
    "tied": tied,
    "lazily registered": Lazily,
    "lazy": lambda: nn.LazyLinear(3),
    "parametrized": lambda: parametrizations.weight_norm(linear()),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(linear())),
    "spectral": lambda: nn.Sequential(parametrizations.spectral_norm(linear())),
    "replaced": replaced_while_it_runs,
    "detached inside": detached_inside,
    "attention": lambda: Net(lambda net, x: net.attention(x, x, x)[0], attention=nn.MultiheadAttention(4, 2)),
    "list": lambda: Net(lambda net, x: net.layers[0](x), layers=nn.ModuleList([linear()])),
    "parameters": lambda: Net(lambda net, x: x @ net.ps[0] + net.of["b"], ps=nn.ParameterList([torch.ones(4, 4)]),
                              of=nn.ParameterDict({"b": torch.ones(4)})),
    "encoder": lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    "iterated": lambda: Net(lambda net, x: net.body[1](net.body[0](x)), body=nn.Sequential(linear(), nn.ReLU())),
}  # fmt: skip


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("functions", [True, False])
def test_what_is_registered_and_called_is_not_accused(make: Callable[[], nn.Module], functions: bool) -> None:
    net = make()
    r = recorded(net, x(), functions=functions)
    told = [key for key in ("never_called", "only_parts_used", "nothing_recorded") if key in r.graph.meta]
    assert (strange(r.graph), told) == ([], [])
    if functions and isinstance(net, Net | nn.Sequential) and not hasattr(net, "w"):
        assert remarks(r.graph) == []
    own = {id(p): p.numel() for p in net.parameters()}
    assert r.summary().parameters == sum(own.values())


def test_a_fused_layer_calls_nothing_and_uses_all() -> None:
    net = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    with Recorder(net) as r, torch.no_grad():
        net(torch.randn(1, 3, 4))
    assert len(r.graph.nodes) == 1
    assert remarks(r.graph) == []


def test_the_tensors_of_functional_call_are_no_parameters_that_somebody_forgot() -> None:
    net = net_with_relu()
    others = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    with Recorder(net) as r:
        functional_call(net, others, (x(),)).sum().backward()
    assert strange(r.graph) == []


def test_an_input_that_requires_a_gradient_is_no_parameter() -> None:
    graph = recorded(net_with_relu(), x().requires_grad_()).graph
    assert strange(graph) == []


@pytest.mark.parametrize("outer", [True, False])
def test_a_wrapper_and_what_it_wraps(outer: bool) -> None:
    inner = net_with_relu()
    wrapper = Net(lambda net, x: net.module(x), module=inner)
    with Recorder(wrapper if outer else inner) as r:
        wrapper(x())
    assert strange(r.graph) == uncalled(r.graph) == []


def test_a_loss_with_parameters_is_beside_the_model() -> None:
    net, loss = net_with_relu(), Net(lambda net, y: net.fc(y).sum(), fc=linear(4, 1))
    with Recorder(net, gradients="on") as r:
        loss(net(x())).backward()
    report = r.graph.gradient_report()
    assert r.graph.meta.get("never_called") is None
    assert [v.meta.get("unregistered") for v in r.graph.initializers] == [None, "beside"]
    assert report.ok
    assert "whether a gradient reached Net.fc.weight: give its module to the Recorder, too" in report.unknown
    assert r.summary().parameters == sum(p.numel() for p in net.parameters())
    assert r.summary().remarks == ["4 more parameters are used in modules beside the model (Net.fc.weight)"]


# What was not called


def test_modules_that_were_never_called_are_named(tmp_path: Path) -> None:
    net = Net(lambda net, x: net.used(x), used=nn.Linear(4, 4), aux_head=nn.Sequential(linear(), nn.Linear(4, 100)))
    for graph in as_saved(recorded(net, x(), gradients="on"), tmp_path):
        assert graph.meta["never_called"] == [{"fqn": "aux_head", "op_type": "Sequential", "parameters": 516}]
        assert Summary(graph).totals()[-1] == "never called: aux_head (516 parameters)"
        missing = {found.parameter: found.reason for found in graph.gradient_report().missing}
        assert missing == {
            f"aux_head.{name}": "its module `aux_head` was never called" for name in ("0.weight", "1.weight", "1.bias")
        }


def test_parameters_that_a_function_uses_are_used() -> None:
    net = Net(lambda net, x: F.linear(x, net.fc.weight), fc=nn.Linear(4, 3), other=linear(), own=nn.Parameter(x(7)))
    graph = recorded(net, x()).graph
    assert uncalled(graph) == ["other"]
    assert graph.meta["only_parts_used"] == [{"fqn": "fc", "op_type": "Linear", "parameters": 3}]
    assert remarks(graph) == [
        "never called: other (16 parameters)",
        "not called, and parameters or buffers of it used: fc",
        "10 more parameters are used in no recorded call",
    ]
    summary = Summary(graph)
    assert summary.rows[0].parameters + 16 + 10 == summary.parameters


def test_a_container_is_told_only_for_what_is_in_it() -> None:
    net = Net(lambda net, x: net.a[0](x), a=nn.ModuleList([linear(), linear()]), b=nn.ModuleDict({"c": linear()}),
              empty=nn.ModuleList(), drop=nn.Dropout())  # fmt: skip
    assert uncalled(recorded(net, x()).graph) == ["a.1", "b", "drop"]


def test_a_module_that_is_shared_with_a_called_one() -> None:
    shared = linear()
    net = Net(lambda net, x: net.a[0](x), unused=nn.ModuleList([linear(), shared]), a=nn.ModuleList([shared]))
    assert uncalled(recorded(net, x()).graph) == ["unused.0"]
    late = Net(lambda net, x: net.inner.fc(x), a=nn.ModuleList([linear()]), inner=Net(lambda net, x: x, fc=shared))
    late.again = nn.ModuleList([late.inner])
    assert uncalled(recorded(late, x()).graph) == ["a"]


def test_what_a_thread_called_is_not_never_called() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        worker = threading.Thread(target=net.aside, args=(x,))
        worker.start()
        worker.join()
        y: Tensor = net.fc(x)
        return y

    net = Net(forward, fc=linear(), aside=linear(), idle=linear())
    assert uncalled(recorded(net, x()).graph) == ["idle"]


def test_a_replica_on_a_thread_leaves_it_open_what_was_called() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        worker = threading.Thread(target=copy.copy(net.aside), args=(x,))
        worker.start()
        worker.join()
        y: Tensor = net.fc(x)
        return y

    net = Net(forward, fc=linear(), aside=linear(), idle=linear())
    assert uncalled(recorded(net, x()).graph) == []


def test_a_block_that_raised_says_nothing_of_what_it_would_have_called() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        net.a(x)
        raise ValueError("no")

    net = Net(forward, a=linear(), b=linear())
    r = Recorder(net)
    with pytest.raises(ValueError, match="no"), r:
        net(x())
    assert uncalled(r.graph) == []


def test_a_block_that_goes_on_counts_with_the_one_before() -> None:
    net = nn.ModuleDict({"a": linear(), "b": linear()})
    r = Recorder(net)
    for name in net:
        with r:
            net[name](x())
        assert uncalled(r.graph) == (["b"] if name == "a" else [])


@pytest.mark.parametrize("options", [{"keep": 1}, {"stream": "run.jsonl"}, {"every": 2}], ids=str)
def test_of_a_long_run_it_is_known_as_well(options: dict[str, Any], tmp_path: Path) -> None:
    if "stream" in options:
        options = {"stream": tmp_path / "run.jsonl"}
    net = with_layers([linear()])
    net.idle, net.first = linear(), linear()
    r = Recorder(net, **options)
    with r:
        net.first(x())
        for _ in range(4):
            net(x()).sum().backward()
    graph = r.graph
    assert uncalled(graph) == ["idle"]
    assert [value for value in strange(graph) if "Linear" in value] == ["Linear.weight"]
    said = "not called in any recorded step" if "every" in options else "never called"
    assert f"{said}: idle (16 parameters)" in remarks(graph)


def test_each_call_has_it_in_its_own_graph() -> None:
    net = with_layers([linear()])
    net.idle = linear()
    with Recorder(net) as r:
        net(x())
        net(x())
    for graph in r.graphs:
        assert uncalled(graph) == ["idle"]
        assert strange(graph) == ["Linear.weight"]


def test_an_older_recording_says_nothing() -> None:
    net = with_layers([linear()])
    net.idle = linear()
    events = recorded(net, x()).events
    older = EventStream([event for event in events if type(event).__name__ != "Holdings"], events.header)
    assert remarks(assemble(older)) == []
    assert Summary(assemble(older)).parameters == sum(p.numel() for p in net.parameters()) + 16


def test_a_header_that_says_what_is_not_for_it_to_say() -> None:
    events = recorded(net_with_relu(), x()).events
    events.header.meta.update(never_called="all", nothing_recorded=3, only_parts_used={}, unused_parameters=-1)
    assert assemble(events).meta == {}


# Nothing was recorded


def warned(r: Recorder, run: Callable[[], Any]) -> str:
    with pytest.warns(RuntimeWarning) as told, r:
        run()
    assert len(told) == 1
    assert told[0].filename == __file__
    return str(told[0].message)


def test_calls_of_a_copy_are_told() -> None:
    net = net_with_relu()
    other = copy.deepcopy(net)
    r = Recorder(net)
    expected = (
        "nothing was recorded in this block: no call of Net was seen; calls of Net were seen, which is another object "
        "of the same class: record the object that is called"
    )
    assert warned(r, lambda: other(x())) == expected
    assert r.graph.meta["nothing_recorded"] == expected
    assert expected.split(";")[0] in str(r.summary())
    assert "FLOPs" not in str(r.summary())
    assert expected.split(";")[0] in str(r.export("html"))
    assert "nothing was recorded" in str(r.export("dot"))
    assert "nothing was recorded" in str(r.export("mermaid"))


def test_calls_of_something_else_are_told() -> None:
    assert "calls of Linear were seen, which is no part of it" in warned(
        Recorder(net_with_relu()), lambda: linear()(x())
    )


def test_a_block_that_calls_nothing_warns_each_time() -> None:
    net = net_with_relu()
    r = Recorder(net)
    for _ in range(2):
        assert warned(r, lambda: None).endswith("call the model itself inside the block, as net(x)")
    with r:
        net(x())
    assert "nothing_recorded" not in r.graph.meta


def test_calls_on_another_thread_are_told() -> None:
    net = net_with_relu()

    def run() -> None:
        worker = threading.Thread(target=net, args=(x(),))
        worker.start()
        worker.join()

    assert "it was called on another thread" in warned(Recorder(net), run)


def test_a_copy_is_told_even_if_something_else_was_recorded() -> None:
    net = net_with_relu()
    r = Recorder(net)
    with r:
        y = net(x())
    other = copy.deepcopy(net)
    assert warned(r, lambda: other(y.detach()) + y).startswith(
        "no call of Net was recorded in this block; calls of Net"
    )


def test_a_step_that_is_left_out_is_no_empty_block() -> None:
    net = net_with_relu()
    r = Recorder(net, every=2)
    for _ in range(3):
        with r:
            net(x())
    assert len(r.graphs) == 2


def test_a_block_that_raises_adds_no_noise() -> None:
    with pytest.raises(ValueError, match="no"), Recorder(net_with_relu()):
        raise ValueError("no")


def test_blocks_in_each_other_warn_for_themselves() -> None:
    net, other = net_with_relu(), net_with_relu()
    outer = Recorder(net)
    assert "no call of Net" in warned(
        Recorder(other), lambda: [outer.__enter__(), net(x()), outer.__exit__(None, None, None)]
    )
    assert len(outer.graph.nodes) == 2


def test_strangers_are_looked_at_until_something_is_recorded() -> None:
    net, other = net_with_relu(), linear()
    with Recorder(net) as r:
        outside = r._session.capture.outside
        other(x())
        assert outside.strangers is not None
        net(x())
        assert outside.strangers is None
        other(x())
        assert outside.strangers is None


def test_nothing_is_kept_alive_by_what_is_told() -> None:
    import gc
    from weakref import ref

    net = with_layers([linear()])
    r = recorded(net, x())
    gone = [ref(net), ref(net.layers[0]), ref(net.out.weight)]
    r.graph.lint()
    del net
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3


def test_a_parametrization_is_called_where_it_is_used() -> None:
    class Twice(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 2

    fc = linear()
    parametrize.register_parametrization(fc, "weight", Twice())
    net = Net(lambda net, x: net.fc(x), fc=fc, idle=parametrizations.weight_norm(linear()))
    assert uncalled(recorded(net, x()).graph) == ["idle"]


def test_a_buffer_that_is_used_is_a_part_that_is_used() -> None:
    net = Net(
        lambda net, x: net.fc(x) + net.table.angles, fc=linear(), table=Net(lambda net, x: x, angles=torch.ones(4))
    )
    graph = recorded(net, x()).graph
    assert uncalled(graph) == []
    assert graph.meta["only_parts_used"] == [{"fqn": "table", "op_type": "Net", "parameters": 0}]


def test_a_name_on_the_page_is_text() -> None:
    net = net_with_relu()
    net.add_module("<img src=x>", linear())
    page = str(recorded(net, x()).export("html"))
    assert "<li>never called: &lt;img src=x&gt; (16 parameters)</li>" in page
    assert "<img" not in page


def test_of_several_others_the_first_is_told() -> None:
    def run() -> None:
        nn.Sequential(linear(), nn.ReLU())(x())
        nn.Tanh()(x())

    assert "calls of Sequential were seen, which is no part of it" in warned(Recorder(net_with_relu()), run)
