"""Which storages are alive, as far as the tensors tell that the recording has met.

A storage is known by its address, and is gone when the last of those tensors is. No Python object is made of a storage
in backward: a gradient whose storage has one counts as used elsewhere, and autograd adds the next to it out of place.
Nothing here keeps a tensor or a storage alive.
"""

from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from recorder.capture.tensor_facts import address_of
from recorder.events.memory import Freed, Storage, StorageKind

__all__ = ["Storages", "parts_of"]

_PLAIN = (Tensor, torch.nn.Parameter)


class _Life(ref[Tensor]):
    """A tensor that is known to be in a storage."""

    __slots__ = ("address", "key")

    address: int
    key: int


class _Place:
    """A storage, and how many of the tensors in it that are known are alive."""

    __slots__ = ("alive", "bytes", "kind", "number")

    def __init__(self, number: int, size: int, kind: StorageKind) -> None:
        self.number = number
        self.bytes = size
        self.kind = kind
        self.alive = 0


class Storages:
    """Numbers storages, and tells when they are first seen and when they are gone.

    Args:
        tell: is given an event, and the tensor that it is about if there is one.
    """

    def __init__(self, tell: Callable[[Any, "ref[Tensor] | None"], None]) -> None:
        self._tell = tell
        self._lives: dict[int, _Life] = {}
        self._places: dict[int, _Place] = {}
        self._count = 0
        lives, places = self._lives, self._places

        def died(life: _Life) -> None:
            if lives.get(life.key) is life:
                del lives[life.key]
            place = places.get(life.address)
            if place is not None:
                place.alive -= 1
                if not place.alive:
                    del places[life.address]
                    tell(Freed(place.number), None)

        def moved(key: int) -> None:
            if key in lives:
                died(lives[key])

        self._died, self._moved = died, moved

    def see(self, tensor: Tensor, kind: StorageKind = "other", *, whole: bool = True) -> Iterator[int]:
        """The numbers of the storages that a tensor is in. ``whole``: count all of them, and not only what it spans."""
        for part in parts_of(tensor):
            address = address_of(part)
            life = self._lives.get(id(part))
            place = self._places.get(address)
            if life is None or life() is not part or life.address != address or place is None:
                place = self._met(part, address, kind, whole)
            elif kind not in ("other", place.kind) or (whole and place.bytes != _bytes_of(part, whole)):
                place.kind = kind if kind != "other" else place.kind
                place.bytes = _bytes_of(part, whole)
                self._say(place, part)
            yield place.number

    def knows(self, tensor: Tensor) -> bool:
        """Whether its storages were seen before."""
        return all(address_of(part) in self._places for part in parts_of(tensor))

    def estimate(self, tensor: Tensor) -> int:
        """The number of a storage that nobody sees, of the size of a tensor."""
        number, size = self._count, tensor.numel() * tensor.element_size()
        self._count += 1
        self._tell(Storage(number, size, str(tensor.device), estimated=True), None)
        return number

    def forget(self) -> None:
        """Watch nothing any more."""
        self._lives.clear()
        self._places.clear()

    def _met(self, part: Tensor, address: int, kind: StorageKind, whole: bool) -> _Place:
        size = _bytes_of(part, whole)
        self._moved(id(part))
        place = self._places.get(address)
        life = _Life(part, self._died)
        life.address, life.key = address, id(part)
        if place is None:
            place = self._places[address] = _Place(self._count, size, kind)
            self._count += 1
            self._say(place, part)
        elif size > place.bytes or kind not in ("other", place.kind):
            place.bytes = max(place.bytes, size)
            place.kind = kind if kind != "other" else place.kind
            self._say(place, part)
        place.alive += 1
        self._lives[id(part)] = life
        return place

    def _say(self, place: _Place, part: Tensor) -> None:
        self._tell(Storage(place.number, place.bytes, str(part.device), place.kind), ref(part))


def parts_of(tensor: Tensor) -> list[Tensor]:
    """The tensors with memory of their own that a tensor is made of: itself, or those inside a sparse one, or inside
    one of a subclass that says what it wraps; none if that cannot be known.
    """
    if type(tensor) in _PLAIN:
        if tensor.layout is torch.strided:
            return [tensor]
        return _inside_sparse(tensor)
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        return [part for name in flatten()[0] for part in parts_of(getattr(tensor, name))]
    try:
        address_of(tensor)
    except (RuntimeError, TypeError, NotImplementedError):
        return []
    return [tensor]


def _inside_sparse(tensor: Tensor) -> list[Tensor]:
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return []


def _bytes_of(tensor: Tensor, whole: bool) -> int:
    if whole:
        return tensor.untyped_storage().nbytes()
    if 0 in tensor.shape:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return (last + 1) * tensor.element_size()
