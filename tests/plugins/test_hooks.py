"""Hooks, one by one."""

import ast
import inspect
from pathlib import Path

import pytest
from support.toy_formats import Toy, offering

from recorder import hookimpl
from recorder.hookspecs import Hooks
from recorder.testing import sample_graphs


class Loud:
    """Raises in every hook but that of registering."""

    @hookimpl
    def recorder_open_sink(self, recorder):
        raise ValueError("no sink")

    @hookimpl
    def recorder_annotate_graph(self, graph):
        raise ValueError("no facts")

    @hookimpl
    def recorder_register_commands(self, cli):
        raise ValueError("no commands")


class Quiet:
    """Does its duty in every hook, and takes note."""

    def __init__(self):
        self.got = []

    @hookimpl
    def recorder_open_sink(self, recorder):
        self.got.append(recorder)
        return self.got.append

    @hookimpl
    def recorder_annotate_graph(self, graph):
        graph.nodes[0].meta["quiet"] = len(graph.nodes)

    @hookimpl
    def recorder_register_commands(self, cli):
        cli.append("command")


@pytest.fixture
def quiet_between_loud(plugins):
    quiet = Quiet()
    for name, plugin in (("loud", Loud()), ("quiet", quiet), ("louder", Loud())):
        plugins.register(plugin, name)
    return quiet


def told_by(caught):
    return sorted(str(warning.message) for warning in caught)


def test_recorder_open_sink_is_asked_of_every_plugin_though_some_raise(plugins, quiet_between_loud):
    with pytest.warns(RuntimeWarning) as caught:
        (sink,) = plugins.open_sinks("the recorder")
    sink("an event")
    assert quiet_between_loud.got == ["the recorder", "an event"]
    assert told_by(caught) == [
        f"the plugin '{name}' raised in recorder_open_sink: ValueError: no sink" for name in ("loud", "louder")
    ]


def test_recorder_annotate_graph_is_asked_of_every_plugin_though_some_raise(plugins, quiet_between_loud):
    graph = sample_graphs()["tiny"]
    with pytest.warns(RuntimeWarning) as caught:
        plugins.annotate(graph)
    assert graph.nodes[0].meta == {"quiet": 2}
    assert told_by(caught) == [
        f"the plugin '{name}' raised in recorder_annotate_graph: ValueError: no facts" for name in ("loud", "louder")
    ]


def test_recorder_register_commands_is_asked_of_every_plugin_though_some_raise(plugins, quiet_between_loud):
    commands = []
    with pytest.warns(RuntimeWarning) as caught:
        plugins.register_commands(commands)
    assert commands == ["command"]
    assert told_by(caught) == [
        f"the plugin '{name}' raised in recorder_register_commands: ValueError: no commands"
        for name in ("loud", "louder")
    ]


def test_recorder_register_exporters_may_offer_many_or_none(plugins):
    plugins.register(offering(), "none")
    plugins.register(offering(Toy("a"), Toy("b", ())), "two")
    assert [f.name for f in plugins.formats()] == ["a", "b"]


def test_a_hook_may_leave_out_arguments(plugins):
    class Careless:
        @hookimpl
        def recorder_open_sink(self):
            return print

    plugins.register(Careless(), "careless")
    assert len(plugins.open_sinks("the recorder")) == 1


def test_a_sink_that_is_none_is_no_sink_and_one_that_cannot_be_called_is_named(plugins):
    class Answers:
        def __init__(self, answer):
            self.answer = answer

        @hookimpl
        def recorder_open_sink(self, recorder):
            return self.answer

    plugins.register(Answers(None), "not interested")
    plugins.register(Answers("nonsense"), "confused")
    with pytest.warns(RuntimeWarning, match="'confused' returned 'nonsense' in recorder_open_sink"):
        assert plugins.open_sinks("the recorder") == []


def test_a_sink_that_raises_is_named_once_and_gets_no_more_events(plugins):
    got = []

    class Broken:
        @hookimpl
        def recorder_open_sink(self, recorder):
            def sink(event):
                got.append(event)
                raise ValueError("full")

            return sink

    plugins.register(Broken(), "broken")
    (sink,) = plugins.open_sinks("the recorder")
    with pytest.warns(RuntimeWarning, match="the sink of the plugin 'broken' raised.*: ValueError: full"):
        sink(1)
    sink(2)  # a second warning would be an error
    assert got == [1]


def hooks():
    return {name: hook for name, hook in vars(Hooks).items() if name.startswith("recorder_")}


@pytest.mark.parametrize("name", hooks())
def test_every_hook_is_documented_argument_by_argument(name):
    documentation = inspect.getdoc(hooks()[name])
    assert documentation
    _, section, arguments = documentation.partition("\nArgs:\n")
    assert section
    arguments = arguments.partition("\n\n")[0]
    for argument in list(inspect.signature(hooks()[name]).parameters)[1:]:
        assert any(line.startswith(f"    {argument}: ") for line in arguments.splitlines()), argument


@pytest.mark.parametrize("name", hooks())
def test_every_hook_has_a_test_by_its_name(name):
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert any(test.startswith(f"test_{name}_") for test in tests)
