import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal, Union

import pytest

import recorder
from recorder import ExportError, FormatError, OptionError, PluginError, hookimpl
from recorder.hookspecs import Hooks
from recorder.plugins.manager import Option, Plugins, options_of, parse_options
from recorder.testing import sample_graphs

GRAPH = sample_graphs()["tiny"]
EDGELIST = Path(__file__).parents[2] / "plugins" / "recorder-edgelist"


class Toy:
    """A toy format.

    More about it.
    """

    media_type = "text/plain"

    def __init__(self, name="toy", suffixes=(".toy",)):
        self.name, self.suffixes = name, suffixes

    def export(self, graph, *, depth: int | None = None, direction: Literal["TB", "LR"] = "TB", legend: bool = True):
        return f"{self.name} {depth} {direction} {legend}"


def offering(*exporters):
    """A plugin with these exporters."""

    class Plugin:
        @hookimpl
        def recorder_register_exporters(self, register):
            for exporter in exporters:
                register(exporter)

    return Plugin()


@pytest.fixture
def plugins():
    return Plugins(entries=())


@pytest.fixture
def write_plugin(tmp_path, monkeypatch):
    """Writes an importable module, and returns the entry point that names it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"plugin_{name}.py").write_text(f"from recorder import hookimpl\n{source}")
        monkeypatch.delitem(sys.modules, f"plugin_{name}", raising=False)
        return EntryPoint(name, f"plugin_{name}", "recorder")

    return write


WORKING = """
class Toy:
    name, suffixes, media_type = {name!r}, ({suffix!r},), "text/plain"
    def export(self, graph): return __name__

@hookimpl
def recorder_register_exporters(register): register(Toy())
"""


def working(name, suffix=".toy"):
    return WORKING.format(name=name, suffix=suffix)


# What is found


def test_formats_tell_all_about_an_exporter(plugins):
    plugins.register(offering(Toy("b"), Toy("a", [".a", ".A2"])), "mine")
    a, b = plugins.formats()
    assert (a.name, a.suffixes, a.media_type, a.plugin, a.summary) == (
        "a",
        (".a", ".A2"),
        "text/plain",
        "mine",
        "A toy format.",
    )
    assert b.options == (
        Option("depth", int | None, None),
        Option("direction", Literal["TB", "LR"], "TB"),
        Option("legend", bool, True),
    )
    assert [option.describe() for option in b.options] == [
        "depth: int | None = None",
        "direction: Literal['TB', 'LR'] = 'TB'",
        "legend: bool = True",
    ]


def test_a_suffix_stays_with_the_first_who_claims_it(plugins):
    plugins.register(offering(Toy("first", (".Same",))), "one")
    plugins.register(offering(Toy("second", (".same", ".other"))), "two")
    assert plugins.for_file("x.SAME").name == "first"
    assert plugins.for_file("x.other").name == "second"
    assert plugins.named("second").name == "second"
    assert [f.suffixes for f in plugins.formats()] == [(".Same",), (".other",)]


def test_the_builtin_plugin_goes_first_and_cannot_be_pushed_aside(write_plugin):
    entries = [write_plugin(name, working("dot", ".dot")) for name in ("aaa", "builtin")]
    with pytest.warns(RuntimeWarning, match=r"'aaa' \(plugin_aaa\) is left out: the plugins 'builtin' and 'aaa' both"):
        plugins = Plugins(entries)
    assert [f.plugin for f in plugins.formats()] == ["builtin"]


# What goes wrong with a plugin: it is named, and the others are unharmed


def test_a_second_exporter_of_the_same_name_is_an_error_that_names_both_plugins(plugins):
    plugins.register(offering(Toy()), "one")
    with pytest.raises(PluginError, match="the plugins 'one' and 'two' both register a format 'toy'"):
        plugins.register(offering(Toy("new", (".new",)), Toy()), "two")
    assert [f.name for f in plugins.formats()] == ["toy"], "all of a plugin, or nothing"
    with pytest.raises(FormatError):
        plugins.for_file("x.new")


def test_one_plugin_with_two_exporters_of_the_same_name(plugins):
    with pytest.raises(PluginError, match="the plugins 'one' and 'one' both register a format 'toy'"):
        plugins.register(offering(Toy(), Toy()), "one")


def test_two_plugins_of_the_same_name(plugins):
    plugins.register(offering(Toy()), "one")
    with pytest.raises(PluginError, match="two plugins are named 'one'"):
        plugins.register(offering(Toy("other")), "one")
    assert [f.name for f in plugins.formats()] == ["toy"]


def test_the_same_plugin_twice(plugins):
    plugin = offering(Toy())
    plugins.register(plugin, "one")
    for name in ("one", "two"):
        with pytest.raises(PluginError, match="'one'"):
            plugins.register(plugin, name)
    assert plugins.export(plugins.named("toy"), GRAPH, {}) == "toy None TB True"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import does_not_exist", "ModuleNotFoundError: No module named 'does_not_exist'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (
            "@hookimpl\ndef recorder_register_exporters(register): raise SystemExit(3)",
            "failed to register: SystemExit: 3",
        ),
        (
            "class Mute(Exception):\n def __str__(self): 1 / 0\nraise Mute",
            "Mute: <its message raised an error>",
        ),
        (
            "class Odd:\n def __repr__(self): 1 / 0\n"
            "@hookimpl\ndef recorder_register_exporters(register): register(Odd())",
            "registers <Odd>, which is no exporter",
        ),
        ("@hookimpl\ndef recorder_register_exporters(register): 1 / 0", "failed to register: ZeroDivisionError"),
        ("@hookimpl\ndef recorder_regster_exporters(register): pass", "unknown hook 'recorder_regster_exporters'"),
        ("@hookimpl\ndef recorder_open_sink(recorder, nonsense): pass", "nonsense"),
        ("@hookimpl\ndef recorder_register_exporters(register): register(1)", "registers 1, which is no exporter"),
        ("@hookimpl\ndef recorder_register_exporters(register): register(hookimpl)", "which is no exporter"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named_and_left_out(write_plugin, source, told):
    bad, good = write_plugin("bad", source), write_plugin("good", working("toy"))
    with pytest.warns(RuntimeWarning) as caught:
        plugins = Plugins([bad, good])
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message.startswith("the plugin 'bad' (plugin_bad) is left out: ")
    assert told in message
    assert caught[0].filename == __file__
    assert plugins.export(plugins.for_file("x.toy"), GRAPH, {}) == "plugin_good"
    with pytest.raises(FormatError, match="installed are: toy; left out is the plugin 'bad': ") as error:
        plugins.named("bad")
    assert told in str(error.value)
    plugins.register_commands(None)
    plugins.annotate(GRAPH)
    assert plugins.open_sinks(None) == []


def test_a_plugin_that_is_blocked_is_not_even_imported_and_named_when_missed(write_plugin, monkeypatch):
    monkeypatch.setenv("RECORDER_BLOCK_PLUGINS", "bad, worse")
    entries = [write_plugin("bad", "1 / 0"), write_plugin("worse", "2 / 0"), write_plugin("good", working("toy"))]
    plugins = Plugins(entries)
    assert [f.name for f in plugins.formats()] == ["toy"]
    with pytest.raises(FormatError, match="left out is the plugin 'bad': blocked by RECORDER_BLOCK_PLUGINS; left out"):
        plugins.for_file("x.bad")


class NoSuffixes(Toy):
    def __init__(self):
        self.name = "toy"


class NeedsMore(Toy):
    def export(self, graph, colour):
        return ""


class TakesNothing(Toy):
    def export(self):
        return ""


@pytest.mark.parametrize(
    ("exporter", "told"),
    [
        (Toy, "registers the class Toy: it is to register an instance, Toy()"),
        (NoSuffixes(), "which is no exporter"),
        (Toy(name=3), "which is no exporter"),
        (Toy(suffixes=".toy"), "has the suffixes '.toy'"),
        (Toy(suffixes=("toy",)), "has the suffixes ('toy',)"),
        (Toy(suffixes=(b".toy",)), "has the suffixes (b'.toy',)"),
        (Toy(suffixes=None), "has the suffixes None"),
        (NeedsMore(), "cannot be called as export(graph): missing a required argument: 'colour'"),
        (TakesNothing(), "cannot be called as export(graph): too many positional arguments"),
    ],
)
def test_what_is_no_exporter_is_refused_with_what_is_wrong(plugins, exporter, told):
    with pytest.raises(PluginError) as error:
        plugins.register(offering(exporter), "mine")
    assert "'mine'" in str(error.value)
    assert told in str(error.value)
    assert plugins.formats() == []


class Failing(Toy):
    def __init__(self, result):
        super().__init__()
        self.result = result

    def export(self, graph):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def test_an_exporter_that_raises_is_named_with_its_plugin(plugins):
    plugins.register(offering(Failing(KeyError("gone"))), "mine")
    with pytest.raises(PluginError, match="exporter 'toy' of the plugin 'mine' failed: KeyError: 'gone'") as error:
        plugins.export(plugins.named("toy"), GRAPH, {})
    assert isinstance(error.value.__cause__, KeyError)


def test_an_error_of_ours_passes_through_as_it_is(plugins):
    error = ExportError("install the program")
    plugins.register(offering(Failing(error)), "mine")
    with pytest.raises(ExportError) as caught:
        plugins.export(plugins.named("toy"), GRAPH, {})
    assert caught.value is error


@pytest.mark.parametrize(("result", "kind"), [(None, "NoneType"), (3, "int"), (["line"], "list")])
def test_an_exporter_that_returns_nonsense_is_named_with_its_plugin(plugins, result, kind):
    plugins.register(offering(Failing(result)), "mine")
    with pytest.raises(PluginError, match=f"'toy' of the plugin 'mine' returned {kind}"):
        plugins.export(plugins.named("toy"), GRAPH, {})


# Hooks, one by one


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


# Options


def test_options_are_checked_before_the_exporter_runs(plugins):
    plugins.register(offering(Toy()), "mine")
    toy = plugins.named("toy")
    good = {"depth": 3, "direction": "LR", "legend": False}
    assert plugins.export(toy, GRAPH, good) == "toy 3 LR False"
    with pytest.raises(OptionError, match="format 'toy' has no option 'size'; its options are: depth: int") as error:
        plugins.export(toy, GRAPH, {"size": 1})
    assert "direction: Literal['TB', 'LR'] = 'TB'; legend: bool = True" in str(error.value)
    for bad in ({"depth": "3"}, {"depth": True}, {"depth": 1.0}, {"direction": "lr"}, {"legend": 1}, {"legend": None}):
        (name,) = bad
        with pytest.raises(OptionError, match=f"format 'toy' takes {name}: .* and was given"):
            plugins.export(toy, GRAPH, bad)


def test_an_exporter_without_options_says_so(plugins):
    plugins.register(offering(Failing("text")), "mine")
    with pytest.raises(OptionError, match="its options are: none"):
        plugins.export(plugins.named("toy"), GRAPH, {"size": 1})


class Annotated(Toy):
    def export(
        self,
        graph: "Unknown",  # noqa: F821
        text: "str" = "a",
        *,
        size: "int | None" = None,
        mystery: "Unknown" = None,  # noqa: F821
        bare=None,
        many: list[str] | None = None,
    ):
        return ""


def test_annotations_are_resolved_each_by_itself(plugins):
    options = {option.name: option.type for option in options_of(Annotated())}
    assert options == {"text": str, "size": int | None, "mystery": Any, "bare": Any, "many": list[str] | None}
    plugins.register(offering(Annotated()), "mine")
    plugins.export(plugins.named("toy"), GRAPH, {"text": "b", "mystery": object(), "bare": 3, "many": ["a"]})
    with pytest.raises(OptionError, match=r"size: int \| None = None"):
        plugins.export(plugins.named("toy"), GRAPH, {"size": "large"})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "12", 12),
        (int, "-1", -1),
        (float, "0.5", 0.5),
        (float, "3", 3.0),
        (str, "12", "12"),
        (str, "", ""),
        (str, "none", "none"),
        (bool, "true", True),
        (bool, "Yes", True),
        (bool, "on", True),
        (bool, "1", True),
        (bool, "FALSE", False),
        (bool, "no", False),
        (bool, "off", False),
        (bool, "0", False),
        (int | None, "none", None),
        (int | None, "7", 7),
        (bool | None, "None", None),
        (str | int, "7", 7),
        (str | int, "seven", "seven"),
        (Union[str, None], "none", None),  # noqa: UP007
        (Literal["TB", "LR"], "LR", "LR"),
        (Literal["auto", 1, 2], "2", 2),
        (Literal["auto"] | int, "3", 3),
        (Literal["auto"] | None, "none", None),
        (Any, "3", "3"),
        (Path, "a/b", "a/b"),
        (list[str] | None, "a,b", "a,b"),
        (float | None, "1e-3", 0.001),
    ],
)
def test_a_text_becomes_a_value_of_the_option_s_type(kind, text, value):
    parsed = Option("x", kind, None).parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (int, "1.5", "x: int = None"),
        (int, "", "x: int = None"),
        (float, "wide", "x: float = None"),
        (bool, "maybe", "x: bool = None"),
        (int | None, "nothing", "x: int | None = None"),
        (Literal["TB", "LR"], "lr", "x: Literal['TB', 'LR'] = None"),
    ],
)
def test_a_text_that_fits_no_type_is_an_error_that_names_the_valid_ones(kind, text, told):
    with pytest.raises(OptionError) as error:
        Option("x", kind, None).parse(text)
    assert str(error.value) == f"the option {told} cannot be {text!r}"


def test_each_exporter_gets_the_options_that_it_takes():
    texts = {"depth": "2", "text": "b"}
    assert parse_options([Toy(), Annotated(), Failing("")], texts) == [
        {"depth": 2},
        {"depth": 2, "text": "b"},
        {"depth": 2},
    ]
    plain = Failing("")
    plain.name = "plain"
    with pytest.raises(OptionError, match=r"'toy' has no option 'size'; its options are: depth.*; the format 'plain'"):
        parse_options([Toy(), plain], {"size": "2"})
    with pytest.raises(OptionError, match="no format is written"):
        parse_options([], {"size": "2"})


# Distributions, as pip installs them, in a program that records

DISTRIBUTIONS = {
    "missing": "import does_not_exist",
    "wrong": "def broken(:",
    "leaving": "import sys; sys.exit('no licence')",
    "twice": working("late").replace("'late'", "'good'"),
    "blocked": "raise RuntimeError('it was imported')",
    "loud": """
print("loud is here")
@hookimpl
def recorder_open_sink(recorder): raise ValueError("no sink")
@hookimpl
def recorder_annotate_graph(graph): raise SystemExit("no facts")
""",
    "nonsense": """
@hookimpl
def recorder_open_sink(recorder): return 3
@hookimpl
def recorder_annotate_graph(graph): return object()
""",
    "full": """
def sink(event): raise SystemExit("disk full")
@hookimpl
def recorder_open_sink(recorder): return sink
""",
    "good": working("good")
    + """
import atexit, time
events = []
def sink(event): time.sleep(0.001); events.append(event)
@hookimpl
def recorder_open_sink(recorder): return sink
@hookimpl
def recorder_annotate_graph(graph): graph.nodes[0].meta["good"] = True
""",
}

PROGRAM = """
import json, sys, warnings
import torch
from recorder import Recorder

net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    with Recorder(net) as r:
        net(torch.ones(1, 2)).sum()
    graph = r.graph
    written = r.export("good")
graph.lint()
import plugin_good
print(json.dumps({
    "warned": [str(w.message) for w in warned],
    "nodes": [node.op_type for node in graph.nodes],
    "noted": {name: told for name, told in graph.nodes[0].meta.items() if name != "metrics"},
    "written": written,
    "followed": plugin_good.events == list(r.events),
    "imported": sorted(name for name in sys.modules if name.startswith("plugin_")),
}))
"""


def install(folder, name, source):
    """A distribution with one module and one entry point, as pip leaves it in a folder of packages."""
    (folder / f"plugin_{name}.py").write_text(f"from recorder import hookimpl\n{source}")
    metadata = folder / f"plugin_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[recorder]\n{name} = plugin_{name}\n")


@pytest.mark.slow
def test_one_good_distribution_among_bad_ones(tmp_path):
    for name, source in DISTRIBUTIONS.items():
        install(tmp_path, name, source)
    program = "import sys; sys.path.insert(0, sys.argv[1])\n" + PROGRAM
    out = run("-c", program, str(tmp_path), RECORDER_BLOCK_PLUGINS="blocked")
    loud, result = out.splitlines()
    assert loud == "loud is here"
    told = json.loads(result)
    assert sorted(told["warned"]) == [
        "the plugin 'leaving' (plugin_leaving) is left out: SystemExit: no licence",
        "the plugin 'loud' raised in recorder_annotate_graph: SystemExit: no facts",
        "the plugin 'loud' raised in recorder_open_sink: ValueError: no sink",
        "the plugin 'missing' (plugin_missing) is left out: ModuleNotFoundError: No module named 'does_not_exist'",
        "the plugin 'nonsense' returned 3 in recorder_open_sink: neither a callable nor None",
        "the plugin 'twice' (plugin_twice) is left out: the plugins 'good' and 'twice' both register a format 'good'",
        "the plugin 'wrong' (plugin_wrong) is left out: SyntaxError: invalid syntax (plugin_wrong.py, line 2)",
        "the sink of the plugin 'full' raised, and gets no more events: SystemExit: disk full",
    ]
    assert told["nodes"] == ["Linear", "ReLU", "sum"]
    assert (told["noted"], told["written"], told["followed"]) == ({"good": True}, "plugin_good", True)
    assert "plugin_blocked" not in told["imported"]


class Following:
    """Hands every event to a function of the test's."""

    def __init__(self, sink):
        self.sink = sink

    @hookimpl
    def recorder_open_sink(self, recorder):
        return lambda event: self.sink(recorder, event)


@pytest.mark.parametrize("moment", [1, 4])
def test_a_sink_that_is_interrupted_or_asks_for_the_recording_changes_nothing_of_it(plugins, monkeypatch, moment):
    import torch

    got = []

    def sink(r, event):
        got.append(event)
        if len(got) == moment:
            len(r.events)
            raise KeyboardInterrupt

    plugins.register(Following(sink), "mine")
    monkeypatch.setattr("recorder.recorder.installed", lambda: plugins)
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    with pytest.raises(KeyboardInterrupt), recorder.Recorder(net) as r:
        net(torch.ones(1, 2))
    r.graph.lint()
    assert [node.name for node in r.graph.nodes] == ["0", "1"]
    assert len({id(event) for event in got}) == len(got)


# The tutorial plugin, as a user meets it


def run(*command, path=None, **environment):
    environment = {**os.environ, **environment, "PYTHONWARNINGS": "error"}
    environment.pop("PYTHONPATH", None)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    result = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def edgelist(tmp_path_factory):
    """The tutorial plugin, installed by pip from a copy of its folder alone."""
    root = tmp_path_factory.mktemp("edgelist")
    source = shutil.copytree(EDGELIST, root / "source", ignore=shutil.ignore_patterns("__pycache__"))
    target = root / "target"
    pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", target]
    result = subprocess.run([sys.executable, *map(str, pip), str(source)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return target


USE = """
import sys, recorder
from recorder.testing import sample_graphs

graph = sample_graphs()["tiny"]
(format,) = [f for f in recorder.formats() if f.name == "edgelist"]
assert (format.suffixes, format.plugin) == ((".edges",), "edgelist"), format
assert recorder.export(graph, "edgelist") == "fc -> relu\\n"
assert recorder.export(graph, "edgelist", shapes=True) == "fc -> relu [1, 2]\\n"
print(recorder.save(graph, sys.argv[1]).read_text(), end="")
"""


@pytest.mark.slow
def test_the_installed_tutorial_plugin_is_found_and_works(edgelist, tmp_path):
    assert run("-c", USE, str(tmp_path / "net.edges"), path=edgelist) == "fc -> relu\n"


@pytest.mark.slow
def test_the_installed_tutorial_plugin_passes_its_own_test_outside_of_this_repository(edgelist):
    out = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(edgelist.parent / "source"), path=edgelist)
    assert "passed" in out
    assert "skipped" not in out


LIST = "import recorder; print(*(f.name for f in recorder.formats() if f.plugin != 'builtin'))"


@pytest.mark.slow
def test_the_core_is_unharmed_without_the_tutorial_plugin_and_with_it_blocked(edgelist):
    assert "edgelist" in run("-c", LIST, path=edgelist).split()
    assert "edgelist" not in run("-c", LIST).split()
    assert "edgelist" not in run("-c", LIST, path=edgelist, RECORDER_BLOCK_PLUGINS="edgelist").split()


def test_the_tutorial_plugin_uses_public_names_only():
    tree = ast.parse((EDGELIST / "recorder_edgelist.py").read_text("utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported
    for node in imported:
        assert isinstance(node, ast.ImportFrom)
        assert node.module == "recorder"
        assert {alias.name for alias in node.names} <= set(recorder.__all__)
