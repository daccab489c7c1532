"""What holds tensors: lists and mappings, nodes of torch's pytrees, and objects of any class, looked into from outside.

No code of the user's runs here. What builtin types hold is asked of the builtin type, whatever a subclass makes of it;
a registered node is flattened by the function that was registered for that; of any other object the instance's
dictionary and its slots are read, past properties, ``__getattr__`` and ``__iter__``. How to look into the objects of a
class is found out once for each.

An object may lead to anything, so what is looked at inside of one is bounded, and nothing of it is looked into twice.
Modules hold parameters, which are nobody's arguments: they are not looked into, nor are optimizers, functions, classes,
and the machinery of torch and of Python.
"""

import sys
from argparse import Namespace
from collections import ChainMap, OrderedDict, UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from gc import get_referents
from itertools import count
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._pytree import SUPPORTED_NODES

__all__ = ["DEEPEST", "LISTED", "OBJECT", "PLAIN", "Look", "label", "look_into", "named_tensors", "tensors_in"]

PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device, torch.Size, slice})
"""Types whose values can be kept: they are immutable, and keep nothing alive."""

DEEPEST = 8
"""So many levels of lists and mappings are looked through as they are; what is deeper, like the inside of an object."""

_MOST = 10_000
"""So many items of an object, and of what it holds, are looked at."""

LISTED, MAPPED, OBJECT = "listed", "mapped", "object"

Parts = tuple[Iterable[Any], Iterable[Any]]
"""Names, or positions, and what has them."""

Path = tuple[Any, Any, int] | None
"""Where something is: where its holder is, its name there, and the how-manieth it is. None is where a search began."""


class Look(NamedTuple):
    """How to look into the objects of a class. ``form``: as what they are written down. Of an OBJECT these are its
    tensors alone, since the rest of it is no argument of a call.
    """

    form: str
    parts: Callable[[Any], Parts]


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in anything, in order; one that is returned twice is there twice."""
    kind = type(value)
    if kind is Tensor:
        return [value]
    tensors: list[Tensor] = []
    if _all_in((value,), tensors, 0):
        return tensors
    found: list[tuple[Path, Tensor]] = []
    _look_through(value, kind, None, (), found)
    return [tensor for _, tensor in found]


def _all_in(items: Iterable[Any], tensors: list[Tensor], depth: int) -> bool:
    """Find tensors where there are but lists and mappings of them, as most often. False if there is anything else."""
    for item in items:
        kind = type(item)
        if kind is Tensor:
            tensors.append(item)
        elif kind is tuple or kind is list or kind is dict:
            if depth == DEEPEST or not _all_in(item.values() if kind is dict else item, tensors, depth + 1):
                return False
        elif kind not in PLAIN:
            return False
    return True


def named_tensors(value: Any) -> Iterator[tuple[str, Tensor]]:
    """The same with where each is: ``past.0.1``, by attributes, keys and indices. A tensor by itself is at ``""``."""
    found: list[tuple[Path, Tensor]] = []
    _look_through(value, type(value), None, (), found)
    for path, tensor in found:
        words: list[str] = []
        while path is not None:
            path, name, number = path
            words.append(label(name, number))
        yield ".".join(word for word in reversed(words) if word), tensor


def label(key: Any, number: int) -> str:
    """The name of what a mapping has under a key. One that is not plain could keep something alive, or be anything."""
    return str(key) if type(key) in (str, int) else f"<{type(key).__name__}> {number}"


def _look_through(value: Any, kind: Any, path: Path, around: tuple[int, ...], found: list[tuple[Path, Tensor]]) -> None:
    """Find tensors where there is hardly anything else: in lists and mappings. ``around``: those that hold this one."""
    names: Iterable[Any]
    items: Iterable[Any]
    if kind is tuple or kind is list:
        names, items = count(), value
    elif issubclass(kind, Tensor):
        found.append((path, value))
        return
    else:
        look = look_into(kind)
        if look is None:
            return
        if look.form is OBJECT:
            _search(value, look, path, found)
            return
        names, items = look.parts(value)
    if around:
        if id(value) in around:
            return
        if len(around) == DEEPEST:
            _search(value, Look(OBJECT, lambda _: (names, items)), path, found)
            return
    around = (*around, id(value))
    for number, (name, item) in enumerate(zip(names, items)):
        kind = type(item)
        if kind is Tensor:
            found.append(((path, name, number), item))
        elif kind not in PLAIN:
            _look_through(item, kind, (path, name, number), around, found)


def _search(value: Any, look: Look | None, path: Path, found: list[tuple[Path, Tensor]]) -> None:
    """Find tensors where there may be anything, in any number."""
    seen = {id(value): value}  # kept, so that no other gets the same id meanwhile
    left = _MOST
    pending: list[tuple[Path, Iterator[tuple[Any, Any]]]] = []
    while look is not None:
        pending.append((path, zip(*look.parts(value))))
        look = None
        while pending and look is None:
            holder, items = pending[-1]
            for name, value in items:
                left -= 1
                kind = type(value)
                path = (holder, name, _MOST - left)
                if issubclass(kind, Tensor):
                    found.append((path, value))
                elif kind not in PLAIN and id(value) not in seen:
                    look = look_into(kind)
                if left <= 0:
                    return
                if look is not None:
                    seen[id(value)] = value
                    break
            else:
                pending.pop()


# How to look into the objects of a class

_looks: dict[int, tuple["ref[type]", Look | None]] = {}
_registered = len(SUPPORTED_NODES)

_classes_of: Callable[[Any], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace_of: Callable[[Any], Any] = type.__dict__["__dict__"].__get__
_name_of: Callable[[Any], str] = type.__dict__["__name__"].__get__
"""All past what a metaclass may make of them."""

_CLOSED = (
    nn.Module, torch.optim.Optimizer, torch.SymInt, torch.SymFloat, torch.SymBool, type, ModuleType, FunctionType,
    BuiltinFunctionType, MethodType, Enum, ref,
)  # fmt: skip

_TORCHS_HOLDERS = ("torch.distributions.", "torch.nn.attention.", "torch.nn.utils.")
"""Where torch has classes whose objects hold tensors for the user. What else it has is machinery."""

_BUILTIN = (list, tuple, dict, set, frozenset, deque)
_VIEWS = {id(type(view)) for view in (vars().keys(), vars().values(), vars().items())}
_PYTHONS_HOLDERS = {id(kind) for kind in (SimpleNamespace, Namespace, ChainMap, UserDict, UserList)}


def look_into(kind: Any) -> Look | None:
    """How to look into the objects of a class; None if there is nothing to be seen. Not to be asked of tensors."""
    if len(SUPPORTED_NODES) != _registered:
        _forget()
    known = _looks.get(id(kind))
    if known is not None and known[0]() is kind:
        return known[1]
    look = _look_anew(kind)
    identity = id(kind)
    _looks[identity] = ref(kind, lambda reference: _drop(identity, reference)), look
    return look


def _drop(identity: int, reference: Any) -> None:
    """A class is gone. Another may have its place by now."""
    known = _looks.get(identity)
    if known is not None and known[0] is reference:
        del _looks[identity]


def _forget() -> None:
    """A node of pytrees was registered, or is no more."""
    global _registered
    _registered = len(SUPPORTED_NODES)
    _looks.clear()


def _look_anew(kind: Any) -> Look | None:
    if id(kind) in _VIEWS:
        return Look(OBJECT, lambda view: (count(), view))
    if kind is MappingProxyType:
        return Look(OBJECT, lambda proxy: (("",), get_referents(proxy)))
    if issubclass(kind, _CLOSED):
        return None
    attributes = _Attributes(kind)
    for builtin in _BUILTIN:
        if issubclass(kind, builtin):
            return _look_into_builtin(kind, builtin, attributes)
    if issubclass(kind, UserDict | UserList):
        return Look(OBJECT, _Unwrapped(attributes))
    if kind in SUPPORTED_NODES:
        return Look(OBJECT, _Flattened(attributes))
    if attributes.nothing or _is_machinery(kind):
        return None
    return Look(MAPPED if attributes.of_dataclass else OBJECT, attributes)


def _is_machinery(kind: Any) -> bool:
    """Whether a class is Python's own, or torch's, or made from one of torch's."""
    home = _namespace_of(kind).get("__module__")
    if type(home) is str and home.partition(".")[0] in sys.stdlib_module_names and id(kind) not in _PYTHONS_HOLDERS:
        return True
    for base in _classes_of(kind):
        space = _namespace_of(base)
        home = space.get("__module__")
        if (
            type(home) is str
            and (home == "torch" or home.startswith("torch."))
            and not f"{home}.".startswith(_TORCHS_HOLDERS)
            and "__dataclass_fields__" not in space
        ):
            return True
    return False


def _look_into_builtin(kind: Any, builtin: Any, attributes: "_Attributes") -> Look:
    """For a subclass, what the builtin type holds, and then the attributes, unless they are the same again."""
    own: Callable[[Any], Parts] = _of_mapping
    form = MAPPED
    if builtin is not dict:
        form = LISTED if builtin in (list, tuple) else OBJECT
        own = _Sequence(builtin, _fields_of(kind) if builtin is tuple else None)
    if kind is builtin or kind is OrderedDict or attributes.nothing:
        return Look(form, own)
    return Look(form, _Both(own, attributes))


def _of_mapping(mapping: Any) -> Parts:
    return dict.keys(mapping), dict.values(mapping)


def _fields_of(kind: Any) -> tuple[str, ...] | None:
    """The names of a named tuple's items."""
    for base in _classes_of(kind):
        fields = _namespace_of(base).get("_fields")
        if type(fields) is tuple and all(type(field) is str for field in fields):
            return fields
    return None


class _Sequence:
    """Reads the items of a builtin type."""

    __slots__ = ("_iterate", "_names")

    def __init__(self, builtin: Any, names: tuple[str, ...] | None) -> None:
        self._iterate, self._names = builtin.__iter__, names

    def __call__(self, value: Any) -> Parts:
        return (count() if self._names is None else self._names), self._iterate(value)


class _Both:
    """Reads what a builtin type holds, and the attributes that a subclass of it adds."""

    __slots__ = ("_attributes", "_own")

    def __init__(self, own: Callable[[Any], Parts], attributes: "_Attributes") -> None:
        self._own, self._attributes = own, attributes

    def __call__(self, value: Any) -> Parts:
        pairs = list(zip(*self._own(value)))
        held = {id(item) for _, item in pairs}
        pairs += [(n, a) for n, a in zip(*self._attributes(value)) if type(a) not in PLAIN and id(a) not in held]
        return [name for name, _ in pairs], [item for _, item in pairs]


class _Unwrapped:
    """Reads the attributes, where ``data`` is what the object stands for."""

    __slots__ = ("_attributes",)

    def __init__(self, attributes: "_Attributes") -> None:
        self._attributes = attributes

    def __call__(self, value: Any) -> Parts:
        names, items = self._attributes(value)
        return ["" if name == "data" else name for name in names], items


class _Flattened:
    """Flattens a registered node of pytrees; if that fails, reads its attributes."""

    __slots__ = ("_attributes",)

    def __init__(self, attributes: "_Attributes") -> None:
        self._attributes = attributes

    def __call__(self, value: Any) -> Parts:
        try:
            node = SUPPORTED_NODES[type(value)]
            with torch._C.DisableTorchFunction():
                if node.flatten_with_keys_fn is None:
                    return count(), list(node.flatten_fn(value)[0])
                pairs = list(node.flatten_with_keys_fn(value)[0])
                return [_word(key) for key, _ in pairs], [item for _, item in pairs]
        except Exception:
            return self._attributes(value)


def _word(key: Any) -> Any:
    """What a key of a path says: a key, a name or an index."""
    for attribute in ("key", "name", "idx"):
        word = getattr(key, attribute, None)
        if word is not None:
            return word
    return key


class _Attributes:
    """Reads the attributes of a class's objects: slots in the order of the classes, then the dictionary. Where these
    are is known by the place of a class in the order of classes: the descriptors would keep it alive.

    Attributes:
        nothing: there are none.
        of_dataclass: they are a dataclass's.
    """

    __slots__ = ("_dictionary", "_slots", "nothing", "of_dataclass")

    def __init__(self, kind: Any) -> None:
        self._dictionary: int | None = None
        self._slots: list[tuple[int, str]] = []
        self.of_dataclass = False
        for place, base in reversed([*enumerate(_classes_of(kind))]):
            space = _namespace_of(base)
            self.of_dataclass |= "__dataclass_fields__" in space
            if type(space.get("__dict__")) in (GetSetDescriptorType, MemberDescriptorType):
                self._dictionary = place
            if "__slots__" in space:  # a class that was written in Python; C's members are another thing
                self._slots += [(place, name) for name in _slots_of(base, space)]
        self.nothing = self._dictionary is None and not self._slots

    def __call__(self, value: Any) -> Parts:
        names: list[Any] = []
        items: list[Any] = []
        classes = _classes_of(type(value))
        for place, name in self._slots:
            try:
                items.append(_namespace_of(classes[place])[name].__get__(value))
            except (AttributeError, KeyError):  # not set, or no longer a slot
                continue
            names.append(name)
        if self._dictionary is not None:
            attributes: Any = _namespace_of(classes[self._dictionary])["__dict__"].__get__(value)
            names += dict.keys(attributes)
            items += dict.values(attributes)
        return names, items


def _slots_of(kind: Any, space: Any) -> list[str]:
    """The slots of one class, in the order in which it lists them: Python sorts them."""
    slots = [name for name, slot in space.items() if type(slot) is MemberDescriptorType and name != "__dict__"]
    listed = space["__slots__"]
    order = [name for name in listed if type(name) is str] if type(listed) in (tuple, list, dict) else []
    private = f"_{_name_of(kind).lstrip('_')}"  # Python's own name for a slot that begins with two underscores
    ordered = [name for own in order for name in (own, private + own) if name in slots]
    return list(dict.fromkeys((*ordered, *slots)))
