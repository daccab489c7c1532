import pytest
import recorder_edgelist
from recorder_edgelist import EdgeList

from recorder.testing import check_exporter, sample_graphs

GRAPHS = sample_graphs()


def test_it_keeps_every_promise():
    check_exporter(EdgeList())


def test_it_writes_one_line_an_edge_by_the_names_of_both_ends():
    assert EdgeList().export(GRAPHS["tiny"]) == "fc -> relu\n"
    assert EdgeList().export(GRAPHS["tiny"], shapes=True) == "fc -> relu [1, 2]\n"
    assert EdgeList().export(GRAPHS["branching"]).splitlines() == [
        "branches.0.fc -> branches.0.act",
        "branches.1.fc -> branches.1.act",
        "branches.2.fc -> branches.2.act",
        "branches.0.act -> cat",
        "branches.1.act -> cat",
        "branches.2.act -> cat",
    ]


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "hostile"])
def test_it_writes_every_edge(name):
    graph = GRAPHS[name]
    written = [line.split(" -> ") for line in EdgeList().export(graph).splitlines()]
    assert written == [[edge.source.name, edge.target.name] for edge in graph.edges()]


def test_it_registers_itself():
    registered = []
    recorder_edgelist.recorder_register_exporters(registered.append)
    assert [exporter.name for exporter in registered] == ["edgelist"]
