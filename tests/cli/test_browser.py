"""``recorder view``: the page of a recording, and a browser to show it in."""

import re
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest
from support.command import runner

import recorder
from recorder.cli import main
from recorder.testing import sample_graphs, sample_streams


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A folder, current, with a recording and a graph in it."""
    monkeypatch.chdir(tmp_path)
    sample_streams()["residual"].save("run.jsonl")
    Path("graph.json").write_bytes(recorder.dumps(sample_graphs()["residual"]))
    return tmp_path


@pytest.fixture
def visited(monkeypatch):
    """What the user's browser was asked to show; there is one, and a desktop."""
    asked = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or True)
    return asked


def view(*arguments, status=0):
    result = runner().invoke(main, ["view", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == status, result.stderr
    assert result.stdout == ""
    return result.stderr


def graph_in(page):
    (document,) = re.findall(r'id="graph">(.*?)</script>', Path(page).read_text(encoding="utf-8"))
    return recorder.loads(document)


@pytest.mark.parametrize(("source", "page"), [("run.jsonl", "run.html"), ("graph.json", "graph.html")])
def test_the_page_stands_beside_and_opens(saved, visited, source, page):
    assert view(source) == f"wrote {page} (html)\n"
    assert graph_in(page) == sample_graphs()["residual"]
    assert visited == [(saved / page).as_uri()]
    view(source)  # a page of ours is replaced


def test_it_goes_where_it_is_told(saved, visited):
    view("run.jsonl", "-o", "elsewhere.htm", "--no-browser", "--option", "title=Mine")
    assert "<title>Mine</title>" in Path("elsewhere.htm").read_text(encoding="utf-8")
    assert visited == []
    assert not Path("run.html").exists()


def test_a_file_of_the_users_is_left_alone(saved, visited):
    Path("run.html").write_text("<p>my notes</p>")
    told = view("run.jsonl")
    (page,) = re.findall(r"wrote (.*) \(html\)", told)
    assert Path("run.html").read_text() == "<p>my notes</p>"
    assert Path(page).name == "run.html"
    assert visited == [Path(page).as_uri()]
    assert graph_in(page) == sample_graphs()["residual"]


def test_without_a_desktop_it_says_what_to_open(saved, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("a browser was started"))
    last = view("run.jsonl").splitlines()[-1]
    assert last == f"there is no browser to open it in: open {(saved / 'run.html').as_uri()} in yours"


@pytest.mark.slow
def test_torch_is_not_needed(saved):
    code = (
        "import sys; sys.modules['torch'] = None; from recorder.cli import main\n"
        "try: main(['view', 'run.jsonl', '--no-browser'])\n"
        "except SystemExit as exit: assert exit.code == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert Path("run.html").exists()


def test_what_cannot_be_is_one_line(saved, visited):
    for arguments in (["nope.jsonl"], ["run.jsonl", "-o", "no/folder/net.html"], ["run.jsonl", "--option", "bogus=1"]):
        (line,) = view(*arguments, status=2).splitlines()
        assert line.startswith("Error: ")
    Path("broken.jsonl").write_text("{}")
    (line,) = view("broken.jsonl", status=2).splitlines()
    assert line.startswith("Error: ")
    assert visited == []


def test_a_page_that_cannot_be_written_is_not_opened(saved, visited):
    Path("folder.html").mkdir()
    view("run.jsonl", "-o", "folder.html", status=1)
    assert visited == []


def test_a_model_is_run_and_looked_at(project, visited):
    view("mynet:Net", "--input", "1,4")
    assert graph_in("Net.html").nodes[0].fqn == "evaluated"
    assert visited == [(project / "Net.html").as_uri()]
    view("mynet.py:net", "--input", "x=1,4", "--no-open", "-o", "other.html")
    assert Path("other.html").exists()
    assert len(visited) == 1
    assert "cannot be called with 0 tensors" in view("mynet:Net", status=2)
