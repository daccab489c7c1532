"""The DAG: what a recording means, as plain objects that know neither torch nor any output format.

A `Graph` owns its nodes in execution order. Dataflow is held once, in `Node.inputs` and `Node.outputs`;
`Value.producer`, `Value.uses` and `Graph.edges()` are the same facts seen from the other side, filled in by
`Graph` itself, so the two sides cannot be written apart. `Graph.lint()` checks all of it.

What a graph says by the help of what stands above it, it asks of the package's face, `recorder`, when it is asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from recorder.errors import GraphError
from recorder.gc_pause import collector_held_back
from recorder.graph.links import Link

if TYPE_CHECKING:
    from recorder.analysis.gradient_report import GradientReport
    from recorder.analysis.memory_report import MemoryReport
    from recorder.analysis.value_report import ValueReport
    from recorder.views.steps import Origin

__all__ = ["Edge", "Graph", "Metrics", "Node", "NodeKind", "Role", "Scope", "Shown", "Value"]

NodeKind = Literal["module", "function", "autograd"]
Role = Literal["input", "activation", "parameter", "buffer", "constant"]
Metrics: TypeAlias = dict[str, int | float]


@dataclass(slots=True, eq=False)
class Value:
    """One tensor at one moment: an in-place write makes a new `Value` of the same tensor.

    ``shape`` is in elements, outermost dimension first; -1 stands for a dimension that has no single size (a
    ragged or symbolic one). ``grad_fn`` is the type name of the autograd node that made the tensor, or None.
    ``producer`` is None for inputs, parameters, buffers and constants, and for an activation that was made where the
    recording could not look.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    requires_grad: bool = False
    grad_fn: str | None = None
    role: Role = "activation"
    meta: dict[str, Any] = field(default_factory=dict)
    producer: "Node | None" = field(default=None, init=False)
    uses: "list[tuple[Node, int]]" = field(default_factory=list, init=False)

    def __repr__(self) -> str:
        return f"<Value {self.name} {self.dtype}{list(self.shape)} {self.role}>"


@dataclass(slots=True, eq=False)
class Scope:
    """One call of a module that holds nodes. ``fqn`` is the module's qualified name, "" for the root itself;
    ``call`` counts that module's calls from 0.

    ``inputs`` and ``outputs`` are what it was given and returned, used or not, in the order of the call; what is in it
    twice stands twice. Each has a name: ``"hidden_states"``, ``"position_embeddings.0"``; ``"logits"``, ``"past.0.1"``,
    ``"0"`` of a tuple, ``""`` of the only tensor that is returned, or where the name was not recorded.
    ``meta["arguments"]`` are the arguments without a tensor.
    """

    fqn: str
    call: int
    op_type: str
    parent: "Scope | None" = None
    name: str = ""
    target: str = ""
    error: str | None = None
    duration_ns: int | None = None
    backward_ns: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()

    def ancestors(self) -> "Iterator[Scope]":
        """The scope itself, its parent, and so on up to the root."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def __repr__(self) -> str:
        return f"<Scope {self.name or self.fqn} {self.op_type}>"


@dataclass(slots=True, eq=False)
class Node:
    """One operation: a call of a module with nothing recorded inside it, of a function, or an autograd node.

    ``inputs`` are the tensors that it was given, in the order of its arguments, then its own parameters and buffers.
    ``attributes`` are its other arguments, or a module's hyper-parameters: JSON values only. ``meta`` belongs to
    plugins, one key for each. Durations are wall-clock nanoseconds, None where nothing was measured.

    Of a module call, ``input_names`` and ``output_names`` have a name for each of its inputs and outputs, as in `Scope`
    (a parameter or buffer has its own), and ``meta["arguments"]`` the arguments without a tensor. Others have no names.
    """

    name: str
    kind: NodeKind
    op_type: str
    target: str
    fqn: str | None = None
    call: int | None = None
    scope: Scope | None = None
    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    duration_ns: int | None = None
    backward_ns: int | None = None
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()

    def predecessors(self) -> "list[Node]":
        """The nodes that made this one's inputs, each once, in the order of the inputs."""
        return list(dict.fromkeys(v.producer for v in self.inputs if v.producer is not None))

    def successors(self) -> "list[Node]":
        """The nodes that use this one's outputs, each once, in execution order for each output."""
        return list(dict.fromkeys(node for v in self.outputs for node, _ in v.uses))

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.op_type}>"


class Edge(NamedTuple):
    """``source`` made ``value``, and ``target`` uses it. A node that uses one value twice has two edges."""

    source: Node
    target: Node
    value: Value


class Shown(NamedTuple):
    """What a view shows: places of which graph, and which one each of its own is. ``alike`` has, of such a place that
    is drawn once for several, all of them.
    """

    graph: "Graph"
    places: "dict[Node | Scope, Node | Scope]"
    alike: "dict[Node | Scope, tuple[Node | Scope, ...]]"


class Graph:
    """A recording as a directed acyclic graph.

    Args:
        nodes: in execution order, which is topological.
        inputs: the tensors that the outermost calls were given, each once.
        outputs: what those calls returned, in the order of the calls; what is returned twice stands twice.
        input_names: the name of each input in its call; those of the values if None.
        output_names: likewise of the outputs; none has one if None.
        links: what ties nodes of several ranks to each other: see `recorder.merge`.
        initializers: parameters and buffers, used or not.
        scopes: module calls that hold nodes, parents before children. The nodes of one call, and of the calls inside
            it, stand together.
        name: a title, usually the model's class.
        meta: facts about the recording as a whole; JSON values only.

    Building a graph fills in every value's ``producer`` and ``uses``, so build it last, from fresh values.
    """

    def __init__(
        self,
        nodes: Sequence[Node] = (),
        *,
        inputs: Sequence[Value] = (),
        outputs: Sequence[Value] = (),
        initializers: Sequence[Value] = (),
        scopes: Sequence[Scope] = (),
        name: str = "",
        meta: dict[str, Any] | None = None,
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        links: Sequence[Link] = (),
    ) -> None:
        self.nodes: Sequence[Node] = list(nodes)
        self.links: Sequence[Link] = list(links)
        self.inputs: Sequence[Value] = list(inputs)
        self.outputs: Sequence[Value] = list(outputs)
        self.input_names: Sequence[str] = [v.name for v in inputs] if input_names is None else list(input_names)
        self.output_names: Sequence[str] = [""] * len(self.outputs) if output_names is None else list(output_names)
        self.initializers: Sequence[Value] = list(initializers)
        self.scopes: Sequence[Scope] = list(scopes)
        self.name = name
        self.meta: dict[str, Any] = {} if meta is None else meta
        self._origin: Origin | None = None  # of a view, what it was made of: `recorder.views` alone uses it
        self._shown: Shown | None = None  # of a view, what has its metrics
        self._metrics_in_documents = False  # see `recorder.add_metrics`
        for node in self.nodes:
            for value in node.outputs:
                value.producer = node
            for position, value in enumerate(node.inputs):
                value.uses.append((node, position))

    def __getstate__(self) -> dict[str, Any]:
        """A copy that is pickled is no view any more: how one was made may hold functions of the user's. What it knows
        of the calls that it shows, it keeps.
        """
        kept = {} if self._shown is None else {"metrics": self.metrics}
        return {**self.__dict__, **kept, "_origin": None, "_shown": None}

    def edges(self) -> Iterator[Edge]:
        """Every use of a node's output by another node, in execution order of the users."""
        for node in self.nodes:
            for value in node.inputs:
                if value.producer is not None:
                    yield Edge(value.producer, node, value)

    def values(self) -> Iterator[Value]:
        """Every value once: inputs, initializers, then what the nodes use and make, then the outputs."""
        of_nodes = (group for node in self.nodes for group in (node.inputs, node.outputs))
        return iter(dict.fromkeys(chain(self.inputs, self.initializers, chain.from_iterable(of_nodes), self.outputs)))

    def values_of_calls(self) -> Iterator[Value]:
        """What is no part of the dataflow, and was given to a call or returned by it all the same: each once."""
        among = set(self.values())
        of_scopes = (group for scope in self.scopes for group in (scope.inputs, scope.outputs))
        return (value for value in dict.fromkeys(chain.from_iterable(of_scopes)) if value not in among)

    def __eq__(self, other: object) -> bool:
        """Equal in everything that is not a measured time, which differs from run to run of the same program, and not
        metrics, which are computed from the rest.
        """
        if not isinstance(other, Graph):
            return NotImplemented
        from recorder import equal

        return equal(self, other)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def metrics(self) -> "dict[Node | Scope, Metrics]":
        """What each node and scope costs: a flat dict of numbers, as `recorder.analysis.metrics` lists them. What is
        not known is not there.

        Computed when first asked for. A view has those of the calls that it shows, and a graph that was loaded those
        that were saved with it, if any were.
        """
        from recorder import metrics_of

        return metrics_of(self)

    def gradient_report(self) -> "GradientReport":
        """What is wrong with the gradients: parameters that got none and why, where the first NaN or Inf was born,
        and where gradients vanish or explode.

        Works on any recording of a backward pass, and tells most of one with ``Recorder(net, gradients="stats")``; what
        a recording cannot tell, the report says.
        """
        from recorder import gradient_report

        return gradient_report(self)

    def value_report(self) -> "ValueReport":
        """Where forward first made a NaN or Inf, and what is dead or saturated.

        Works on a recording with ``Recorder(net, values="stats")``; what that cannot tell, the report says.
        """
        from recorder import value_report

        return value_report(self)

    def memory_report(self) -> "MemoryReport":
        """What was in memory when most was, who keeps what for backward, and what could be kept less.

        Works on a recording with ``Recorder(net, memory=True)``; what that cannot tell, the report says.
        """
        from recorder import memory_report

        return memory_report(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} nodes, {len(self.scopes)} scopes>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """A notebook shows the graph itself."""
        from recorder import mimebundle

        return mimebundle(self, repr(self))

    @collector_held_back()
    def lint(self) -> None:
        """Check that the graph agrees with itself.

        Raises:
            GraphError: lists every contradiction found.
        """
        from recorder import problems_in

        problems = problems_in(self)
        if problems:
            raise GraphError(problems)
