"""Copies of what a view keeps: a graph is built from fresh values, and a view shares nothing that can be changed."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from recorder.graph.core import Graph, Node, Scope, Shown, Value
from recorder.graph.links import Link

__all__ = ["Copies"]


class Copies:
    """Each value and scope copied once, however often it is asked for. A copied scope has copied parents.

    Args:
        shown: which value of the original stands in a value's place.
        around: the scope of the view around a scope or node, as the original has it; its own if None.
        stands_for: which node of the original stands in a node's place.
    """

    def __init__(
        self,
        shown: Callable[[Value], Value] = lambda value: value,
        around: Callable[[Node | Scope], Scope | None] | None = None,
        stands_for: Callable[[Node], Node] = lambda node: node,
    ) -> None:
        self._stands_for = stands_for
        self._shown = shown
        self._around = around or (lambda place: place.scope if isinstance(place, Node) else place.parent)
        self._values: dict[int, Value] = {}
        self._scopes: dict[int, Scope] = {}
        self._originals: dict[Node | Scope, Node | Scope] = {}

    def value(self, value: Value) -> Value:
        value = self._shown(value)
        copy = self._values.get(id(value))
        if copy is None:
            copy = self._values[id(value)] = Value(
                value.name, value.shape, value.dtype, value.device, value.requires_grad, value.grad_fn, value.role,
                dict(value.meta),
            )  # fmt: skip
        return copy

    def values(self, values: Iterable[Value]) -> tuple[Value, ...]:
        """Those that stand in the place of these."""
        return tuple(map(self.value, values))

    def scope(self, scope: Scope | None) -> Scope | None:
        """The parents are copied first, not by recursion: they may be a thousand."""
        missing = []
        while scope is not None and id(scope) not in self._scopes:
            missing.append(scope)
            scope = self._around(scope)
        copy = None if scope is None else self._scopes[id(scope)]
        for original in reversed(missing):
            copy = self._scopes[id(original)] = Scope(
                original.fqn, original.call, original.op_type, copy, original.name, original.target, original.error,
                original.duration_ns, original.backward_ns, dict(original.attributes), dict(original.meta),
                self.values(original.inputs), self.values(original.outputs), original.input_names,
                original.output_names,
            )  # fmt: skip
            self._originals[copy] = original
        return copy

    def node(self, node: Node) -> Node:
        copy = Node(
            node.name, node.kind, node.op_type, node.target, node.fqn, node.call, self.scope(self._around(node)),
            self.values(node.inputs), self.values(node.outputs), dict(node.attributes), dict(node.meta), node.error,
            node.duration_ns, node.backward_ns, node.input_names, node.output_names,
        )  # fmt: skip
        self._originals[copy] = node
        return copy

    def narrowed(self, copy: Node, node: Node, kept: Iterable[int]) -> None:
        """Give a node's copy the node's inputs at these positions alone."""
        positions = list(kept)
        copy.inputs = self.values([node.inputs[i] for i in positions])
        copy.input_names = tuple([node.input_names[i] for i in positions]) if node.input_names else ()

    def collapsed(self, scope: Scope, name: str) -> Node:
        """A scope as a node of that name, as yet without inputs and outputs."""
        node = Node(
            name, "module", scope.op_type, scope.target, scope.fqn, scope.call, self.scope(self._around(scope)),
            (), (), dict(scope.attributes), dict(scope.meta), scope.error, scope.duration_ns, scope.backward_ns,
        )  # fmt: skip
        self._originals[node] = scope
        return node

    def graph(
        self,
        original: Graph,
        nodes: list[Node],
        scopes: Iterable[Scope],
        inputs: Iterable[Value] | None = None,
        outputs: Iterable[Value] | None = None,
        initializers: Iterable[Value] | None = None,
    ) -> Graph:
        """The view: nodes that are copies already, the rest of the original's. What enters or leaves in the place of an
        input or output has its name.
        """
        given = self.values(original.inputs if inputs is None else inputs)
        returned = self.values(original.outputs if outputs is None else outputs)
        view = Graph(
            nodes,
            inputs=given,
            outputs=returned,
            input_names=[
                value.name if name is None else name
                for value, name in self._named(given, original.inputs, original.input_names)
            ],
            output_names=[name or "" for _, name in self._named(returned, original.outputs, original.output_names)],
            initializers=self.values(original.initializers if initializers is None else initializers),
            scopes=[copy for copy in map(self.scope, scopes) if copy is not None],
            name=original.name,
            meta=dict(original.meta),
            links=list(self._links(original)) if original.links else (),
        )
        view._shown = self._of(original)
        view._metrics_in_documents = original._metrics_in_documents
        return view

    def _of(self, original: Graph) -> Shown:
        """What the view shows: of a view of a view, what that one shows, so that none in between is kept."""
        if original._shown is None:
            return Shown(original, self._originals, {})
        graph, shown, alike = original._shown
        return Shown(graph, {copy: shown[place] for copy, place in self._originals.items() if place in shown}, alike)

    def _links(self, original: Graph) -> Iterator[Link]:
        """Those between what is shown. What is in a closed scope is what the scope is shown as."""
        places = {found: copy for copy, found in self._originals.items() if isinstance(copy, Node)}

        def place(node: Node) -> Node | None:
            node = self._stands_for(node)
            around = () if node.scope is None else node.scope.ancestors()
            return next((places[one] for one in (node, *around) if one in places), None)

        return (shown for link in original.links if (shown := link.shown(place)) is not None)

    def _named(
        self, shown: Iterable[Value], originals: Sequence[Value], names: Sequence[str]
    ) -> Iterator[tuple[Value, str | None]]:
        """Each with the name of what it stands for, None if that is none of the originals. What stands there twice has
        several.
        """
        waiting: dict[int, deque[str]] = defaultdict(deque)
        for original, name in zip(originals, names):
            waiting[id(self.value(original))].append(name)
        for value in shown:
            of_it = waiting[id(value)]
            yield value, None if not of_it else of_it.popleft() if len(of_it) > 1 else of_it[0]
