"""Operators that take functions, `torch.cond`, `scan`, `map`, `while_loop` and `flex_attention` among them, which torch
builds on its compiler also where nobody compiled anything.

The compiler traces the functions that such an operator is given, and would trace what is the recorder's with them: so
while it is at work in one, all that the compiler can see of ours steps aside, and what runs is what runs unrecorded.
What happens inside is not followed. The operator itself is then called by the graph that was traced, with all that its
functions use, the parameters of closures included, among its arguments: it is recorded there, as one function.
"""

from collections.abc import Callable
from functools import partial, wraps
from threading import Lock, local
from types import FrameType
from typing import Any

from torch import _guards
from torch.nn.modules import module as torch_module

from recorder.capture import backward_begins, functional_call, fused_paths
from recorder.capture.mode_stack import lift, lower
from recorder.capture.module_hooks import Capture

__all__ = ["GLOBAL_HOOKS", "NOT_FOLLOWED", "WRITTEN", "aside", "begins", "ours_among", "step_aside", "watched"]

NOT_FOLLOWED = "torch runs it on its compiler: what happens inside is not recorded, and it is one node"
WRITTEN = "it wrote into tensors that it was given: what uses them later seems to use what they were before"

_TORCHS = ("torch._higher_order_ops.", "torch.nn.attention.flex_attention")
"""Modules that compile what they are about to run, as users would."""

_OPERATORS = (*_TORCHS, "torch.ops.higher_order", "torch._dynamo.external_utils")
"""Where that comes from: a function of such a module, or an operator, as it is or wrapped."""

GLOBAL_HOOKS = tuple(
    getattr(torch_module, f"_global_{name}")
    for name in (
        "forward_pre_hooks",
        "forward_hooks",
        "forward_hooks_always_called",
        "forward_hooks_with_kwargs",
        "backward_pre_hooks",
        "backward_hooks",
    )
)
"""torch's global module hooks. The third and fourth of them say more of those in the second."""

_PATCHES = (functional_call, fused_paths, backward_begins)
"""Where torch's own functions are watched."""

_lock = Lock()


class _Thread(local):
    """What a thread is at. ``aside``: in such an operator; ``calling``: its call is being recorded."""

    aside = False
    calling = False


_thread = _Thread()
_hooks_away: list[tuple[list[int], dict[int, Any]]] = []
"""Of each table while hooks are away: the order that its keys had, and those that are ours."""

_away = 0
"""In how many threads."""


def begins(frame: FrameType) -> bool:
    """Whether torch is calling what it compiled for an operator of its own, and no user did. ``frame``: of the function
    that the compiler returned.
    """
    caller, compiled = frame.f_back, frame.f_locals.get("fn")
    return (
        caller is not None
        and str(caller.f_globals.get("__name__", "")).startswith(_TORCHS)
        and str(getattr(compiled, "__module__", "")).startswith(_OPERATORS)
    )


def aside() -> bool:
    """Whether this thread is in such an operator."""
    return _thread.aside


def step_aside(frame: FrameType) -> None:
    """Take all that is ours out of the compiler's sight until the function that ``frame`` runs ends."""
    ends = frame.f_locals.get("cleanups")  # what torch calls then
    if _thread.aside or not isinstance(ends, list):
        return
    modes = lift()
    _thread.aside = True
    _put_hooks_away()

    def step_back() -> None:
        _put_hooks_back()
        _thread.aside = False
        lower(modes)

    ends.append(step_back)


def ours_among(hooks: dict[int, Any]) -> set[int]:
    """The keys of the hooks that are a recorder's."""
    return {number for number, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), Capture)}


def _put_hooks_away() -> None:
    global _away
    with _lock:
        _away += 1
        if _away > 1:
            return
        for patch in _PATCHES:
            patch.pause()
        ours = set().union(*map(ours_among, GLOBAL_HOOKS))
        for table in GLOBAL_HOOKS:
            order = list(table)
            _hooks_away.append((order, {key: table.pop(key) for key in order if key in ours}))


def _put_hooks_back() -> None:
    """Hooks of users may have come and gone meanwhile."""
    global _away
    with _lock:
        _away -= 1
        if _away:
            return
        for patch in _PATCHES:
            patch.resume()
        pre, hooks = _hooks_away[0][1], _hooks_away[1][1]
        alive = {key for key, hook in (*pre.items(), *hooks.items()) if hook.__self__.started}
        for table, (order, away) in zip(GLOBAL_HOOKS, _hooks_away, strict=True):
            back = {key: hook for key, hook in away.items() if key in alive}
            if back:
                now = dict(table)
                table.clear()
                known = {key: back.get(key, now.get(key)) for key in order if key in back or key in now}
                table.update(known | {key: hook for key, hook in now.items() if key not in known})
        _hooks_away.clear()


def watched(recorded: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes of `HigherOrderOperator.__call__` one that has the outermost operators of a thread recorded, by
    ``recorded(operator, args, kwargs, run)``, which returns what ``run()`` does.
    """

    def watch(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not _thread.aside or _thread.calling or _guards.TracingContext.try_get() is not None:
                return function(self, *args, **kwargs)
            _thread.calling = True
            try:
                return recorded(self, args, kwargs, partial(function, self, *args, **kwargs))
            finally:
                _thread.calling = False

        return call

    return watch
