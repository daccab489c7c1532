"""The qualified names of modules while they run, for what cannot wait until they are described."""

from collections.abc import Callable, Mapping
from weakref import ref

from torch import nn

from recorder.capture.modules import Entry

__all__ = ["ModuleNames"]


class ModuleNames:
    """Names as `recorder.capture.describe` gives them. All are worked out at once, when the first one is wanted.

    Args:
        roots: gives the recorded models, by the prefix of their names.
    """

    def __init__(self, roots: Callable[[], Mapping[str, nn.Module]]) -> None:
        self._roots = roots
        self._names: dict[int, tuple[ref[nn.Module], str]] = {}

    def name(self, entry: Entry) -> str | None:
        """The name of a module; that of its class if it is no part of a model; None if it is gone."""
        module = entry.reference()
        if module is None:
            return None
        found = self._names.get(id(module))
        if found is None or found[0]() is not module:
            self._look()
            found = self._names.setdefault(id(module), (ref(module), entry.kind.type.__name__))
        return found[1] if found[0]() is module else None

    def _look(self) -> None:
        self._names = {}
        for prefix, root in self._roots().items():
            for name, module in root.named_modules():
                fqn = f"{prefix}.{name}" if prefix and name else prefix or name
                self._names.setdefault(id(module), (ref(module), fqn))
