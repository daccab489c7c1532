"""What is asked once of a module, or of its class, so that the hot path need not ask again; and which modules are the
recorded models' own.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from weakref import ref

from torch import nn

from recorder.capture.fused_paths import asks_unheard, is_fusable
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.mode_stack import Popped
from recorder.capture.signatures import Signature, signature_of
from recorder.capture.tensor_facts import quietly

__all__ = ["Entry", "Kind", "Modules"]

_CROWD = 10_000
"""So many modules are kept before those that are gone are looked for."""

_UNLISTED: dict[type[nn.Module], tuple[str, ...]] = {
    nn.MultiheadAttention: ("embed_dim", "num_heads", "dropout", "training"),
}
"""Hyper-parameters that a module of torch's does not list in ``__constants__``, as the others do."""


class Kind:
    """What is asked once for all modules of one class.

    Attributes:
        torchs: it is torch's own.
        attention: it has one child, which it never calls.
        fusable: it has children, and may run as a fused kernel instead of calling them.
        unheard: it looks for an active mode before it does, and cannot be told that there is none.
        listed: its hyper-parameters.
        shows: it lists none, and prints some.
    """

    __slots__ = ("_signature", "attention", "fusable", "listed", "shows", "torchs", "type", "unheard")

    def __init__(self, kind: type[nn.Module]) -> None:
        self.type = kind
        self.torchs = kind.__module__.startswith(("torch.nn.", "torch.ao.nn."))
        self.attention = issubclass(kind, nn.MultiheadAttention)
        self.fusable = is_fusable(kind)
        self.unheard = self.fusable and asks_unheard(kind)
        self.listed: tuple[str, ...] = (*getattr(kind, "__constants__", ()), *_UNLISTED.get(kind, ()))
        self.shows = not self.listed and kind.extra_repr is not nn.Module.extra_repr
        self._signature: Signature | None = None

    @property
    def signature(self) -> Signature:
        """What its forward calls its arguments. Asked when somebody wants to know, off the hot path."""
        if self._signature is None:
            self._signature = signature_of(lambda: self.type.forward, skip=1)
        return self._signature


class Entry:
    """What the hot path needs to know of a module. ``leaf``: recorded as one call without an inside. ``root``: given to
    the recorder; ``own``: part of a root, None as long as nobody had to know; ``met``: a call of it was recorded;
    ``inplace``: it writes its input; ``early``: its description, if it may be gone when the others are described;
    ``forward``: the signature of a forward of its own, which is not its class's.

    Most calls are those of leaves, one after another: the entry of a leaf is its open call as well. ``idle``:
    it is none at present.
    """

    __slots__ = (
        "began", "early", "forward", "idle", "inplace", "key", "kind", "leaf", "met", "own", "popped", "reference",
        "root", "silent", "start",
    )  # fmt: skip

    key: int
    began: int
    start: int
    flags = 0

    def __init__(self, module: nn.Module, kind: Kind, root: bool) -> None:
        self.kind = kind
        self.reference = ref(module)
        self.root = root
        self.own: bool | None = root or None
        self.met = False
        self.early: Any = None
        own = module.__dict__
        self.forward = signature_of(partial(own.get, "forward")) if "forward" in own else None
        self.inplace = own.get("inplace") is True
        self.silent = self.leaf = kind.torchs and (not module._modules or kind.attention)
        self.idle = self.leaf and not root
        self.popped: Popped = ()

    @property
    def entry(self) -> "Entry":
        return self

    @property
    def signature(self) -> Signature:
        """What its forward calls its arguments."""
        return self.kind.signature if self.forward is None else self.forward


class Modules:
    """The modules that were called, and those that are recorded.

    Args:
        roots: the modules whose calls are recorded, by the prefix of their names. They are not kept alive.
        describe_early: describes a module that is no part of a root, before its first call.
        known: the tensors that the recording knows.

    Attributes:
        entries: what is known of each module that was called, by its `id`: so of one that is gone, too.
        met: modules of which a call was recorded for the first time. Take them out at any time.
    """

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        describe_early: Callable[[Entry, nn.Module, KnownTensors], Any],
        known: KnownTensors,
    ) -> None:
        self.entries: dict[int, Entry] = {}
        self.met: list[Entry] = []
        self._roots = {prefix: ref(root) for prefix, root in roots.items()}
        self._root_ids = {id(root) for root in roots.values()}
        self._describe_early = describe_early
        self._known = known
        self._kinds: dict[type[nn.Module], Kind] = {}
        self._own: set[int] = set()
        self._crowded = _CROWD

    def roots(self) -> dict[str, nn.Module]:
        """The recorded modules that are still there, by the prefix of their names."""
        return {prefix: root for prefix, reference in self._roots.items() if (root := reference()) is not None}

    def are_all_there(self) -> bool:
        """Whether none of the recorded modules is gone."""
        return len(self.roots()) == len(self._roots)

    def parts(self) -> Iterable[nn.Module]:
        """These and all that is in them, each once. `torch.nn.Module.modules` takes twice as long and more."""
        found: dict[int, nn.Module] = {}
        pending: list[nn.Module | None] = [*self.roots().values()]
        while pending:
            part = pending.pop()
            if part is not None and id(part) not in found:
                found[id(part)] = part
                pending += part._modules.values()
        return found.values()

    def hooked(self) -> bool:
        """Whether any of them has hooks of its own around its forward."""
        kinds = "_forward_pre_hooks", "_forward_hooks"
        return any(part.__dict__.get(kind) for part in self.parts() for kind in kinds)

    def entry(self, module: nn.Module) -> Entry:
        """What is known of a module."""
        entry = self.entries.get(id(module))
        return entry if entry is not None and entry.reference() is module else self.add(module)

    def add(self, module: nn.Module) -> Entry:
        """The entry of a module that has none."""
        kind = self._kinds.get(type(module))
        if kind is None:
            kind = self._kinds[type(module)] = Kind(type(module))
        root = id(module) in self._root_ids and any(module is r for r in self.roots().values())
        entry = self.entries[id(module)] = Entry(module, kind, root)
        return entry

    def become(self, roots: Mapping[str, nn.Module]) -> None:
        """From here on, these are the recorded modules, by the prefix of their names."""
        self._roots = {prefix: ref(root) for prefix, root in roots.items()}
        self._root_ids = {id(root) for root in roots.values()}
        for entry in self.entries.values():
            entry.root = any(entry.reference() is root for root in roots.values())
            entry.own = entry.root or None
        for root in roots.values():
            self.entry(root).idle = False

    def meet(self, entry: Entry, module: nn.Module) -> None:
        """A call of it is recorded for the first time."""
        entry.met = True
        self.met.append(entry)
        if not self.is_own(entry, module):
            with quietly():
                entry.early = self._describe_early(entry, module, self._known)

    def is_own(self, entry: Entry, module: nn.Module, _: Any = None) -> bool:
        """Whether it is a part of a root."""
        if entry.own is None:
            entry.own = id(module) in self._own
            if not entry.own:  # a forward may add to the model
                self._own = {id(part) for part in self.parts()}
                entry.own = id(module) in self._own
        return entry.own

    def tidy(self) -> None:
        """Forget the modules that are gone, if there are many."""
        if len(self.entries) > self._crowded:
            for key in [key for key, entry in self.entries.items() if entry.reference() is None]:
                del self.entries[key]
            self._crowded = max(_CROWD, 2 * len(self.entries))
