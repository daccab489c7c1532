"""What is in values, put on the graph: ``value.meta["stats"]``, as `recorder.events.ValueStats` has it, and with
``values="digest"`` also ``value.meta["digest"]``, as `recorder.events.Digest` has it.

A value says what was in it when it was made or first met. Where a call was given something else, since it was written
where nobody saw, ``node.meta["given"]`` says so: by the position of the input, as text, ``"finite"``, ``"nan"``,
``"inf"`` (and no NaN) or ``"unknown"``. So it is, too, for parameters and buffers that are not finite, which have no
statistics of their own, since an optimizer changes them; and for an input that the call only writes over: whatever was
in it, it was not read.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from recorder.assembly.tensor_versions import Versions
from recorder.events.types import Digest, Measured, NotFinite
from recorder.graph.core import Node, Value

__all__ = ["Contents", "in_meta"]

Stats: TypeAlias = dict[str, Any]

_READS = ("all_reduce", "all_reduce_coalesced", "broadcast", "reduce")
"""Collectives that read what they write."""

_OVERWRITES = frozenset({
    "bernoulli_", "cauchy_", "copy_", "exponential_", "fill_", "geometric_", "log_normal_", "normal_", "random_",
    "uniform_", "zero_",
})  # fmt: skip
"""Functions that write all of a tensor, and do not read it."""


class Contents:
    """What is in each tensor now.

    Args:
        versions: what each tensor is.
    """

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._now: dict[int, tuple[Stats, int]] = {}  # with the version of the memory
        self._digests: dict[int, Stats] = {}
        self._held: dict[int, str] = {}

    def measured(self, event: Measured) -> None:
        """A tensor was measured."""
        versions, tensor = self._versions, event.tensor
        state = versions.states[tensor]
        stats = msgspec.structs.asdict(event.stats)
        digest = stats.pop("digest")
        self._digests.pop(tensor, None)
        if digest is not None:
            self._digests[tensor] = in_meta(digest)
        self._now[tensor] = stats, versions.moment(tensor)
        if versions.is_current(state):
            self._tell(state.value, tensor, stats)

    def not_finite(self, event: NotFinite) -> None:
        """What modules hold was looked at."""
        self._held = {
            tensor: content for content in ("nan", "inf", "unknown") for tensor in getattr(event, content)
        }  # fmt: skip

    def mark(self, node: Node, given: Iterable[int], writes: tuple[int, ...]) -> None:
        """Say what a node was given where the values do not, before it is said what it made."""
        if self._now or self._held:
            marks = self._marks(node, given, writes)
            if marks:
                node.meta["given"] = marks

    def finish(self) -> None:
        """Values that were met late, as what is written through a tensor view, say what is in them, too."""
        for tensor in self._now:
            self._describe(tensor)

    def _describe(self, tensor: int) -> Stats | None:
        """What is in a tensor, if that is known. Its value says it from now on, if it said nothing."""
        versions = self._versions
        state, (stats, moment) = versions.states[tensor], self._now.get(tensor, (None, 0))
        if stats is None or moment != versions.moment(tensor) or not versions.is_current(state):
            return None
        self._tell(state.value, tensor, stats)
        return stats

    def _tell(self, value: Value, tensor: int, stats: Stats) -> None:
        if "stats" not in value.meta:
            value.meta["stats"] = stats
            if tensor in self._digests:
                value.meta["digest"] = self._digests[tensor]

    def _marks(self, node: Node, given: Iterable[int], writes: tuple[int, ...]) -> dict[str, str]:
        marks: dict[str, str] = {}
        position = 0
        for tensor in given:
            stats = self._describe(tensor)
            for value in self._versions.stand_ins(tensor):
                told = value.meta.get("stats")
                if tensor in writes and _overwrites(node):
                    marks[str(position)] = "finite"
                elif told is not stats and _content(told) != _content(stats):
                    marks[str(position)] = _content(stats)
                position += 1
        for tensor, content in self._held.items():
            state = None if tensor in self._now else self._versions.states.get(tensor)
            for at, value in enumerate(node.inputs):
                if state is not None and value is state.value:
                    marks[str(at)] = content
        return marks


def in_meta(digest: Digest) -> Stats:
    """A digest as JSON."""
    return {"sample": list(digest.sample), "sketch": list(digest.sketch), "bits": digest.bits}


def _content(stats: Stats | None) -> str:
    return "unknown" if stats is None else "nan" if stats["nan"] else "inf" if stats["inf"] else "finite"


def _overwrites(node: Node) -> bool:
    """Whether what a function writes is not read by it. What has another name, and no flag, has an ``out=``."""
    kind = node.op_type
    if node.kind != "function" or kind in _OVERWRITES:
        return node.kind == "function"
    if node.target.startswith("torch.distributed."):
        return kind not in _READS
    flags = node.attributes.get("inplace") is True or node.target.startswith("torch.nn.functional.")
    return not (kind.endswith("_") or kind == "setitem" or flags)
