"""The hook specification as a contract with the authors of plugins: in which order they are asked, and what is refused."""

from typing import Any

import pytest

from recorder import Graph, PluginError, hookimpl
from recorder.plugins import Plugins
from recorder.testing import sample_graphs


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
