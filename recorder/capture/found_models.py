"""Models that nobody named beforehand: those that are called from outside of every other, as they are met.

Asked at outermost calls alone, so that the calls inside of models pay nothing for it.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import ref

import torch
from torch import nn

from recorder.capture.modules import Entry, Modules

__all__ = ["FoundModels", "name_in_code"]

_TORCH = str(Path(torch.__file__).parent)


_SOON = 16
"""So many calls of models are waited for before their names are final."""


class FoundModels:
    """Makes recorded models of modules that are called, and ends the recording after so many steps.

    A model that is alone has no prefix to the names of its modules; of several, each has the name that the code has for
    it. One that contains those that were found before takes their place.

    Args:
        modules: those that are recorded.
        wanted: whether a module, which the code calls by this name, is one to record.
        steps: so many calls of the first model are recorded, each with what follows it; all if None.
        described: describes the models that were found so far: they may be gone when the recording ends.
        enough: is called when the steps are over.

    Attributes:
        kinds: the classes of the models, by their names in the code.
        passed: the classes of modules that were called and not wanted.
        calls: of the first model, how many began while there was recording.
        over: the steps are.
    """

    def __init__(
        self,
        modules: Modules,
        wanted: Callable[[nn.Module, str], bool],
        steps: int | None,
        described: Callable[[], None],
        enough: Callable[[], None],
    ) -> None:
        self.kinds: dict[str, type[nn.Module]] = {}
        self.passed: dict[type[nn.Module], None] = {}
        self.calls = 0
        self.over = False
        self._modules = modules
        self._wanted = wanted
        self._steps = steps
        self._described = described
        self._enough = enough
        self._first: Entry | None = None
        self._found: dict[str, ref[nn.Module]] = {}
        self._held: list[nn.Module] | None = []
        self._asked = 0
        self._lone: str | None = None

    def is_model(self, entry: Entry, module: nn.Module, caller: Any) -> bool:
        """An outermost call begins. Whether it is one of a model. ``caller``: torch's Python frame of it."""
        if self.over:
            return False
        if not self._modules.is_own(entry, module):
            name = name_in_code(module, caller)
            if not self._wanted(module, name):
                self.passed[type(module)] = None
                return False
            self._add(module, name or type(module).__name__)
        if self._first is None:
            self._first = entry
        self._asked += 1
        if self._asked == _SOON:
            self.settle()
        if entry is self._first:
            self._begin_step()
        return not self.over

    def _begin_step(self) -> None:
        if self.calls == 1:
            self.settle()  # the first step has ended
        if self.calls == self._steps:
            self.over = True
            self._enough()
        else:
            self.calls += 1

    def settle(self) -> None:
        """The names of those that were found so far are final. Until then, these are kept alive."""
        if self._held is not None and self.kinds:
            if len(self._found) == 1:
                (self._lone,) = self._found
            self._described()
            self._held = None

    def _add(self, module: nn.Module, name: str) -> None:
        parts = {id(part) for part in module.modules()}
        inside = [n for n, reference in self._found.items() if id(reference()) in parts]
        for part in inside:
            del self._found[part]
            self.kinds.pop(part, None)
        again = name in self.kinds  # as in a loop over models, which are to go when they are done with
        free, number = name, 0
        while free in self.kinds:
            number += 1
            free = f"{name}_{number}"
        if self._lone in inside:
            self._lone = free
        self.kinds[free] = type(module)
        self._found[free] = ref(module)
        if self._held is not None:
            self._held.append(module)
        alone = len(self.kinds) == 1
        roots = {n: root for n, reference in self._found.items() if (root := reference()) is not None}
        self._modules.become({"" if alone or n == self._lone else n: root for n, root in roots.items()})
        if again:
            self.settle()


def name_in_code(module: nn.Module, caller: Any) -> str:
    """What the code that calls a module calls it: a variable, or an attribute of ``self``; of several functions in
    progress, in the outermost one that has a name for it. Nothing if none has.
    """
    name = ""
    frame = caller
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_TORCH):
            name = _named(module, frame) or name
        frame = frame.f_back
    return name


def _named(module: nn.Module, frame: Any) -> str:
    variables: Mapping[str, Any] = frame.f_locals
    try:
        for name, value in variables.items():
            if value is module and name != "self" and not name.startswith(("_", ".")):
                return name
        try:
            held = object.__getattribute__(variables.get("self"), "__dict__")  # asks no code of the owner's
        except AttributeError:
            return ""
        children = held.get("_modules")
        for name, value in (*held.items(), *(children if isinstance(children, dict) else {}).items()):
            if value is module and not name.startswith("_"):
                return str(name)
        return ""
    finally:
        # Up to Python 3.12 this is a copy that the frame keeps, and with it all that the function lets go of.
        if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            variables.clear()  # type: ignore[attr-defined]
