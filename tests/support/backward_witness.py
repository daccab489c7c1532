"""How long backward is at each module call, counted in autograd nodes: by a clock that does not depend on the machine,
and a witness that searches the autograd graph, and knows nothing of how a recording does it.

The clock goes on by one with each node that backward comes to, but for views, which take no time, and for parameters,
where it ends. What is a module call's own is what leads from what it returned to what there was before it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from torch import Tensor, nn

import recorder.capture.backward_hooks
from recorder import Graph, Node, Recorder, Scope
from recorder.capture.tensor_facts import tensors_in

__all__ = ["Witness", "recorded"]

_FREE = ("TBackward0", "ViewBackward0", "UnsafeViewBackward0", "TransposeBackward0")
"""Views of weights and of what matrices are multiplied: a linear layer's time is that of its product."""


class Witness:
    """Watches the calls of a model's modules with plain hooks, as ``(qualified name, number of the call)``."""

    def __init__(self, net: nn.Module) -> None:
        self.now = 0
        self.span: dict[tuple[str, int], int] = {}
        self._own: dict[tuple[str, int], set[Any]] = {}
        self._before: set[Any] = set()
        self._open: list[set[Any]] = []
        self._count: dict[str, int] = {}
        self._handles: list[Any] = []
        for name, module in net.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._enter, with_kwargs=True),
                module.register_forward_hook(self._leaves(name)),
            ]

    def backward(self, loss: Tensor) -> None:
        """Call backward, and note when it is at which nodes."""
        for handle in self._handles:
            handle.remove()
        begun: dict[Any, int] = {}
        done: dict[Any, int] = {}

        def tick(node: Any) -> Callable[..., None]:
            def on(*_: Any) -> None:
                begun[node] = self.now
                self.now += node.name() not in _FREE and not _accumulates(node)
                done[node] = self.now

            return on

        for node in _reached([loss.grad_fn]):
            node.register_prehook(tick(node))
        loss.backward()
        for call, own in self._own.items():
            came = own & begun.keys()
            if came:
                self.span[call] = max(done[node] for node in came) - min(begun[node] for node in came)

    def _enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._open.append(self._before | _reached(_nodes((args, kwargs))))

    def _leaves(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, args: Any, output: Any) -> None:
            made = _reached(_nodes(output))
            number = self._count.get(name, 0)
            self._count[name] = number + 1
            self._own[name, number] = {node for node in made - self._open.pop() if not _accumulates(node)}
            self._before |= made

        return leave


def _accumulates(node: Any) -> bool:
    return "AccumulateGrad" in node.name()


def _nodes(value: Any) -> Iterator[Any]:
    return (tensor.grad_fn for tensor in tensors_in(value) if tensor.grad_fn is not None)


def _reached(nodes: Iterable[Any]) -> set[Any]:
    found: set[Any] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += [after for after, _ in node.next_functions if after is not None]
    return found


def recorded(
    net: nn.Module, run: Callable[[nn.Module], Tensor], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[Graph, dict[tuple[str, int], int], dict[tuple[str, int], Node | Scope]]:
    """A step recorded by that clock; what the witness says; and the module calls of the recording."""
    with Recorder(net, **options) as r:
        witness = Witness(net)
        monkeypatch.setattr(recorder.capture.backward_hooks, "clock", lambda: witness.now)
        witness.backward(run(net))
    monkeypatch.undo()
    places: list[Node | Scope] = [*r.graph.scopes, *r.graph.nodes]
    return r.graph, witness.span, {(p.fqn, p.call): p for p in places if p.fqn is not None and p.call is not None}
