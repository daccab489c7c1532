"""The ONNX JSON is what onnx itself reads, accepts and would have written, and its dataflow is the graph's."""

import ast
import json
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from support.strategies import graphs

import recorder
from recorder import ExportError, Graph, Node, OptionError, Scope, Value
from recorder.testing import chain, sample_graphs

SAMPLES = sample_graphs()


def load(text: str | bytes) -> onnx.ModelProto:
    """The model as onnx reads it, after onnx's strictest check."""
    model = onnx.load_model_from_string(text, format="json")
    onnx.checker.check_model(model, full_check=True)
    return model


def exported(graph: Graph, *, initializers: bool = False, **options: Any) -> onnx.ModelProto:
    """The model, after both forms of it were looked at: with parameters among the inputs, and without."""
    models = {}
    for form in (False, True):
        text = recorder.export(graph, "onnx-json", initializers=form, **options)
        models[form] = model = load(text)
        theirs = json_format.MessageToJson(model, preserving_proto_field_name=True)
        assert parsed(text) == parsed(theirs), "onnx.save would write something else"
        assert_same_dataflow(model, graph, form)
    assert_same_parameters(models[False], models[True])
    return models[initializers]


def parsed(text: str | bytes) -> Any:
    """JSON with the precision of ONNX's floats, which are float32."""
    return json.loads(text, parse_float=lambda number: struct.unpack("f", struct.pack("f", float(number)))[0])


def ours(props: Any) -> dict[str, str]:
    """The metadata that is ours, by its key without the prefix."""
    entries = {entry.key: entry.value for entry in props}
    assert len(entries) == len(props), "a metadata key is there twice"
    return {key.removeprefix("graph_recorder."): v for key, v in entries.items() if key.startswith("graph_recorder.")}


def told(props: Any) -> list[dict[str, Any]]:
    """The parameters and buffers that the metadata of a graph or of a node has."""
    found: list[dict[str, Any]] = json.loads(ours(props).get("initializers", "[]"))
    return found


def inputs_of(node: onnx.NodeProto) -> list[str]:
    """The inputs of the call: with those that are in the metadata, each in its place."""
    inputs = list(node.input)
    for use in told(node.metadata_props):
        inputs.insert(use["input"], use["name"])
    return inputs


def input_names(node: onnx.NodeProto) -> list[str]:
    found: list[str] = json.loads(ours(node.metadata_props).get("input_names", "null")) or [""] * len(node.input)
    return found


def assert_same_parameters(without: onnx.ModelProto, with_: onnx.ModelProto) -> None:
    """What the metadata says, put back in its place, is the other form: every input of every node, and each value."""
    for short, full in zip(without.graph.node, with_.graph.node, strict=True):
        names = input_names(short)
        for use in told(short.metadata_props):
            names.insert(use["input"], use.get("input_name", ""))
        assert (inputs_of(short), names) == (list(full.input), input_names(full))
    described = {entry.name: entry for entry in with_.graph.input}
    whole = {fact["name"]: fact for fact in told(without.graph.metadata_props)}
    for name, fact in whole.items():
        entry = described.pop(name)
        props = ours(entry.metadata_props)
        assert {k: v for k, v in props.items() if k not in ("requires_grad", "meta", "name")} == {
            k: fact[k] for k in ("role", "dtype", "device", "grad_fn") if k in fact
        }
        assert props["requires_grad"] == json.dumps(fact["requires_grad"])
        assert props.get("name") == fact.get("own_name")
        assert json.loads(props.get("meta", "{}")) == fact.get("meta", {})
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in entry.type.tensor_type.shape.dim]
        assert sizes == [size if 0 <= size < 2**63 else None for size in fact["shape"]]
    assert list(described.values()) == list(without.graph.input)
    for node in without.graph.node:
        for use in told(node.metadata_props):
            assert {k: whole[use["name"]][k] for k in ("role", "dtype", "shape")} == {
                k: use[k] for k in ("role", "dtype", "shape")
            }


def assert_same_dataflow(model: onnx.ModelProto, graph: Graph, initializers: bool = False) -> None:
    """Compare edges as onnx understands them, by names, with the graph's, by objects. Nodes are told by position."""
    producers = {name: i for i, node in enumerate(model.graph.node) for name in node.output if name}
    found = Counter(
        (producers[name], i, position)
        for i, node in enumerate(model.graph.node)
        for position, name in enumerate(inputs_of(node))
        if name in producers
    )
    order = {id(node): i for i, node in enumerate(graph.nodes)}
    expected = Counter(
        (order[id(value.producer)], order[id(user)], position)
        for value in graph.values()
        for user, position in value.uses
        if value.producer is not None
    )
    assert found == expected
    assert found.total() == sum(1 for _ in graph.edges())
    given_names = {entry.name for entry in model.graph.input}
    assert all(name in producers or name in given_names for node in model.graph.node for name in node.input)
    hidden = {v for v in graph.values() if v.producer is None and v.role in ("parameter", "buffer")}
    hidden = set() if initializers else hidden - {*graph.inputs, *graph.outputs}
    assert len(given_names) == sum(1 for value in graph.values() if value.producer is None) - len(hidden)
    returned = list(dict.fromkeys(graph.outputs))
    assert len({entry.name for entry in model.graph.output}) == len(model.graph.output) == len(returned)
    for entry, value in zip(model.graph.output, returned):
        producer = None if value.producer is None else order[id(value.producer)]
        assert producers.get(entry.name) == producer
    described = Counter(e.name for e in (*model.graph.input, *model.graph.value_info))
    described.update({entry.name for entry in model.graph.output} - given_names)
    assert set(described.values()) <= {1}
    assert len(described) == sum(1 for _ in graph.values()) - len(hidden), "each value is described, and once"


def tensor(name: str, *shape: int, dtype: str = "float32", role: Any = "activation") -> Value:
    return Value(name, shape, dtype, "cpu", role=role)


# What onnx says


@pytest.mark.parametrize("name", SAMPLES)
def test_onnx_loads_and_accepts_every_sample_from_its_file(name: str, tmp_path: Path) -> None:
    path = recorder.save(SAMPLES[name], tmp_path / f"{name}.onnx.json")
    model = onnx.load(path, format="json")
    onnx.checker.check_model(model, full_check=True)
    assert_same_dataflow(model, SAMPLES[name])

    theirs = tmp_path / "theirs.json"
    onnx.save(model, theirs, format="json")
    assert parsed(path.read_bytes()) == parsed(theirs.read_bytes())


@pytest.mark.parametrize("name", ["tiny", "residual", "error"])
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    text = recorder.export(SAMPLES[name], "onnx-json")
    golden(f"{name}.onnx.json", text.replace(f'"{recorder.__version__}"', '"VERSION"', 1) + "\n")


@settings(deadline=None)
@given(graphs())
def test_any_graph_is_accepted(graph: Graph) -> None:
    model = exported(graph)
    for proto, node in zip(model.graph.node, graph.nodes, strict=True):
        assert proto.name == node.name
        assert proto.op_type == (node.op_type or node.kind)
        facts = ours(proto.metadata_props)
        assert (facts["kind"], facts["target"], facts.get("error")) == (node.kind, node.target, node.error)
        assert (facts.get("fqn"), facts.get("call")) == (node.fqn, None if node.call is None else str(node.call))


@settings(deadline=None)
@given(graphs(), st.integers(0, 3))
def test_any_view_is_accepted(graph: Graph, depth: int) -> None:
    text = recorder.export(graph, "onnx-json", depth=depth)
    assert_same_dataflow(load(text), recorder.collapse(graph, depth))


@pytest.mark.slow
def test_resnet18_as_recorded() -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    net = models.resnet18().eval()
    with torch.no_grad(), recorder.Recorder(net) as r:
        net(torch.zeros(1, 3, 64, 64))
    model = exported(r.graph)
    assert [ours(entry.metadata_props)["role"] for entry in model.graph.input] == ["input"]
    assert [list(node.input) for node in model.graph.node][:2] == [["x"], ["conv1:0"]]
    roles = Counter(fact["role"] for fact in told(model.graph.metadata_props))
    whole = exported(r.graph, initializers=True)
    assert roles + Counter(input=1) == Counter(ours(entry.metadata_props)["role"] for entry in whole.graph.input)
    assert roles == {
        "parameter": sum(1 for _ in net.parameters()),
        "buffer": sum(1 for _ in net.buffers()),
    }
    convolutions = [node for node in model.graph.node if node.op_type == "Conv2d"]
    assert len(convolutions) == sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    assert {node.domain for node in convolutions} == {"torch.nn"}
    kernel = {a.name: onnx.helper.get_attribute_value(a) for a in convolutions[0].attribute}["kernel_size"]
    assert list(kernel) == [7, 7]
    (output,) = model.graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [1, 1000]


# What it holds


def test_the_hierarchy_is_written_as_torch_writes_it() -> None:
    # torch.onnx._internal.exporter._core._get_node_namespace: "fqn: class" joined by slashes down to the node itself,
    # and the classes and the names as Python lists.
    model = exported(SAMPLES["residual"])
    node = next(node for node in model.graph.node if node.name == "layer2.conv")
    props = {entry.key: entry.value for entry in node.metadata_props}
    assert props["namespace"] == ": models.Residual/layer2: models.Block/layer2.conv: torch.nn.Conv2d"
    classes = ast.literal_eval(props["pkg.torch.onnx.class_hierarchy"])
    assert classes == ["models.Residual", "models.Block", "torch.nn.Conv2d"]
    assert ast.literal_eval(props["pkg.torch.onnx.name_scopes"]) == ["", "layer2", "layer2.conv"]


@settings(deadline=None)
@given(graphs())
def test_the_hierarchy_can_be_read_back(graph: Graph) -> None:
    model = exported(graph)
    for proto, node in zip(model.graph.node, graph.nodes, strict=True):
        above = [] if node.scope is None else list(node.scope.ancestors())[::-1]
        props = {entry.key: entry.value for entry in proto.metadata_props}
        assert ast.literal_eval(props["pkg.torch.onnx.name_scopes"]) == [*(s.fqn for s in above), node.name]
        assert ast.literal_eval(props["pkg.torch.onnx.class_hierarchy"]) == [*(s.target for s in above), node.target]
    scopes = json.loads(ours(model.graph.metadata_props)["scopes"])
    told = [(s["name"], s["fqn"], s["call"], s["parent"]) for s in scopes]
    assert told == [(s.name, s.fqn, s.call, None if s.parent is None else s.parent.name) for s in graph.scopes]


def test_values_say_shape_dtype_role_and_device() -> None:
    model = exported(SAMPLES["tiny"], initializers=True)
    described = {
        entry.name: (
            [dim.dim_value for dim in entry.type.tensor_type.shape.dim],
            entry.type.tensor_type.elem_type,
            ours(entry.metadata_props),
        )
        for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }
    facts = {"role": "parameter", "dtype": "float32", "device": "cpu", "requires_grad": "true"}
    assert described["fc.weight"] == ([2, 4], onnx.TensorProto.FLOAT, facts)
    assert described["input"][2]["role"] == "input"
    assert described["fc:0"][2]["grad_fn"] == "LinearBackward0"
    assert set(described) == {"input", "fc.weight", "fc.bias", "fc:0", "relu:0"}
    assert json.loads(ours(model.graph.metadata_props)["inputs"]) == ["input"]


def test_a_node_says_what_parameters_it_uses() -> None:
    (linear, relu), weight = exported(SAMPLES["tiny"]).graph.node, {"role": "parameter", "dtype": "float32"}
    assert list(linear.input) == ["input"]
    assert told(linear.metadata_props) == [
        {"name": "fc.weight", **weight, "shape": [2, 4], "input": 1, "input_name": "weight"},
        {"name": "fc.bias", **weight, "shape": [2], "input": 2, "input_name": "bias"},
    ]
    assert "initializers" not in ours(relu.metadata_props)


def test_names_of_inputs_are_those_of_the_inputs_that_are_written() -> None:
    x, weight, shift = tensor("x", 1, role="input"), tensor("w", 1, role="parameter"), tensor("s", 1, role="constant")
    node = Node("n", "function", "f", "torch.f", inputs=(weight, x, weight, shift), outputs=(tensor("y", 1),))
    node.input_names = ("weight", "input", "", "shift")
    graph = Graph([node], inputs=[x], initializers=[weight])
    (short,) = exported(graph).graph.node
    assert (list(short.input), input_names(short)) == (["x", "s"], ["input", "shift"])
    assert [(use["input"], use.get("input_name")) for use in told(short.metadata_props)] == [(0, "weight"), (2, None)]
    (full,) = exported(graph, initializers=True).graph.node
    assert (list(full.input), input_names(full)) == (["w", "x", "w", "s"], ["weight", "input", "", "shift"])


def test_scalars_and_sizes_that_nobody_knows() -> None:
    values = [tensor("scalar"), tensor("ragged", 2, -1), tensor("none", 0), tensor("absurd", 2**70)]
    model = exported(Graph([Node("n", "function", "f", "torch.f", inputs=tuple(values))]))
    scalar, ragged, none, absurd = (entry.type.tensor_type for entry in model.graph.input)
    assert scalar.HasField("shape")
    assert not scalar.shape.dim
    assert [dim.WhichOneof("value") for dim in ragged.shape.dim] == ["dim_value", None]
    assert [dim.dim_value for dim in none.shape.dim] == [0]
    assert none.shape.dim[0].HasField("dim_value")
    assert [dim.WhichOneof("value") for dim in absurd.shape.dim] == [None]


def test_every_dtype_of_torch() -> None:
    torch = pytest.importorskip("torch")
    from torch.onnx.ops._dtype_mappings import ONNX_DTYPE_TO_TORCH_DTYPE

    by_torch = {str(dtype): number for number, dtype in reversed(ONNX_DTYPE_TO_TORCH_DTYPE.items())}
    by_name = {name.replace("FLOAT8E8M0", "FLOAT8E8M0FNU"): n for name, n in onnx.TensorProto.DataType.items()}
    dtypes = sorted({str(d) for d in vars(torch).values() if isinstance(d, torch.dtype)})
    assert "torch.qint8" in dtypes
    newest = "torch.uint2", "torch.int2"
    if onnx.IR_VERSION < 13:  # this onnx is older than they are, and its checker refuses what has them
        of_newest = tensor("x", 1, dtype="uint2")
        with pytest.raises(onnx.checker.ValidationError, match="ir_version 13 is higher"):
            exported(Graph([Node("n", "function", "f", "torch.f", inputs=(of_newest,))]))
        dtypes = [dtype for dtype in dtypes if dtype not in newest]
    inputs = tuple(tensor(d, 1, dtype=d.removeprefix("torch.")) for d in dtypes)
    model = exported(Graph([Node("n", "function", "f", "torch.f", inputs=inputs)]))
    for dtype, entry in zip(dtypes, model.graph.input, strict=True):
        name = dtype.removeprefix("torch.")
        expected = by_torch.get(dtype, by_name.get(name.upper().replace("_", ""), onnx.TensorProto.UNDEFINED))
        if name == "float4_e2m1fn_x2":  # two numbers in an element, which FLOAT4E2M1 is not
            expected = onnx.TensorProto.UNDEFINED
        assert entry.type.tensor_type.elem_type == expected, dtype
        assert ours(entry.metadata_props)["dtype"] == name


def test_the_ir_is_the_oldest_that_holds_the_graph() -> None:
    assert exported(SAMPLES["tiny"]).ir_version == 10
    new = tensor("x", 1, dtype="float8_e8m0fnu")
    assert exported(Graph([Node("n", "function", "f", "torch.f", inputs=(new,))])).ir_version == 12


def test_attributes_have_onnx_types() -> None:
    attributes: dict[str, Any] = {
        "int": 3,
        "negative": -(2**63),
        "bool": True,
        "float": 0.1,
        "infinite": float("-inf"),
        "string": "é\n",
        "empty": "",
        "ints": [3, 3],
        "tuple": (1, 2),
        "floats": [0.5, 1e-5],
        "strings": ["a", ""],
        "none": None,
        "huge": 2**63,
        "tiny": 1e-300,
        "mixed": [1, "a"],
        "nothing": [],
        "dict": {"k": [None, 1.5]},
    }
    node = Node("n", "function", "f", "torch.f", attributes=attributes)
    (proto,) = exported(Graph([node])).graph.node
    found = {a.name: (onnx.helper.get_attribute_value(a), a.doc_string) for a in proto.attribute}
    assert list(found) == list(attributes)
    as_json = {name for name, (_, doc) in found.items() if doc == "JSON"}
    assert as_json == {"none", "huge", "tiny", "mixed", "nothing", "dict"}
    for name in as_json:
        assert json.loads(found[name][0]) == attributes[name]
    assert found["int"][0] == 3
    assert found["negative"][0] == -(2**63)
    assert found["bool"][0] == 1
    assert found["float"][0] == pytest.approx(0.1, rel=1e-7)
    assert found["infinite"][0] == float("-inf")
    assert found["string"][0].decode() == "é\n"
    assert found["empty"][0] == b""
    assert list(found["ints"][0]) == [3, 3]
    assert list(found["tuple"][0]) == [1, 2]
    assert list(found["floats"][0]) == pytest.approx([0.5, 1e-5], rel=1e-7)
    assert list(found["strings"][0]) == [b"a", b""]


@settings(deadline=None)
@given(graphs())
def test_any_attribute_can_be_read_back(graph: Graph) -> None:
    for proto, node in zip(exported(graph).graph.node, graph.nodes, strict=True):
        for attribute, (key, value) in zip(proto.attribute, node.attributes.items(), strict=True):
            assert attribute.name == (key or attribute.name)
            found = onnx.helper.get_attribute_value(attribute)
            if attribute.doc_string == "JSON":
                assert json.loads(found) == value
            elif attribute.type == onnx.AttributeProto.STRING:
                assert found.decode() == value
            elif attribute.type == onnx.AttributeProto.STRINGS:
                assert [item.decode() for item in found] == value
            elif attribute.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.FLOATS):
                assert found == pytest.approx(value, rel=1e-6)
            else:
                assert found == value


@pytest.mark.parametrize(
    ("kind", "target", "domain"),
    [
        ("module", "torch.nn.modules.conv.Conv2d", "torch.nn"),
        ("module", "torchvision.models.resnet.BasicBlock", "torchvision.models.resnet"),
        ("function", "torch.relu", "torch"),
        ("function", "torch.Tensor.add_", "torch.Tensor"),
        ("function", "torch.nn.functional.relu", "torch.nn.functional"),
        ("function", "", "graph_recorder"),
        ("function", "ai.onnx.Relu", "graph_recorder.ai.onnx"),
        ("autograd", "AddmmBackward0", "torch.autograd"),
    ],
)
def test_the_domain_is_where_an_operator_lives(kind: Any, target: str, domain: str) -> None:
    call = ("fqn", 0) if kind == "module" else (None, None)
    model = exported(Graph([Node("n", kind, "Relu", target, *call, inputs=(tensor("x", 1, role="constant"),))]))
    assert model.graph.node[0].domain == domain
    assert [entry.domain for entry in model.opset_import] == [domain]


# What ONNX has no word for


def test_an_empty_graph() -> None:
    model = exported(Graph())
    assert not model.graph.node
    assert model.graph.name


def test_an_output_that_no_node_made() -> None:
    given_, unknown = tensor("x", 1, role="input"), tensor("lost", 1)
    made = tensor("y", 1)
    graph = Graph(
        [Node("n", "function", "f", "torch.f", inputs=(given_,), outputs=(made,))],
        inputs=[given_],
        outputs=[given_, unknown, made, made],
    )
    model = exported(graph)
    assert [entry.name for entry in model.graph.input] == ["x", "lost"]
    assert [entry.name for entry in model.graph.output] == ["x", "lost", "y"]
    assert json.loads(ours(model.graph.metadata_props)["outputs"]) == ["x", "lost", "y", "y"]
    assert len(model.graph.node) == 1, "no node that never ran"
    assert ours(model.graph.input[1].metadata_props)["role"] == "activation"


def test_what_is_returned_is_called_as_the_call_calls_it() -> None:
    graph = sample_graphs()["outputs"]
    taken, own = graph.outputs[0].name, [value.name for value in graph.outputs]
    graph.output_names = ["logits", taken, "logits"]  # a name that is another's already is nobody else's
    model = exported(graph)
    assert [entry.name for entry in model.graph.output] == ["logits", own[1], own[2]]
    assert ours(model.graph.output[0].metadata_props)["name"] == taken
    assert "name" not in ours(model.graph.output[1].metadata_props)
    facts = ours(model.graph.metadata_props)
    assert json.loads(facts["outputs"]) == ["logits", own[1], own[2]]
    assert json.loads(facts["output_names"]) == ["logits", taken, "logits"]
    assert json.loads(facts["input_names"]) == list(graph.input_names)


def test_calls_are_written_in_their_order_and_under_their_names() -> None:
    x, y, unused = tensor("x", 1, role="input"), tensor("y", 1), tensor("mask", 1, role="input")
    outer = Scope("", 0, "Net", name="Net", inputs=(unused, x), outputs=(y, x, y))
    outer.input_names, outer.output_names = ("attention_mask", "ids"), ("logits", "past.0", "again")
    fc = Node("fc", "module", "Linear", "", "fc", 0, outer, (x,), (y,), input_names=("input",), output_names=("",))
    model = exported(Graph([fc], inputs=[x], outputs=[y], output_names=["logits"], scopes=[outer]))
    facts = ours(model.graph.node[0].metadata_props)
    assert json.loads(facts["input_names"]) == ["input"]
    assert "output_names" not in facts, "there is one, and it has no name"
    (scope,) = json.loads(ours(model.graph.metadata_props)["scopes"])
    assert (scope["inputs"], scope["outputs"]) == (["mask", "x"], ["logits", "x", "logits"])
    assert (scope["input_names"], scope["output_names"]) == (["attention_mask", "ids"], ["logits", "past.0", "again"])


def test_a_parameter_that_is_returned() -> None:
    weight = tensor("weight", 2, role="parameter")
    model = exported(Graph(outputs=[weight], initializers=[weight]))
    assert [entry.name for entry in model.graph.input] == ["weight"] == [entry.name for entry in model.graph.output]


def test_a_parameter_that_is_given_is_an_input() -> None:
    weight, other = tensor("weight", 2, role="parameter"), tensor("other", 2, role="buffer")
    node = Node("n", "function", "f", "torch.f", inputs=(weight, other))
    model = exported(Graph([node], inputs=[weight], initializers=[weight, other]))
    assert [entry.name for entry in model.graph.input] == ["weight"] == list(model.graph.node[0].input)
    assert [fact["name"] for fact in told(model.graph.metadata_props)] == ["other"]


def test_a_call_without_any_tensor_is_kept() -> None:
    model = exported(Graph([Node("n", "function", "seed", "torch.manual_seed")]))
    assert list(model.graph.node[0].output) == [""], "ONNX's word for an output that is absent"


def test_an_error_is_in_the_metadata() -> None:
    failed = exported(SAMPLES["error"]).graph.node[-1]
    assert ours(failed.metadata_props)["error"].startswith("RuntimeError: mat1 and mat2")
    assert not failed.output


def test_lone_surrogates_are_shown_as_their_escape() -> None:
    bad = "a\ud800"
    scope = Scope(bad, 0, bad, name=bad, target=bad)
    node = Node(bad, "function", bad, f"{bad}.{bad}", scope=scope, attributes={bad: bad, "l": [bad], "d": {bad: bad}})
    node.error = bad
    node.inputs = (tensor(bad, 1, role="constant"), tensor("a\\ud800", 1, role="constant"))
    model = exported(Graph([node], scopes=[scope], name=bad, meta={bad: bad}))
    (proto,) = model.graph.node
    assert (proto.name, proto.op_type, proto.domain) == ("a\\ud800", "a\\ud800", "a\\ud800")
    assert list(proto.input) == ["a\\ud800", "a\\ud800_1"], "two values stay two"
    assert proto.attribute[0].s == b"a\\ud800"


def test_empty_names_get_a_visible_one() -> None:
    node = Node("", "module", "", "", fqn="", call=0, attributes={"": 1, "attribute": 2})
    node.inputs = (tensor("value", 1, role="constant"), tensor("", 1, role="constant"))
    model = exported(Graph([node]))
    (proto,) = model.graph.node
    assert proto.op_type == "module"
    assert list(proto.input) == ["value", "value_1"]
    assert [attribute.name for attribute in proto.attribute] == ["attribute", "attribute_1"]


@pytest.mark.parametrize("where", ["attributes", "meta"])
def test_what_json_cannot_hold_is_named(where: str) -> None:
    node = Node("culprit", "function", "f", "torch.f")
    setattr(node, where, {"key": {1, 2}})
    with pytest.raises(ExportError, match="culprit"):
        recorder.export(Graph([node]), "onnx-json")


# Options


def test_depth_shows_calls_as_nodes() -> None:
    model = exported(recorder.collapse(SAMPLES["residual"], 1))
    assert model == load(recorder.export(SAMPLES["residual"], "onnx-json", depth=1))
    assert [node.op_type for node in model.graph.node] == ["Block", "Block"]
    assert json.loads(ours(model.graph.node[0].metadata_props)["meta"]) == {"collapsed": 3}
    with pytest.raises(OptionError, match="-1"):
        recorder.export(SAMPLES["residual"], "onnx-json", depth=-1)


def test_times_are_written_on_request_only() -> None:
    graph = sample_graphs()["residual"]
    for i, item in enumerate((*graph.nodes, *graph.scopes)):
        item.duration_ns, item.backward_ns = 1000 + i, 2000 + i
    assert "_ns" not in recorder.export(graph, "onnx-json")
    model = exported(graph, timing=True)
    nodes = [ours(node.metadata_props) for node in model.graph.node]
    assert [(n["duration_ns"], n["backward_ns"]) for n in nodes] == [
        (str(n.duration_ns), str(n.backward_ns)) for n in graph.nodes
    ]
    scopes = json.loads(ours(model.graph.metadata_props)["scopes"])
    assert [(s["duration_ns"], s["backward_ns"]) for s in scopes] == [
        (s.duration_ns, s.backward_ns) for s in graph.scopes
    ]


def test_indent_changes_the_layout_only() -> None:
    graph = SAMPLES["branching"]
    line = recorder.export(graph, "onnx-json", indent=0)
    assert isinstance(line, str)
    assert "\n" not in line
    assert json.loads(line) == json.loads(recorder.export(graph, "onnx-json"))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx-json", "json"])
def test_the_same_text_in_another_process(format: str) -> None:
    script = (
        "import sys, recorder; from recorder.testing import sample_graphs\n"
        f"for g in sample_graphs().values(): sys.stdout.buffer.write(recorder.export(g, {format!r}).encode())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    ).stdout
    assert other == b"".join(str(recorder.export(graph, format)).encode() for graph in SAMPLES.values())


@pytest.mark.slow
def test_a_large_graph_takes_seconds() -> None:
    graph = chain(20_000, blocks=20)
    model = onnx.load_model_from_string(recorder.export(graph, "onnx-json"), format="json")
    onnx.checker.check_model(model)
    assert_same_dataflow(model, graph)
