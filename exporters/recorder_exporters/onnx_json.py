"""The graph as the JSON of an ``onnx.ModelProto``, so that tools which know ONNX know a recording: Netron opens it,
``onnx.load(path, format="json")`` loads it, ``onnx.checker`` accepts it.

It is a picture of a run in ONNX's terms, and not a program: operators are PyTorch's own, in domains such as
``torch.nn``. Where ONNX has no word for something, the model says what ONNX allows, and the metadata says the rest:

* Hierarchy is in the nodes' ``namespace``, ``pkg.torch.onnx.class_hierarchy`` and ``pkg.torch.onnx.name_scopes``, as
  torch's own exporter writes it. What is ours has keys that begin with ``graph_recorder.``.
* A recording has no data, and ONNX allows no initializer without. So a value that no node made is a graph input, be it
  an input, a constant or a tensor of unknown origin: ``graph_recorder.role`` tells them apart. Parameters and buffers
  would be graph inputs by the hundred, and viewers draw a box for each. So they are in the metadata alone, unless they
  are asked for (``initializers=True``): ``graph_recorder.initializers`` of the graph has all that is known of each, and
  that of a node says which it uses, and where among its inputs. One that was given or returned is always an input.
* An output that no node made (the model returned its input, say) is in both lists: a node in between would be one that
  never ran. One that was returned twice is listed once, and ``graph_recorder.outputs`` has it twice.
* What a node made and the model returned is called what the call calls it, such as ``logits``, if nothing else is.
  ``graph_recorder.name`` has its own name.
* A dtype that ONNX lacks is UNDEFINED; ``graph_recorder.dtype`` has the true one.

The JSON is written directly, by protobuf's rules (int64 as text, bytes in base64): of 100,000 nodes, protobuf's own
writer takes 20 seconds, and this takes three. The tests hold it equal to what ``onnx.save`` writes.
"""

import json
import math
from base64 import b64encode
from collections.abc import Container, Iterable
from typing import Any

import msgspec

from recorder import ExportError, Graph, Node, Scope, Value, __version__, utf8
from recorder.figures import meta_of
from recorder_exporters import onnx_messages as proto

__all__ = ["OnnxJsonExporter"]

IR_VERSION = 10  # the first with metadata on every message; newer only for what needs it
NEWER_DTYPES = {"float8_e8m0fnu": 12, "uint2": 13, "int2": 13}
ELEM_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13, "complex64": 14, "complex128": 15, "bfloat16": 16, "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18, "float8_e5m2": 19, "float8_e5m2fnuz": 20, "uint4": 21, "int4": 22, "float8_e8m0fnu": 24,
    "uint2": 25, "int2": 26,
}  # fmt: skip
"""onnx.TensorProto.DataType by torch's name. torch's float4_e2m1fn_x2 is not FLOAT4E2M1: it holds two in an element."""
UNDEFINED = 0

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_PATHS = 2**28
"""Characters of hierarchy, which each node has in full, twice. ONNX's own limit is 2 GiB for a whole model."""
FLOAT32_TINY, FLOAT32_MAX = 2.0**-126, 2.0**128 - 2.0**104


class OnnxJsonExporter:
    """An onnx.ModelProto as JSON, for Netron and onnx.load; the module hierarchy is in the metadata."""

    name, suffixes, media_type = "onnx-json", (".onnx.json",), "application/json"

    def export(self, graph: Graph, *, initializers: bool = False, timing: bool = False, indent: int = 2) -> str:
        """The model as JSON, the same text for the same graph.

        Args:
            graph: any graph that lints.
            initializers: write parameters and buffers as inputs of the graph and of the nodes that use them, each of
                which Netron draws as a box. They are in the metadata of the nodes otherwise, which Netron shows on a
                click. One that the graph was given or returns is always an input.
            timing: write measured durations into the metadata; they differ from run to run.
            indent: spaces for each level, as ``onnx.save`` writes; 0 writes one line.

        Raises:
            ExportError: attributes or meta hold what JSON cannot; the message says whose.
        """
        data = msgspec.json.encode(_model(graph, timing, initializers))
        return (msgspec.json.format(data, indent=indent) if indent else data).decode()


def _model(graph: Graph, timing: bool, initializers: bool) -> proto.Model:
    values = list(graph.values())
    names = _value_names(graph, values)
    paths = _scope_paths(graph)
    hidden = set() if initializers else _hidden(graph, values)
    shown = [value for value in values if value not in hidden]
    returned = {id(value) for value in graph.outputs}
    nodes = [_node(node, names, paths, hidden, timing, meta_of(graph, node, timing=timing)) for node in graph.nodes]
    domains = sorted({node.domain for node in nodes}) or ["torch"]  # ONNX demands one
    return proto.Model(
        ir_version=str(max([IR_VERSION, *(NEWER_DTYPES.get(value.dtype, 0) for value in shown)])),
        producer_name="graph-recorder",
        producer_version=__version__,
        doc_string="What a PyTorch model did, as recorded. The operators are PyTorch's, so it cannot be executed.",
        graph=proto.Graph(
            node=nodes,
            name=_text(graph.name) or "graph",
            input=[_value_info(v, names) for v in shown if v.producer is None],
            output=[_value_info(v, names) for v in dict.fromkeys(graph.outputs)],
            value_info=[_value_info(v, names) for v in shown if v.producer is not None and id(v) not in returned],
            metadata_props=_metadata(
                **_call(graph, names),
                initializers=_json([_initializer(v, names) for v in values if v in hidden], graph) if hidden else None,
                scopes=_json([_scope(s, names, timing, meta_of(graph, s, timing=timing)) for s in graph.scopes], graph),
                meta=_json(graph.meta, graph) if graph.meta else None,
            ),
        ),
        opset_import=[proto.OperatorSet(domain, "1") for domain in domains],
    )


def _hidden(graph: Graph, values: Iterable[Value]) -> set[Value]:
    """The parameters and buffers that are in the metadata alone. What is given or returned has to be a graph input."""
    always = {*graph.inputs, *graph.outputs}
    return {v for v in values if v.producer is None and v.role in ("parameter", "buffer") and v not in always}


def _node(
    node: Node,
    names: dict[int, str],
    paths: "dict[int, list[tuple[str, str]]]",
    hidden: Container[Value],
    timing: bool,
    meta: dict[str, Any],
) -> proto.Node:
    path = [*([] if node.scope is None else paths[id(node.scope)]), (node.name, node.target)]
    shown = [position for position, value in enumerate(node.inputs) if value not in hidden]
    inputs, outputs = [names[id(node.inputs[i])] for i in shown], [names[id(v)] for v in node.outputs]
    # As many as there are inputs in this model; what the call calls the others is said beside them.
    input_names = [node.input_names[i] for i in shown] if node.input_names else []
    own = _uses(node, names, hidden) if len(shown) < len(node.inputs) else None
    keys = _unique(_text(str(key)) or "attribute" for key in node.attributes)
    return proto.Node(
        input=inputs,
        # ONNX refuses a node with neither inputs nor outputs; the empty name is its word for an output that is absent.
        output=outputs if inputs or outputs else [""],
        name=_text(node.name),
        op_type=_text(node.op_type) or node.kind,
        attribute=[_attribute(key, value, node) for key, value in zip(keys, node.attributes.values())],
        domain=_domain(node),
        metadata_props=[
            proto.Entry("namespace", _text("/".join(f"{fqn}: {target}" for fqn, target in path))),
            proto.Entry("pkg.torch.onnx.class_hierarchy", repr([target for _, target in path])),
            proto.Entry("pkg.torch.onnx.name_scopes", repr([fqn for fqn, _ in path])),
            *_metadata(
                kind=node.kind,
                target=node.target,
                fqn=node.fqn,
                call=None if node.call is None else str(node.call),
                scope=None if node.scope is None else node.scope.name,
                error=node.error,
                input_names=_json(input_names, node) if any(input_names) else None,
                output_names=_json(node.output_names, node) if any(node.output_names) else None,
                initializers=None if own is None else _json(own, node),
                duration_ns=str(node.duration_ns) if timing and node.duration_ns is not None else None,
                backward_ns=str(node.backward_ns) if timing and node.backward_ns is not None else None,
                meta=_json(meta, node) if meta else None,
            ),
        ],
    )


def _uses(node: Node, names: dict[int, str], hidden: Container[Value]) -> list[dict[str, Any]]:
    """The parameters and buffers that a node uses and that are none of its inputs here: which input of the call each
    is, what the call calls it, and what a reader asks of it. The graph's metadata has the rest.
    """
    own = []
    for position, value in enumerate(node.inputs):
        if value in hidden:
            called = node.input_names[position] if node.input_names else ""
            own.append({
                "name": names[id(value)],
                "role": value.role,
                "dtype": value.dtype,
                "shape": list(value.shape),
                "input": position,
                **({"input_name": called} if called else {}),
            })  # fmt: skip
    return own


def _initializer(value: Value, names: dict[int, str]) -> dict[str, Any]:
    """All that is known of a parameter or buffer that is no graph input."""
    name = names[id(value)]
    return {
        "name": name,
        **({} if name == _text(value.name) else {"own_name": value.name}),
        "role": value.role,
        "dtype": value.dtype,
        "shape": list(value.shape),
        "device": value.device,
        "requires_grad": bool(value.requires_grad),
        **({} if value.grad_fn is None else {"grad_fn": value.grad_fn}),
        **({"meta": value.meta} if value.meta else {}),
    }


def _domain(node: Node) -> str:
    """Where a user would import the operator from. ``ai.onnx`` is ONNX's own, and so is the empty domain."""
    if node.kind == "autograd":
        return "torch.autograd"
    if node.target.startswith("torch.nn.modules."):
        return "torch.nn"
    domain = _text(node.target.rpartition(".")[0])
    if not domain or domain.startswith("ai.onnx"):
        return f"graph_recorder.{domain}".rstrip(".")
    return domain


def _attribute(name: str, value: Any, node: Node) -> proto.Attribute:
    """An attribute in ONNX's types. What has none is JSON in a string, and its doc_string says so."""
    if (number := _int(value)) is not None:
        return proto.Attribute(name=name, i=number, type="INT")
    if (real := _float(value)) is not None:
        return proto.Attribute(name=name, f=real, type="FLOAT")
    if isinstance(value, str):
        return proto.Attribute(name=name, s=_bytes(value), type="STRING")
    if isinstance(value, list | tuple) and value:
        numbers = [number for item in value if (number := _int(item)) is not None]
        if len(numbers) == len(value):
            return proto.Attribute(name=name, ints=numbers, type="INTS")
        reals = [real for item in value if (real := _float(item)) is not None]
        if len(reals) == len(value):
            return proto.Attribute(name=name, floats=reals, type="FLOATS")
        strings = [_bytes(item) for item in value if isinstance(item, str)]
        if len(strings) == len(value):
            return proto.Attribute(name=name, strings=strings, type="STRINGS")
    return proto.Attribute(name=name, s=_bytes(_json(value, node)), type="STRING", doc_string="JSON")


def _int(value: Any) -> str | None:
    return str(int(value)) if isinstance(value, int) and INT64_MIN <= value <= INT64_MAX else None


def _float(value: Any) -> float | str | None:
    """ONNX's FLOAT is a float32: a number that it would turn into 0 or infinity is better kept as JSON."""
    if not isinstance(value, float):
        return None
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value) if value == 0 or FLOAT32_TINY <= abs(value) <= FLOAT32_MAX else None


def _bytes(text: str) -> str:
    return b64encode(_text(text).encode()).decode()


def _value_info(value: Value, names: dict[int, str]) -> proto.ValueInfo:
    # Of a size that has no single number, or that no tensor can have, nothing is said.
    dims = [proto.Dimension(str(size) if 0 <= size <= INT64_MAX else None) for size in value.shape]
    elem_type = ELEM_TYPES.get(value.dtype, UNDEFINED)
    return proto.ValueInfo(
        names[id(value)],
        proto.Type(proto.TensorType(elem_type, proto.Shape(dims))),
        _metadata(
            name=None if names[id(value)] == _text(value.name) else value.name,
            role=value.role,
            dtype=value.dtype,
            device=value.device,
            requires_grad="true" if value.requires_grad else "false",
            grad_fn=value.grad_fn,
            meta=_json(value.meta, value) if value.meta else None,
        ),
    )


def _call(graph: Graph, names: dict[int, str]) -> dict[str, str]:
    """What the outermost calls were given and returned, in their order and under their names."""
    return {
        "inputs": _json([names[id(v)] for v in graph.inputs], graph),
        "outputs": _json([names[id(v)] for v in graph.outputs], graph),
        "input_names": _json(graph.input_names, graph),
        "output_names": _json(graph.output_names, graph),
    }


def _scope(scope: Scope, names: dict[int, str], timing: bool, meta: dict[str, Any]) -> dict[str, Any]:
    """A module call that holds nodes: ONNX has no place for it, so all of them are one JSON list in the metadata."""
    times = {"duration_ns": scope.duration_ns, "backward_ns": scope.backward_ns} if timing else {}
    return {
        "name": scope.name,
        "fqn": scope.fqn,
        "call": scope.call,
        "op_type": scope.op_type,
        "target": scope.target,
        "parent": None if scope.parent is None else scope.parent.name,
        "error": scope.error,
        "inputs": [names[id(v)] for v in scope.inputs],
        "outputs": [names[id(v)] for v in scope.outputs],
        "input_names": scope.input_names,
        "output_names": scope.output_names,
        "attributes": scope.attributes,
        "meta": meta,
        **times,
    }


def _scope_paths(graph: Graph) -> dict[int, list[tuple[str, str]]]:
    """For each scope, by id, the qualified names and classes from the root down to it."""
    lengths: dict[int, int] = {}
    for scope in graph.scopes:  # parents come before their children
        length = 0 if scope.parent is None else lengths[id(scope.parent)]
        lengths[id(scope)] = length + len(scope.fqn) + len(scope.target)
    if 2 * sum(lengths[id(node.scope)] for node in graph.nodes if node.scope is not None) > MAX_PATHS:
        raise ExportError(
            "so many nodes nest so deeply that ONNX cannot hold it; collapse some, for example with depth=10"
        )
    paths: dict[int, list[tuple[str, str]]] = {}
    for scope in graph.scopes:
        above = [] if scope.parent is None else paths[id(scope.parent)]
        paths[id(scope)] = [*above, (scope.fqn, scope.target)]
    return paths


def _value_names(graph: Graph, values: list[Value]) -> dict[int, str]:
    """A name for each value, by id, also of what a call was only given or only returned. None is empty: in ONNX the
    empty name is an absent value. Of an output it is the call's name for it, if no other value has that.
    """
    known = [*values, *graph.values_of_calls()]
    names = dict(zip(map(id, known), _unique(_text(value.name) or "value" for value in known)))
    taken, renamed = set(names.values()), set()
    for value, name in zip(graph.outputs, map(_text, graph.output_names), strict=True):
        if name and name not in taken and value.producer is not None and id(value) not in renamed:
            taken.add(name)
            renamed.add(id(value))
            names[id(value)] = name
    return names


def _unique(wishes: Iterable[str]) -> list[str]:
    """Each wish if it is free, else with a number behind it; as many names as wishes, in their order."""
    names: dict[str, None] = {}
    for wish in wishes:
        name, number = wish, 1
        while name in names:
            name, number = f"{wish}_{number}", number + 1
        names[name] = None
    return list(names)


def _metadata(**facts: str | None) -> list[proto.Entry]:
    return [proto.Entry(f"graph_recorder.{key}", _text(fact)) for key, fact in facts.items() if fact is not None]


def _json(value: Any, whose: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ExportError(
            f"{whose!r} cannot be written as JSON ({error}): attributes and meta hold JSON values only"
        ) from error


def _text(text: str) -> str:
    """Protobuf's strings are UTF-8, which has no lone surrogates: they are written as their escape."""
    return text if text.isascii() else utf8(text).decode()
