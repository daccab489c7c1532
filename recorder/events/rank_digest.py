"""What a rank did, in short: digests that are equal where two ranks did the same, and unlike where they did not."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from recorder.events.channels import Channel, agreed_on, channel_of
from recorder.events.rank_ranges import of_ranges
from recorder.events.ranks import Carried, Collective, Group, Issued, RankSummary
from recorder.events.types import (
    Derived,
    Enter,
    Event,
    Grad,
    Leave,
    Members,
    Module,
    Op,
    ParameterGrad,
    Tensor,
    TensorMeta,
)

__all__ = ["RankDigest"]

_encode = msgspec.msgpack.Encoder().encode
_SIZE = 16
"""Bytes of a digest."""

Facts = tuple[Any, Any]
"""What a digest is of: without sizes, and the sizes."""


class RankDigest:
    """Grows with the events of one rank. Give it all of them, in order."""

    def __init__(self) -> None:
        self._structure, self._kinds = blake2b(digest_size=_SIZE), blake2b(digest_size=_SIZE)
        self._groups: dict[int, Group] = {}
        self._places: dict[int, dict[int, int]] = {}
        self._channels: dict[Channel, tuple[int, Any]] = {}
        self._facts: dict[type, Callable[[Any], Facts]] = {
            Module: _module, Tensor: _tensor, Enter: _enter, Leave: _leave, Op: _op, Derived: _derived,
            Members: _members, Grad: _grad, ParameterGrad: _parameter_grad, Carried: _carried, Group: self._group,
            Collective: self._collective,
        }  # fmt: skip

    def extend(self, events: Iterable[Event]) -> None:
        """Take further events."""
        for event in events:
            facts = self._facts.get(type(event))
            if facts is not None:
                kinds, sizes = facts(event)
                data = _encode(kinds)
                self._kinds.update(data)
                self._structure.update(data)
                if sizes:
                    self._structure.update(_encode(sizes))

    def summary(self) -> RankSummary:
        """What was taken so far."""
        return RankSummary(
            self._structure.hexdigest(),
            self._kinds.hexdigest(),
            tuple(self._groups.values()),
            tuple(
                Issued(channel.group, count, digest.hexdigest(), channel.op_type, channel.peer)
                for channel, (count, digest) in self._channels.items()
            ),
        )

    def _group(self, event: Group) -> Facts:
        self._groups[event.group] = event
        ranks = of_ranges(event.ranks)
        self._places[event.group] = {rank: place for place, rank in enumerate(ranks)}
        return ("group", len(ranks), event.backend, event.description), None

    def _collective(self, event: Collective) -> Facts:
        channel = channel_of(event)
        count, digest = self._channels.get(channel) or (0, blake2b(digest_size=_SIZE))
        digest.update(_encode(agreed_on(event)))
        self._channels[channel] = count + 1, digest
        places = self._places[event.group]
        root = None if event.root is None else places.get(event.root)
        peer = None if event.peer is None else places.get(event.peer)
        kinds = (
            "collective", event.group, event.op_type, event.phase, event.dtype, root, peer, event.module, event.unit,
            len(event.inputs), len(event.outputs),
        )  # fmt: skip
        return kinds, (event.inputs, event.outputs)


def _meta(meta: TensorMeta) -> tuple[Any, ...]:
    return len(meta.shape), meta.dtype, meta.device.partition(":")[0], meta.requires_grad, meta.grad_fn


def _module(event: Module) -> Facts:
    members = [[(member.name, member.tensor) for member in held] for held in (event.parameters, event.buffers)]
    return ("module", event.module, event.fqn, event.op_type, event.leaf, event.root, event.attributes, members), None


def _tensor(event: Tensor) -> Facts:
    return ("tensor", event.tensor, event.role, event.name, _meta(event.meta)), event.meta.shape


def _enter(event: Enter) -> Facts:
    return ("enter", event.call, event.module, event.inputs, event.outermost, event.recomputed), None


def _leave(event: Leave) -> Facts:
    failed = event.error is not None
    return ("leave", event.call, event.inputs, event.outputs, failed, event.input_names, event.output_names), None


def _op(event: Op) -> Facts:
    kinds = (
        "op", event.op_type, event.target, event.module, event.call, event.inputs,
        [(output.tensor, _meta(output.meta)) for output in event.outputs],
        event.writes, event.error is not None, event.outermost, event.recomputed, event.collective,
    )  # fmt: skip
    return kinds, [output.meta.shape for output in event.outputs]


def _derived(event: Derived) -> Facts:
    return ("derived", event.tensor, event.sources), None


def _members(event: Members) -> Facts:
    return ("members", event.module, event.tensors), None


def _grad(event: Grad) -> Facts:
    gradients = [meta is not None for meta in event.gradients]
    return ("grad", event.call, event.phase, event.backward, gradients), None


def _parameter_grad(event: ParameterGrad) -> Facts:
    return ("parameter_grad", event.tensor, event.backward), None


def _carried(event: Carried) -> Facts:
    return ("carried", event.collective, event.tensors, event.gathered), None
