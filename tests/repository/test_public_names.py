"""The public surface, frozen: other people's programs are written against it. Changing a line here breaks them."""

import inspect
from typing import Any, get_args

import pytest

import recorder
import recorder.figures
import recorder.testing
from recorder import EventStream, Graph, Node, Scope, Value, assemble
from recorder.graph.core import NodeKind, Role
from recorder.testing import sample_graphs, sample_streams


def test_exported_names() -> None:
    assert recorder.__all__ == [
        "ROOM",
        "Change",
        "Desync",
        "Diff",
        "Divergence",
        "Edge",
        "EventStream",
        "ExportError",
        "Exporter",
        "Finding",
        "FormatError",
        "Graph",
        "GraphError",
        "Link",
        "Node",
        "OptionError",
        "PluginError",
        "Recorder",
        "RecorderError",
        "Register",
        "Repetition",
        "Scope",
        "Sink",
        "StreamError",
        "Value",
        "add_metrics",
        "annotate",
        "architecture",
        "assemble",
        "autograd_graph",
        "backward_reached",
        "collapse",
        "collapse_to_fit",
        "desync",
        "diff",
        "diverge",
        "dumps",
        "expand",
        "export",
        "fold",
        "formats",
        "hide",
        "hookimpl",
        "json_schema",
        "load",
        "loads",
        "make_dot",
        "merge",
        "readable",
        "remarks",
        "repetitions",
        "save",
        "select",
        "unfold",
        "utf8",
        "without_accumulation",
    ]
    assert [name for name in recorder.__all__ if not hasattr(recorder, name)] == []
    assert recorder.figures.__all__ == [
        "FIGURES",
        "KINDS_OF_MEMORY",
        "WORDS",
        "Figure",
        "Words",
        "arrived_norm",
        "at_least",
        "bytes_in_words",
        "count_in_words",
        "is_several",
        "made_largest",
        "made_norm",
        "made_not_finite",
        "made_zeros",
        "meta_of",
        "norm_in_words",
        "share_in_words",
        "stats_in_words",
        "time_in_words",
    ]
    assert recorder.testing.__all__ == [
        "HOSTILE_NAMES",
        "StreamBuilder",
        "bearing",
        "chain",
        "check_exporter",
        "sample_graphs",
        "sample_streams",
    ]


def test_dir_shows_the_public_names_and_no_others() -> None:
    shown = [name for name in dir(recorder) if not name.startswith("__")]
    assert shown == sorted([*recorder.__all__, "events", "figures", "testing"])
    assert "__version__" in dir(recorder)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'recorder' has no attribute 'Recoder'"):
        recorder.Recoder  # noqa: B018


@pytest.mark.parametrize("name", recorder.__all__)
def test_every_exported_name_says_what_it_is(name: str) -> None:
    thing = getattr(recorder, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert (inspect.getdoc(thing) or "").strip()


def test_errors_are_ours_and_what_a_caller_would_expect() -> None:
    bases = {
        recorder.StreamError: ValueError,
        recorder.GraphError: ValueError,
        recorder.FormatError: LookupError,
        recorder.OptionError: TypeError,
        recorder.ExportError: RuntimeError,
        recorder.PluginError: RuntimeError,
    }
    for error, base in bases.items():
        assert issubclass(error, recorder.RecorderError)
        assert issubclass(error, base)


def test_kinds_and_roles() -> None:
    assert get_args(NodeKind) == ("module", "function", "autograd")
    assert get_args(Role) == ("input", "activation", "parameter", "buffer", "constant")


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (
            Graph,
            "nodes inputs outputs input_names output_names initializers scopes links edges values values_of_calls"
            " metrics gradient_report value_report memory_report lint name meta",
        ),
        (
            Node,
            "name kind op_type target fqn call scope inputs outputs attributes meta error duration_ns backward_ns"
            " predecessors successors input_names output_names",
        ),
        (
            Scope,
            "fqn call op_type parent error name target duration_ns backward_ns attributes meta ancestors inputs outputs"
            " input_names output_names",
        ),
        (Value, "name shape dtype device requires_grad grad_fn role producer uses meta"),
    ],
    ids=lambda it: it.__name__ if isinstance(it, type) else "",
)
def test_attributes(owner: type, names: str) -> None:
    graph = sample_graphs()["residual"]
    example: Any = {Graph: graph, Node: graph.nodes[0], Scope: graph.scopes[0], Value: graph.inputs[0]}[owner]
    public = {name for name in dir(example) if not name.startswith("_")}
    assert public == set(names.split())


def test_signatures() -> None:
    def parameters(function: Any) -> list[str]:
        return [str(p).split(":")[0].split("=")[0].strip() for p in inspect.signature(function).parameters.values()]

    assert parameters(recorder.assemble) == ["stream"]
    assert parameters(recorder.autograd_graph) == ["outputs", "params", "saved", "attributes"]
    assert parameters(recorder.make_dot) == ["var", "params", "show_attrs", "show_saved", "max_attr_chars"]
    assert parameters(recorder.collapse) == ["graph", "depth", "fqn", "op_type", "where"]
    assert parameters(recorder.expand) == ["view", "depth", "fqn", "op_type", "where"]
    assert parameters(recorder.fold) == ["graph"]
    assert parameters(recorder.unfold) == ["view", "fqn", "op_type"]
    assert parameters(recorder.hide) == ["graph", "kinds", "fqn", "op_type"]
    assert parameters(recorder.without_accumulation) == ["graph"]
    assert parameters(recorder.readable) == ["graph", "nodes"]
    assert parameters(recorder.select) == "graph scope around radius between ancestors descendants".split()  # noqa: SIM905
    assert parameters(recorder.collapse_to_fit) == ["graph", "fits"]
    assert parameters(recorder.dumps) == ["graph", "timing", "indent"]
    assert parameters(recorder.loads) == ["data"]
    assert parameters(recorder.export) == ["graph", "format", "**options"]
    assert parameters(recorder.save) == ["graph", "path", "format", "**options"]
    assert parameters(recorder.formats) == []
    assert parameters(EventStream) == ["events", "header"]
    assert parameters(EventStream.load) == ["path"]
    assert parameters(EventStream.save) == ["self", "path"]
    assert parameters(EventStream.split) == ["self"]


def test_what_the_attributes_mean() -> None:
    graph = assemble(sample_streams()["residual"])
    node = graph.nodes[0]
    assert (node.name, node.kind, node.op_type, node.target) == ("layer1.conv", "module", "Conv2d", "torch.nn.Conv2d")
    assert (node.fqn, node.call, node.error, node.meta) == ("layer1.conv", 0, None, {})
    assert node.duration_ns == 1000
    assert node.backward_ns is None
    add = graph.nodes[2]
    assert (add.kind, add.op_type, add.target, add.fqn, add.call) == ("function", "add", "torch.add", None, None)
    assert isinstance(node.inputs, tuple)
    assert isinstance(node.outputs, tuple)

    root, block = graph.scopes[0], node.scope
    assert (root.fqn, root.call, root.op_type, root.parent, root.error) == ("", 0, "Residual", None, None)
    assert block is not None
    assert (block.fqn, block.parent) == ("layer1", root)

    (x,) = graph.inputs
    assert (x.role, x.shape, x.dtype, x.device) == ("input", (1, 8, 32, 32), "float32", "cpu")
    assert (x.requires_grad, x.grad_fn, x.producer) == (False, None, None)
    assert x.uses == [(node, 0), (add, 1)]
    assert [v.role for v in graph.initializers] == ["parameter"] * 6
    (y,) = graph.outputs
    assert (y.role, y.producer, y.uses, y.grad_fn) == ("activation", graph.nodes[-1], [], "AddBackward0")

    edge = next(graph.edges())
    assert (edge.source, edge.target, edge.value) == (node, graph.nodes[1], node.outputs[0])
