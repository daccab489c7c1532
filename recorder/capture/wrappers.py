"""Tensors that wrap others: DTensor, quantised ones, and all that ``torch.Tensor._make_wrapper_subclass`` makes.

Outer and inner tensor are two objects. Code that wraps and unwraps calls no function that could be seen, so what goes
on with the other of the two would come from nowhere; here they are tied. A wrapper says what it wraps by torch's own
protocol, ``__tensor_flatten__``. Of one that does not, nothing is known, and nothing is said.
"""

from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

from torch import Tensor, nn

from recorder.capture.tensor_facts import ADDRESS, Facts, Reference, facts, quietly

__all__ = ["Wrappers", "inner_tensors"]

_PLAIN = (Tensor, nn.Parameter)

Place = tuple[int, int]
"""The address of a storage, and the element in it that a tensor begins with."""


def inner_tensors(tensor: Tensor) -> list[Tensor]:
    """What a tensor wraps; nothing if it is no wrapper."""
    kind: Any = type(tensor)
    if kind in _PLAIN or not hasattr(kind, "__tensor_flatten__"):
        return []
    try:
        with quietly():
            held = [getattr(tensor, name, None) for name in kind.__tensor_flatten__(tensor)[0]]
    except Exception:  # half made, say
        return []
    return [inner for inner in held if isinstance(inner, Tensor)]


def _place(tensor: Tensor) -> Place | None:
    address = facts(tensor)[ADDRESS]
    return (address, int(tensor.storage_offset())) if address and type(address) is int else None  # 0: it has no memory


def _gone() -> None:
    return None


class Wrappers:
    """Which tensors are inside of which.

    Args:
        known: gives the reference of a tensor that the recording knows, by its `id`.
    """

    def __init__(self, known: Callable[[int], Reference | None]) -> None:
        self._known = known
        self._outer: dict[int, tuple[Reference, Reference]] = {}  # by the inner one's id: itself, and its wrapper
        self._at: dict[Place, Reference] = {}  # the inner ones by where their memory begins

    def __bool__(self) -> bool:
        return bool(self._outer or self._at)

    def add(self, wrapper: Tensor, reference: Reference, said: Facts) -> Facts:
        """A tensor of a class of its own is known from now on. Returns what is said of it: a write to a wrapper is one
        to the memory of what it wraps.
        """
        inner = self.tie(wrapper, reference)
        return (*said[:ADDRESS], facts(inner[0])[ADDRESS]) if len(inner) == 1 else said

    def tie(self, wrapper: Tensor, reference: Reference) -> list[Tensor]:
        """Remember what a tensor wraps, which is returned."""
        inner = inner_tensors(wrapper)
        for tensor in self._all(inner):
            known = self._outer.get(id(tensor))
            # The first one brought it; those made from that one may share it.
            if (known is None or known[0]() is not tensor) and self._known(id(tensor)) is None:
                self._outer[id(tensor)] = ref(tensor), reference
                place = _place(tensor)
                if place is not None and self._at.get(place, _gone)() is None:
                    self._at[place] = ref(tensor)
        return inner

    def sources(self, tensor: Tensor) -> list[Reference]:
        """What a tensor that was made unseen came from: its wrapper, or what it wraps."""
        found = self._wrapper(tensor)
        if found is not None:
            return [found]
        sources: dict[int, Reference] = {}
        for inner in self._all(inner_tensors(tensor)):
            for part in (inner, inner._base):
                source = None if part is None else self._known(id(part)) or self._wrapper(part)
                if source is not None and source() is not tensor:
                    sources[id(source)] = source
                    break
        return list(sources.values())

    def references(self) -> Iterator[Reference]:
        """Those of the wrappers that a later record may speak of."""
        return (wrapper for _, wrapper in self._outer.values())

    def tidy(self) -> None:
        """Forget what is gone."""
        for key in [key for key, (inner, _) in self._outer.items() if inner() is None]:
            del self._outer[key]
        for place in [place for place, inner in self._at.items() if inner() is None]:
            del self._at[place]

    def _wrapper(self, tensor: Tensor) -> Reference | None:
        """What a tensor, or what it is a view of, is inside of."""
        for part in (tensor, tensor._base) if self._outer else ():
            known = None if part is None else self._outer.get(id(part))
            if known is not None and known[0]() is part:
                return known[1]
        if self._at and type(tensor) is Tensor:  # a view made before, without gradients: FSDP keeps one of each shard
            place = _place(tensor)
            inner = None if place is None else self._at.get(place, _gone)()
            if inner is not None and inner is not tensor and _place(inner) == place:
                return self._wrapper(inner)
        return None

    def _all(self, inner: list[Tensor]) -> Iterator[Tensor]:
        """Tensors, and those in them that are wrapped in turn."""
        for tensor in inner:
            yield tensor
            yield from self._all(inner_tensors(tensor))
