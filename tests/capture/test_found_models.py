"""Models that nobody named beforehand."""

import gc
import weakref

import pytest
import torch
from torch import nn

from recorder import Recorder
from recorder.cli.script_recorder import ScriptRecorder


def fqns(recorder):
    return [node.fqn for node in recorder.graph.nodes if node.kind == "module"]


def test_one_model_has_no_prefix_as_if_it_had_been_named():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with ScriptRecorder((), None) as found, Recorder(net) as named:
        net(torch.ones(1, 2))
    assert fqns(found) == fqns(named) == ["0", "1"]
    assert found.graph.name == named.graph.name == "Sequential"
    assert [v.shape for v in found.graph.inputs] == [v.shape for v in named.graph.inputs]


def test_several_have_the_names_that_the_outermost_code_has_for_them():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)

    def step(model, x):
        return model(x)

    with ScriptRecorder((), None) as r:
        step(second, step(first, torch.ones(1, 2)))
    assert fqns(r) == ["first", "second"]
    assert r.found.kinds == {"first": nn.Linear, "second": nn.Linear}
    edges = [(edge.source.name, edge.target.name) for edge in r.graph.edges()]
    assert ("first", "second") in edges


def test_attributes_and_nameless_models_of_one_class_are_told_apart():
    class Holder:
        def __init__(self):
            self.model = nn.Linear(2, 2)

        def __getattribute__(self, name):
            if name == "__dict__":
                raise AssertionError("the owner's code was run")
            return super().__getattribute__(name)

        def run(self):
            self.model(torch.ones(1, 2))

    def several():
        return [nn.Linear(2, 2), nn.Linear(2, 2)]

    with ScriptRecorder((), None) as r:
        Holder().run()
        for number in range(2):
            several()[number](torch.ones(1, 2))
    assert fqns(r) == ["model", "Linear", "Linear_1"]


def test_looking_for_a_name_keeps_nothing_alive():
    def script():
        net, big = nn.Linear(2, 2), torch.ones(1, 2)
        gone = weakref.ref(big)
        net(big)
        del big
        return gone() is None, weakref.ref(net)

    with ScriptRecorder((), 1) as r:
        freed, net = script()
        assert freed
        assert net() is not None  # until its name is final
        r.found.settle()
        gc.collect()
        assert net() is None
    assert fqns(r) == [""]


@pytest.mark.parametrize("functions", [True, False])
def test_after_the_steps_the_run_is_as_unrecorded(functions):
    net = nn.Linear(2, 2)
    with ScriptRecorder((), 2, functions=functions) as r:
        for _ in range(2):
            net(torch.ones(1, 2)).sum().backward()
        assert len(nn.modules.module._global_forward_pre_hooks) == 1
        net(torch.ones(1, 2))
        assert len(nn.modules.module._global_forward_pre_hooks) == 0
        assert len(nn.modules.module._global_forward_hooks) == 0
        assert torch._C._len_torch_function_stack() == 0
        net(torch.ones(1, 2))
    assert len([node for node in r.graph.nodes if node.kind == "module"]) == 2
    assert r.found.over
    r.graph.lint()


def test_a_whole_takes_the_place_of_its_parts():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    with ScriptRecorder((), None) as r:
        net[1](net[0](torch.ones(1, 2)))
        net(torch.ones(1, 2))
    assert fqns(r) == ["0", "1.0", "0", "1.0"]
    assert [node.call for node in r.graph.nodes] == [0, 0, 1, 1]
    r.graph.lint()
