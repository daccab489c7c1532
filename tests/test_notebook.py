"""How a graph and a recorder show themselves in a notebook."""

import html
import re
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import recorder
from recorder import Graph, Recorder
from recorder.plugins.manager import Plugins
from recorder.testing import chain, sample_graphs


@pytest.fixture
def without_graphviz(monkeypatch, tmp_path):
    """Neither dot nor graphviz-pure, on PATH or beside this Python."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))


def test_a_small_graph_is_a_picture():
    graph = sample_graphs()["tiny"]
    shown = graph._repr_mimebundle_()
    assert set(shown) == {"text/plain", "image/svg+xml"}
    assert shown["text/plain"] == repr(graph)
    assert ElementTree.fromstring(shown["image/svg+xml"]).tag.endswith("svg")


def page_in(shown):
    assert set(shown) == {"text/plain", "text/html"}
    (page,) = re.findall(r'^<iframe sandbox="allow-scripts allow-downloads" srcdoc="([^"]*)"', shown["text/html"])
    return html.unescape(page)


def test_a_larger_one_is_the_page_in_a_frame():
    graph = chain(100)
    assert page_in(graph._repr_mimebundle_()) == recorder.export(graph, "html")


def test_without_graphviz_a_small_one_is_the_page_too(without_graphviz):
    graph = sample_graphs()["tiny"]
    assert page_in(graph._repr_mimebundle_()) == recorder.export(graph, "html")


def test_a_recorder_shows_what_was_recorded_so_far():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with Recorder(net) as r:
        net(torch.ones(1, 3))
        shown = r._repr_mimebundle_(include=None, exclude=None)
        assert "Linear" in shown["image/svg+xml"]
        assert shown["text/plain"] == repr(r)
    assert "recording" in shown["text/plain"]


def test_hostile_names_stay_in_the_frame(without_graphviz):
    shown = sample_graphs()["hostile"]._repr_mimebundle_()["text/html"]
    assert shown.count("<") == 2  # the frame's own tags
    assert shown.count('"') == 12


@pytest.mark.filterwarnings("default")
def test_without_exporters_it_is_text(monkeypatch):
    monkeypatch.setattr(sys.modules["recorder.plugins.exporting"], "installed", lambda: Plugins(entries=()))
    graph = chain(100)
    with pytest.warns(RuntimeWarning, match="cannot be shown: there is no format 'html'|no format named 'html'|html"):
        assert graph._repr_mimebundle_() == {"text/plain": repr(graph)}


def test_an_empty_graph_shows_itself():
    assert "image/svg+xml" in Graph(name="Empty")._repr_mimebundle_()


# Shown on request


def recording():
    net = torch.nn.Linear(2, 2)
    with Recorder(net) as r:
        net(torch.ones(1, 2))
    return r


def test_without_a_browser_show_says_where_the_page_is(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    page = recording().show(title="Mine")
    assert "<title>Mine</title>" in page.read_text("utf-8")
    assert capsys.readouterr().out == f"there is no browser to open it in: the page is {page}\n"


def test_show_opens_the_page_in_a_browser(monkeypatch, capsys):
    opened = []
    monkeypatch.setenv("BROWSER", "any")
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    page = recording().show()
    assert opened == [page.as_uri()]
    assert capsys.readouterr().out == ""


def test_in_a_notebook_show_is_an_output_of_the_cell(monkeypatch):
    shown = []
    notebook = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=lambda data, raw: shown.append(data)))
    assert recording().show() is None
    (data,) = shown
    assert "text/plain" in data
    assert len(data) == 2
