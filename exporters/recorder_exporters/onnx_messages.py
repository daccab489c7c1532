"""The part of onnx.proto that is written here, under its names and in its order. By protobuf's rules for JSON int64 is
text, and so are bytes, in base64.
"""

from typing import Literal

import msgspec

__all__ = [
    "Attribute",
    "Dimension",
    "Entry",
    "Graph",
    "Model",
    "Node",
    "OperatorSet",
    "Shape",
    "TensorType",
    "Type",
    "ValueInfo",
]


class Message(msgspec.Struct, omit_defaults=True, gc=False):
    """A protobuf message: what is not set is not written."""


class Entry(Message):
    """A key with its value, as in any metadata."""

    key: str
    value: str


class Dimension(Message):
    """A size; neither number nor name is one that is not known."""

    dim_value: str | None = None


class Shape(Message):
    """All sizes of a tensor."""

    dim: list[Dimension] = []


class TensorType(Message):
    """Dtype and shape."""

    elem_type: int
    shape: Shape


class Type(Message):
    """What a value is: here always a tensor."""

    tensor_type: TensorType


class ValueInfo(Message):
    """A value: its name and type."""

    name: str
    type: Type
    metadata_props: list[Entry]


class Attribute(Message, kw_only=True):
    """A named constant of a node, in the one field that its type says."""

    name: str
    f: float | str | None = None
    i: str | None = None
    s: str | None = None
    floats: list[float | str] = []
    ints: list[str] = []
    strings: list[str] = []
    type: Literal["INT", "FLOAT", "STRING", "INTS", "FLOATS", "STRINGS"]
    doc_string: str | None = None


class Node(Message, kw_only=True):
    """A call of an operator."""

    input: list[str] = []
    output: list[str] = []
    name: str
    op_type: str
    attribute: list[Attribute] = []
    domain: str
    metadata_props: list[Entry]


class Graph(Message, kw_only=True):
    """The dataflow."""

    node: list[Node] = []
    name: str
    input: list[ValueInfo] = []
    output: list[ValueInfo] = []
    value_info: list[ValueInfo] = []
    metadata_props: list[Entry]


class OperatorSet(Message):
    """A domain of operators that the model uses."""

    domain: str
    version: str


class Model(Message):
    """The whole file."""

    ir_version: str
    producer_name: str
    producer_version: str
    doc_string: str
    graph: Graph
    opset_import: list[OperatorSet]
