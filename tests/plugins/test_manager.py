"""What is found among the plugins, and what goes wrong with one: it is named, and the others are unharmed."""

from typing import Literal

import pytest
from support.toy_formats import GRAPH, Failing, Toy, offering, working

from recorder import ExportError, FormatError, PluginError
from recorder.plugins.manager import Option, Plugins

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
