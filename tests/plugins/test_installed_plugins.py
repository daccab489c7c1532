"""Distributions as pip installs them, and the tutorial's among them, in a program that records."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.toy_formats import working

import recorder
from recorder import hookimpl

EDGELIST = Path(__file__).parents[2] / "plugins" / "recorder-edgelist"


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
