"""Calls as they were called: what a module was given and returned, in the order and under the names of the call."""

from types import MethodType
from typing import Any

import msgspec
import pytest
import torch
from support.models import Net, linear, x
from torch import Tensor, nn

from recorder import Graph, Recorder, Scope, assemble, collapse, dumps, fold, loads


class Part(nn.Module):
    """Takes what it does not use, and returns what nobody uses, in an order that is not that of dataflow."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 2), nn.Linear(4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor, mask: Tensor, scale: Tensor, note: str = "", *more: Tensor) -> tuple[Tensor, ...]:
        aux, main, unused = self.a(x * scale), self.b(x), self.c(x)
        return main.masked_fill(mask, 0.0), aux, unused


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = Part()

    def forward(self, x: Tensor, *, mask: Tensor, pair: tuple[Tensor, dict[str, Tensor]], mode: str = "train") -> Any:
        scale, rest = pair
        main, aux, _ = self.p(x, mask, scale, "n", rest["deep"])
        return {"main": main, "past": (aux, [main])}


MASK = torch.zeros(1, 3, dtype=torch.bool)


def recorded(**options: Any) -> Graph:
    net = Whole()
    with Recorder(net, **options) as r:
        net(torch.randn(1, 4), mask=MASK, pair=(torch.tensor(2.0), {"deep": torch.ones(7)}), mode="eval")
    r.graph.lint()
    return r.graph


def shapes(values: Any) -> list[list[int]]:
    return [list(value.shape) for value in values]


@pytest.mark.parametrize("functions", [True, False])
def test_a_call_is_told_as_it_was_called(functions: bool) -> None:
    graph = recorded(functions=functions)
    whole, part = graph.scopes
    assert whole.input_names == ("x", "mask", "pair.0", "pair.1.deep")
    assert shapes(whole.inputs) == [[1, 4], [1, 3], [], [7]]
    assert whole.output_names == ("main", "past.0", "past.1.0")
    assert shapes(whole.outputs) == [[1, 3], [1, 2], [1, 3]]
    assert whole.outputs[0] is whole.outputs[2]
    assert whole.meta["arguments"] == {"mode": "eval"}
    assert part.input_names == ("x", "mask", "scale", "more.0")
    assert shapes(part.inputs) == [[1, 4], [1, 3], [], [7]]
    assert part.output_names == ("0", "1", "2")
    assert shapes(part.outputs) == [[1, 3], [1, 2], [1, 5]]
    assert part.meta["arguments"] == {"note": "n"}
    assert (graph.input_names, shapes(graph.inputs)) == (list(whole.input_names), shapes(whole.inputs))
    assert [value.name for value in graph.inputs] == ["x", "mask", "pair.0", "pair.1.deep"]
    assert (graph.output_names, list(graph.outputs)) == (list(whole.output_names), list(whole.outputs))


def test_a_leaf_has_the_names_of_its_arguments_and_parameters() -> None:
    net = Net(lambda net, x: net.lstm(net.fc(input=x))[0], fc=nn.Linear(4, 4), lstm=nn.LSTM(4, 3))
    with Recorder(net) as r:
        net(x())
    fc, lstm = (node for node in r.graph.nodes if node.kind == "module")
    assert fc.input_names == ("input", "weight", "bias")
    assert fc.output_names == ("",)
    assert lstm.input_names == ("input", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert lstm.output_names == ("0", "1.0", "1.1")
    assert [node.input_names for node in r.graph.nodes if node.kind == "function"] == [()] * (len(r.graph.nodes) - 2)


def test_what_came_in_is_what_it_was_then() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return net.block(x).add_(1)

    def inside(block: Net, h: Tensor) -> Tensor:
        return h.mul_(2).relu_()

    block = Net(inside)
    net = Net(lambda net, x: forward(net, net.fc(x)), fc=linear(), block=block)
    with torch.no_grad(), Recorder(net) as r:
        net(x())
    scope = next(scope for scope in r.graph.scopes if scope.fqn == "block")
    assert [value.name for value in scope.inputs] == ["fc:0"]
    assert [value.name for value in scope.outputs] == ["block.relu_:0"]


def test_a_cache_that_is_filled_inside_was_not_given() -> None:
    def forward(net: Net, x: Tensor, *, cache: list[Tensor]) -> Tensor:
        cache.append(net.fc(x))
        return cache[0] + cache[-1]

    net = Net(forward, fc=linear())
    kept = [x()]
    with Recorder(net) as r:
        net(x(), cache=kept)
    assert r.graph.scopes[0].input_names == ("input", "cache.0")
    assert r.graph.input_names == ["input", "cache.0"]


def test_forwards_that_are_hard_to_ask() -> None:
    def own(self: nn.Module, hidden: Tensor) -> Tensor:
        return self.fc(hidden).exp()

    class Unaskable(nn.Module):
        class Forward:
            def __get__(self, module: Any, kind: Any) -> Any:
                if module is None:
                    raise AttributeError("not of the class")
                return module.fc.forward

        forward = Forward()  # type: ignore[assignment]

    for net, names in ((nn.Identity(), ("hidden",)), (Unaskable(), ("",))):
        net.fc = nn.Sequential(nn.Linear(4, 4))
        if isinstance(net, nn.Identity):
            net.forward = MethodType(own, net)  # type: ignore[method-assign]
        with Recorder(net) as r:
            net(x())
        r.graph.lint()
        assert r.graph.scopes[0].input_names == names
        assert [value.name for value in r.graph.inputs] == [names[0] or "input"]


def test_names_outlive_files_and_views() -> None:
    graph = recorded()
    again = loads(dumps(graph))
    assert again == graph

    def told(scope: Scope) -> Any:
        return [v.name for v in scope.inputs], scope.input_names, [v.name for v in scope.outputs], scope.output_names

    assert list(map(told, again.scopes)) == list(map(told, graph.scopes))
    (node,) = (node for node in collapse(graph, 1).nodes if node.fqn == "p")
    part = graph.scopes[1]
    assert node.input_names[:3] == ("x", "mask", "scale")
    assert [v.name for v in node.inputs[:3]] == [v.name for v in part.inputs[:3]]
    assert node.input_names[3:] == ("a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias")
    assert ([v.name for v in node.outputs], node.output_names) == ([v.name for v in part.outputs], part.output_names)
    for view in (fold(graph), collapse(graph, 0)):
        view.lint()
        assert (view.input_names, view.output_names) == (graph.input_names, graph.output_names)


def test_a_recording_without_names_has_none() -> None:
    graph = recorded()
    net = Whole()
    with Recorder(net) as r:
        net(
            torch.randn(1, 4),
            mask=torch.zeros(1, 3, dtype=torch.bool),
            pair=(torch.tensor(2.0), {"deep": torch.ones(7)}),
        )
    stream = r.events

    stripped = type(stream)(
        (
            msgspec.structs.replace(event, input_names=(), output_names=()) if hasattr(event, "input_names") else event
            for event in stream
        ),
        stream.header,
    )
    old = assemble(stripped)
    old.lint()
    assert shapes(old.scopes[1].outputs) == shapes(graph.scopes[1].outputs)
    assert set(old.scopes[1].input_names) == {""}
    assert [value.name for value in old.inputs] == ["input", "input_1", "input_2", "input_3"]


def test_several_models_have_names() -> None:
    g, d = nn.Sequential(nn.Linear(4, 8)), nn.Sequential(nn.Linear(8, 1))
    with Recorder({"generator": g, "critic": d}) as r:
        d(g(x()))
        d(torch.randn(2, 8))
    rows = [(row.name, row.label) for row in r.summary().rows]
    assert rows == [
        ("generator", "generator"), ("generator.0", "0"), ("critic", "critic"), ("critic.0", "0"),
        ("critic#1", "critic#1"), ("critic.0#1", "0"),
    ]  # fmt: skip
    assert {value.name for value in r.graph.initializers} == {
        "generator.0.weight", "generator.0.bias", "critic.0.weight", "critic.0.bias",
    }  # fmt: skip
    with Recorder(g, d) as r:
        d(g(x()))
        g(x())
        d(torch.randn(2, 8))
    assert [(scope.name, scope.fqn) for scope in r.graph.scopes] == [
        ("Sequential", ""), ("Sequential_1", "Sequential_1"), ("Sequential#1", ""), ("Sequential_1#1", "Sequential_1"),
    ]  # fmt: skip


def test_names_of_models_are_checked() -> None:
    with pytest.raises(ValueError, match="no model"):
        Recorder({})
    with pytest.raises(TypeError, match="name is text"):
        Recorder({1: nn.ReLU()})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="all models or none"):
        Recorder({"a": nn.ReLU()}, nn.ReLU())
    with pytest.raises(TypeError, match=r"takes torch.nn.Module objects, and was given str"):
        Recorder({"a": "b"})  # type: ignore[dict-item]
