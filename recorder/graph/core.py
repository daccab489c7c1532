"""The DAG: what a recording means, as plain objects that know neither torch nor any output format.

A `Graph` owns its nodes in execution order. Dataflow is held once, in `Node.inputs` and `Node.outputs`;
`Value.producer`, `Value.uses` and `Graph.edges()` are the same facts seen from the other side, filled in by
`Graph` itself, so the two sides cannot be written apart. `Graph.lint()` checks all of it.

What a graph says by the help of what stands above it, it asks of the package's face, `recorder`, when it is asked.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from recorder.errors import GraphError
from recorder.gc_pause import collector_held_back

if TYPE_CHECKING:
    from recorder.analysis.gradient_report import GradientReport
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
    """What a view shows: places of which graph, and which one each of its own is."""

    graph: "Graph"
    places: "dict[Node | Scope, Node | Scope]"


class Graph:
    """A recording as a directed acyclic graph.

    Args:
        nodes: in execution order, which is topological.
        inputs: the tensors that the outermost calls were given, each once.
        outputs: what those calls returned, in the order of the calls; what is returned twice stands twice.
        input_names: the name of each input in its call; those of the values if None.
        output_names: likewise of the outputs; none has one if None.
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
    ) -> None:
        self.nodes: Sequence[Node] = list(nodes)
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
        values = [*self.values(), *self.values_of_calls()]
        problems = [
            *_lint_calls(self),
            *_lint_names(self, values),
            *_lint_scopes(self),
            *_lint_dataflow(self, values),
            *_lint_values(self, values),
        ]
        if problems:
            raise GraphError(problems)


def _lint_names(graph: Graph, values: list[Value]) -> Iterator[str]:
    for kind, names in (
        ("nodes", [n.name for n in graph.nodes]),
        ("values", [v.name for v in values]),
        ("scopes", [s.name for s in graph.scopes]),
    ):
        if len(set(names)) == len(names):
            continue
        seen: set[str] = set()
        for name in names:
            if name in seen:
                yield f"two {kind} are named {name!r}"
            seen.add(name)
    kinds = get_args(NodeKind)
    for node in graph.nodes:
        if node.kind not in kinds:
            yield f"node {node.name!r} is of unknown kind {node.kind!r}"
        if node.kind == "module" and (node.fqn is None or node.call is None):
            yield f"module node {node.name!r} lacks fqn or call"
        if node.kind != "module" and (node.fqn is not None or node.call is not None):
            yield f"{node.kind} node {node.name!r} has the fqn or call of a module"


def _lint_calls(graph: Graph) -> Iterator[str]:
    for kind, places in (("graph", [graph]), ("scope", graph.scopes), ("node", graph.nodes)):
        for place in places:
            if isinstance(place, Node) and place.kind != "module":
                if place.input_names or place.output_names:
                    yield f"{place.kind} node {place.name!r} has names of inputs or outputs, as only modules have"
                continue
            for what in ("inputs", "outputs"):
                values, names = getattr(place, what), getattr(place, f"{what[:-1]}_names")
                if len(values) != len(names) and (names or not isinstance(place, Node)):
                    yield f"{kind} {place.name!r} has {len(values)} {what} and {len(names)} names for them"


def _lint_scopes(graph: Graph) -> Iterator[str]:
    seen: set[int] = set()
    for scope in graph.scopes:
        if scope.parent is not None and id(scope.parent) not in seen:
            yield f"scope {scope.name!r} does not stand after its parent {scope.parent.name!r}"
            return  # the parents may go in a circle, and what follows walks up
        seen.add(id(scope))
    left: set[int] = set()
    open_scopes: dict[int, Scope] = {}  # around the node before, the outermost first
    previous: Scope | None = None
    for node in graph.nodes:
        if node.scope is not None and id(node.scope) not in seen:
            yield f"node {node.name!r} is in scope {node.scope.name!r}, which the graph lacks"
        elif node.scope is not previous:
            previous = node.scope
            entered: list[Scope] = []
            common = node.scope
            while common is not None and id(common) not in open_scopes:
                entered.append(common)
                common = common.parent
            while open_scopes and (common is None or next(reversed(open_scopes)) != id(common)):
                left.add(open_scopes.popitem()[0])
            for scope in reversed(entered):
                if id(scope) in left:
                    yield f"scope {scope.name!r} goes on at node {node.name!r} after it was left"
                    left.discard(id(scope))  # said once
                open_scopes[id(scope)] = scope


def _lint_dataflow(graph: Graph, values: list[Value]) -> Iterator[str]:
    # One pass in execution order shows both that the order is topological and that there is no cycle.
    order = {id(node): i for i, node in enumerate(graph.nodes)}
    outputs_of: dict[int, Node] = {}
    uses: defaultdict[int, list[tuple[Node, int]]] = defaultdict(list)
    for i, node in enumerate(graph.nodes):
        for position, value in enumerate(node.inputs):
            uses[id(value)].append((node, position))
            if value.producer is None:
                continue
            if id(value.producer) not in order:
                yield f"{node.name!r} uses {value.name!r}, whose producer {value.producer.name!r} is not in the graph"
            elif order[id(value.producer)] >= i:
                yield f"{node.name!r} uses {value.name!r} before {value.producer.name!r} has made it"
        for value in node.outputs:
            if id(value) in outputs_of:
                yield f"{value.name!r} is made twice, by {outputs_of[id(value)].name!r} and {node.name!r}"
            outputs_of[id(value)] = node
            if value.producer is not node:
                yield f"{node.name!r} makes {value.name!r}, whose producer says otherwise"

    def in_order(uses: list[tuple[Node, int]]) -> list[tuple[int, int]]:
        return sorted((order.get(id(node), -1), position) for node, position in uses)

    for value in values:
        found = uses.get(id(value), [])
        if value.uses != found and in_order(value.uses) != in_order(found):
            yield f"the uses of {value.name!r} are not the inputs that it is"
        if value.producer is not None and id(value) not in outputs_of:
            yield f"{value.name!r} names a producer that does not make it"


def _lint_values(graph: Graph, values: list[Value]) -> Iterator[str]:
    roles = get_args(Role)
    for value in values:
        if value.role not in roles:
            yield f"value {value.name!r} has unknown role {value.role!r}"
        if not value.dtype or not value.device:
            yield f"value {value.name!r} lacks dtype or device"
        if not isinstance(value.shape, tuple) or not all(isinstance(size, int) and size >= -1 for size in value.shape):
            yield f"value {value.name!r} has the impossible shape {value.shape!r}"
        if value.producer is not None and value.role != "activation":
            yield f"{value.name!r} is made by {value.producer.name!r} and yet a {value.role}"
    for value in graph.inputs:
        if value.role not in ("input", "parameter", "buffer", "activation"):
            yield f"the graph's input {value.name!r} has the role {value.role}"
    for value in graph.initializers:
        if value.role not in ("parameter", "buffer"):
            yield f"the initializer {value.name!r} has the role {value.role}"
