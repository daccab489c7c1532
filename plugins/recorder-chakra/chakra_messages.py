"""The messages of a Chakra execution trace that are written here, for protobuf's own runtime.

Names and numbers are those of MLCommons Chakra's ``et_def.proto``
(https://github.com/mlcommons/chakra/blob/main/schema/protobuf/et_def.proto). Whoever reads a trace knows the others,
and takes them to be unset.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

__all__ = ["COLLECTIVES", "NODE_TYPES", "delimited", "message"]

PACKAGE = "ChakraProtoMsg"

NODE_TYPES = {"compute": 4, "send": 5, "recv": 6, "collective": 7}
"""Of a Node: ``COMP_NODE``, ``COMM_SEND_NODE``, ``COMM_RECV_NODE``, ``COMM_COLL_NODE``."""

COLLECTIVES = {
    "all_reduce": 0, "reduce": 1, "all_gather": 2, "gather": 3, "scatter": 4, "broadcast": 5, "all_to_all": 6,
    "reduce_scatter": 7, "barrier": 9,
}  # fmt: skip
"""The attribute ``comm_type``, by what an operation is called in a recording."""

_FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "AttributeProto": {
        "name": (1, "string"), "int32_val": (7, "int32"), "int64_val": (9, "int64"), "uint64_val": (13, "uint64"),
        "bool_val": (27, "bool"), "string_val": (29, "string"),
    },
    "GlobalMetadata": {"version": (1, "string"), "attr": (2, "AttributeProto*")},
    "IOInfo": {"values": (1, "string"), "shapes": (2, "string"), "types": (3, "string")},
    "Node": {
        "id": (1, "uint64"), "name": (2, "string"), "type": (3, "int32"), "ctrl_deps": (4, "uint64*"),
        "data_deps": (5, "uint64*"), "duration_micros": (7, "uint64"), "inputs": (8, "IOInfo"),
        "outputs": (9, "IOInfo"), "attr": (10, "AttributeProto*"),
    },
}  # fmt: skip
"""The number and the type of each field; ``*`` is one that repeats. An enum is a number on the wire."""


def _classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="recorder_chakra/et_def.proto", package=PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _FIELDS.items():
        described = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeats, kind = kind.endswith("*"), kind.removesuffix("*")
            label = kinds.LABEL_REPEATED if repeats else kinds.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, label=label)
            if kind in _FIELDS:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                added.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    value = file.message_type[0]  # of an attribute, which has one value, also one that is 0 or false
    value.oneof_decl.add(name="value")
    for one in value.field[1:]:
        one.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()  # one of its own: Chakra's schema may be loaded beside it
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _FIELDS}


_CLASSES = _classes()


def message(name: str, /, **fields: Any) -> Message:
    """A message of Chakra's schema."""
    return _CLASSES[name](**fields)


def delimited(written: Message) -> bytes:
    """A message with its length before it, as protobuf's tools write several into one file."""
    data = written.SerializeToString(deterministic=True)
    length, size = b"", len(data)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return length + bytes([size]) + data
