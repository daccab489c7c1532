"""The hook specification as a contract with the authors of plugins, and docs/hooks.md, which tells them of it."""

import ast
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import click
import pytest
from support.command import runner

import recorder.plugins.hookspecs
from recorder import Graph, PluginError, assemble, hookimpl
from recorder.hookspecs import Hooks, hookspec
from recorder.plugins.manager import Plugins
from recorder.testing import sample_graphs, sample_streams


@pytest.fixture
def plugins() -> Plugins:
    return Plugins(entries=())


@pytest.fixture
def graph() -> Graph:
    return sample_graphs()["tiny"]


# Who is asked, and when


def annotator(word: str, **how: bool) -> object:
    """A plugin that adds its word to those in the first node's meta."""

    class Annotator:
        @hookimpl(**how)
        def recorder_annotate_graph(self, graph: Graph) -> None:
            graph.nodes[0].meta.setdefault("words", []).append(word)

    return Annotator()


def test_plugins_are_asked_as_they_were_registered_but_for_those_that_want_to_be_first_or_last(
    plugins: Plugins, graph: Graph
) -> None:
    plugins.register(annotator("late", trylast=True), "1")
    plugins.register(annotator("b"), "2")
    plugins.register(annotator("early", tryfirst=True), "3")
    plugins.register(annotator("a"), "4")
    plugins.annotate(graph)
    assert graph.nodes[0].meta == {"words": ["early", "b", "a", "late"]}


@pytest.mark.parametrize("how", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused_since_it_would_do_nothing(plugins: Plugins, graph: Graph, how: str) -> None:
    class Wrapper:
        @hookimpl(**{how: True})
        def recorder_annotate_graph(self, graph: Graph) -> Any:
            yield

    plugins.register(annotator("a"), "other")
    with pytest.raises(PluginError, match="'mine' wraps recorder_annotate_graph: hooks cannot be wrapped here"):
        plugins.register(Wrapper(), "mine")
    plugins.annotate(graph)
    assert graph.nodes[0].meta == {"words": ["a"]}


def test_a_hook_of_a_later_version_is_left_alone_if_it_is_marked_as_optional(plugins: Plugins, graph: Graph) -> None:
    class FromTheFuture:
        @hookimpl(optionalhook=True)
        def recorder_dream(self, sheep: object) -> None:
            raise AssertionError

        @hookimpl
        def recorder_annotate_graph(self, graph: Graph) -> None:
            graph.nodes[0].meta["future"] = True

    plugins.register(FromTheFuture(), "future")
    plugins.annotate(graph)
    assert graph.nodes[0].meta == {"future": True}


# docs/hooks.md


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text("utf-8")

STABLE = {
    "recorder_register_exporters": ["register"],
    "recorder_open_sink": ["recorder"],
    "recorder_annotate_graph": ["graph"],
    "recorder_register_commands": ["cli"],
}
"""Every hook, as plugins out there implement it. Taking a line or an argument away from here breaks them."""

(HOOKS,) = (
    {hook.name: hook for hook in node.body if isinstance(hook, ast.FunctionDef)}
    for node in ast.parse(Path(recorder.plugins.hookspecs.__file__).read_text("utf-8")).body
    if isinstance(node, ast.ClassDef) and node.name == Hooks.__name__
)
"""The specification, as it is written."""


def section(heading: str) -> str:
    """What stands below a heading of the page, in one line."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/hooks.md has no section {heading}"
    return " ".join(found[1].split())


def told(hook: ast.FunctionDef) -> dict[str, str]:
    """What a hook's docstring says, as Markdown: of the hook itself as "", of each argument, and of what it returns."""
    docstring = (ast.get_docstring(hook) or "").replace("``", "`")
    parts = re.split(r"\n\n(Args|Returns):\n", docstring)
    texts = {"": parts[0]}
    for title, text in zip(parts[1::2], parts[2::2]):
        entries = (
            re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE)
            if title == "Args"
            else [("returns", text)]
        )
        texts |= dict(entries)
    return {name: " ".join(text.split()) for name, text in texts.items()}


def test_the_stable_hooks_are_as_they_were_promised() -> None:
    assert {name: [a.arg for a in hook.args.args][1:] for name, hook in HOOKS.items()} == STABLE


@pytest.mark.parametrize("name", HOOKS)
def test_the_page_says_of_every_hook_what_its_docstring_says_argument_by_argument(name: str) -> None:
    hook = HOOKS[name]
    signature = f"{name}({', '.join(ast.unparse(a) for a in hook.args.args[1:])}) -> {ast.unparse(hook.returns)}"
    texts = told(hook)
    arguments = [a.arg for a in hook.args.args[1:]]
    returns = [] if ast.unparse(hook.returns) == "None" else ["returns"]
    assert list(texts) == ["", *arguments, *returns]
    page = section(f"`{signature}`".replace("'", ""))
    assert page.startswith(texts.pop(""))
    for argument, text in texts.items():
        assert f"- {argument if argument == 'returns' else f'`{argument}`'}: {text}" in page
    assert re.search(r"Stable since \d+\.\d+\.", page)
    assert f"@hookimpl def {name}(" in page, "no example"


def test_the_page_has_no_other_hooks() -> None:
    assert set(re.findall(r"^## `(\w+)", PAGE, re.MULTILINE)) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_used_in_this_repository(name: str) -> None:
    """By what comes with it, or by a distribution in plugins/: what nobody uses, nobody knows to be of use."""
    sources = [
        path
        for folder in ("exporters", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        if "tests" not in path.parts
    ]
    users = [
        path
        for path in sources
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == name
        if any(ast.unparse(decorator).partition("(")[0] == "hookimpl" for decorator in node.decorator_list)
    ]
    assert users


def test_the_code_of_the_page_is_a_plugin_that_does_what_it_says(
    plugins: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = types.ModuleType("my_exporter")
    exec("\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)), module.__dict__)
    plugins.register(module, "my-exporter")
    stream = sample_streams()["error"]
    graph = assemble(stream)

    assert plugins.export(plugins.for_file("net.names"), graph, {}) == "'fc1'\n'fc2'\n"
    assert plugins.export(plugins.named("names"), graph, {"reverse": True}) == "'fc2'\n'fc1'\n"

    (sink,) = plugins.open_sinks(None)
    for event in stream:
        sink(event)
    assert [record.getMessage() for record in caplog.records] == [f"a call failed: {graph.nodes[1].error}"] * 2

    plugins.annotate(graph)
    assert [node.meta["my-exporter"] for node in graph.nodes] == [{"comes_after": 0}, {"comes_after": 1}]

    cli = click.Group()
    plugins.register_commands(cli)
    path = stream.save(tmp_path / "run.jsonl")
    assert runner().invoke(cli, ["count", str(path)]).output == "2\n"


# How a hook or an argument is deprecated


class Later(Hooks):
    """The specification of a version in which a hook, and an argument of another, are about to go away."""

    @hookspec(warn_on_impl=DeprecationWarning("use something else"))
    def recorder_annotate_graph(self, graph: Graph) -> None:
        """As before."""

    @hookspec(warn_on_impl_args={"recorder": DeprecationWarning("do without")})
    def recorder_open_sink(self, recorder: Any) -> Any:
        """As before."""


class Old:
    """A plugin that was written before that."""

    @hookimpl
    def recorder_annotate_graph(self, graph: Graph) -> None:
        graph.nodes[0].meta["old"] = True

    @hookimpl
    def recorder_open_sink(self, recorder: Any) -> Any:
        return print


class New:
    """One that was written after it."""

    @hookimpl
    def recorder_open_sink(self) -> Any:
        return print


def test_who_implements_what_is_deprecated_is_warned_with_the_place_and_it_works_as_before(
    monkeypatch: pytest.MonkeyPatch, graph: Graph
) -> None:
    monkeypatch.setattr("recorder.plugins.manager.Hooks", Later)
    plugins = Plugins(entries=())
    with pytest.warns(DeprecationWarning, match="do without|use something else") as caught:
        plugins.register(Old(), "old")
    assert sorted(str(warning.message) for warning in caught) == ["do without", "use something else"]
    lines = Path(__file__).read_text("utf-8").splitlines()
    for warning in caught:
        assert warning.filename == __file__
        assert lines[warning.lineno - 1].strip() == "@hookimpl"
    plugins.annotate(graph)
    assert graph.nodes[0].meta == {"old": True}
    assert plugins.open_sinks(None)
    plugins.register(New(), "new")  # a warning would be an error
    assert len(plugins.open_sinks(None)) == 2


@pytest.mark.slow
def test_users_of_a_deprecated_plugin_see_no_warning(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text(
        "from recorder import hookimpl\n@hookimpl\ndef recorder_annotate_graph(graph): print('works')", "utf-8"
    )
    program = """
import recorder.plugins.manager
from recorder.hookspecs import Hooks, hookspec
from recorder.testing import sample_graphs

class Later(Hooks):
    @hookspec(warn_on_impl=DeprecationWarning("use something else"))
    def recorder_annotate_graph(self, graph): ...

recorder.plugins.manager.Hooks = Later
plugins = recorder.plugins.manager.Plugins([recorder.plugins.manager.EntryPoint("old", "old", "recorder")])
plugins.annotate(sample_graphs()["tiny"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("works\n", "")
