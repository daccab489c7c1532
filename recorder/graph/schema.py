"""The schema of a graph as a document: what stands in it, and of which type. The published copy of `json_schema` is
``docs/graph.schema.json``.

Nodes, values and scopes are lists, and point at each other by index.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from recorder.graph.core import NodeKind, Role
from recorder.limits import LARGEST, Size, Word

__all__ = ["SCHEMA_VERSION", "GraphDoc", "LinkDoc", "NodeDoc", "ScopeDoc", "ValueDoc", "json_schema"]

SCHEMA_VERSION: Final = 1

ValueIndex = Annotated[int, msgspec.Meta(ge=0, description="a position in values")]
NodeIndex = Annotated[int, msgspec.Meta(ge=0, description="a position in nodes")]
ScopeIndex = Annotated[int, msgspec.Meta(ge=0, description="a position in scopes")]
Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]


class ValueDoc(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One `Value`."""

    name: str
    shape: tuple[Size, ...]
    dtype: Word
    device: Word
    role: Role = "activation"
    requires_grad: bool = False
    grad_fn: str | None = None
    meta: dict[str, Any] = {}


class ScopeDoc(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One `Scope`; ``parent`` is its parent's index, ``inputs`` and ``outputs`` are indices."""

    name: str
    fqn: str
    call: Count
    op_type: str
    target: str = ""
    parent: ScopeIndex | None = None
    error: str | None = None
    duration_ns: int | None = None
    backward_ns: int | None = None
    attributes: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    inputs: tuple[ValueIndex, ...] = ()
    outputs: tuple[ValueIndex, ...] = ()
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()


class NodeDoc(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One `Node`; ``scope``, ``inputs`` and ``outputs`` are indices."""

    name: str
    kind: NodeKind
    op_type: str
    target: str
    fqn: str | None = None
    call: Count | None = None
    scope: ScopeIndex | None = None
    inputs: tuple[ValueIndex, ...] = ()
    outputs: tuple[ValueIndex, ...] = ()
    error: str | None = None
    duration_ns: int | None = None
    backward_ns: int | None = None
    attributes: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()


class LinkDoc(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One `Link`; ``members`` are indices of nodes, each with the ranks that it stands for, such as ``"0-3,8"``."""

    op_type: str
    group: str
    number: Count
    phase: Literal["forward", "backward"]
    members: tuple[tuple[str, NodeIndex], ...]


class GraphDoc(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `Graph`; ``inputs``, ``outputs``, ``initializers`` point into ``values``; those of calls alone are last."""

    format: Literal["graph-recorder"]
    schema_version: Literal[1]
    name: str
    nodes: list[NodeDoc]
    values: list[ValueDoc]
    scopes: list[ScopeDoc]
    inputs: list[ValueIndex]
    outputs: list[ValueIndex]
    initializers: list[ValueIndex]
    meta: dict[str, Any] = {}
    input_names: tuple[str, ...] | None = None
    output_names: tuple[str, ...] | None = None
    links: list[LinkDoc] | msgspec.UnsetType = msgspec.UNSET


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the document that `dumps` writes."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(GraphDoc)}
