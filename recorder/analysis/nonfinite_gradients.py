"""Where the first NaN or Inf was in backward."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from recorder.analysis.gradient_places import Place, captions, told_of
from recorder.graph.core import Graph, Node, Value

__all__ = ["NotFinite", "first_not_finite"]


@dataclass(frozen=True)
class NotFinite:
    """The first place in backward order with a gradient that is not finite.

    ``call`` is the call; ``born`` says where in regard to it: ``"inside"`` if what arrived was finite and what left, or
    the gradient of ``parameter``, was not; ``"before"`` if it arrived so, as far as one can tell, and then ``suspects``
    are the nodes between this call and those whose gradients were seen; ``"held"`` if what backward added was finite,
    and what ``parameter`` held before, or the sum, was not; ``"forward"`` if what the call computed, and backward was
    called on, was not finite itself. ``nan`` and ``inf`` count elements, ``order`` what backward had
    reached before. ``advice`` says how to find out more.
    """

    call: str
    born: str
    nan: int
    inf: int
    parameter: str | None = None
    suspects: tuple[str, ...] = ()
    order: int = 0
    advice: str = ""

    def __str__(self) -> str:
        counts = " and ".join(f"{n} {what}" for n, what in ((self.nan, "NaN"), (self.inf, "Inf")) if n)
        if self.born == "forward":
            return f"the loss itself, of {self.call}, had {counts} already: forward made it; {self.advice}"
        if self.born == "held":
            return (
                f"the gradient of {self.parameter} has {counts}, and what {self.call} added to it was finite: it was "
                "so before this backward, the sum is too large, or a hook of it made it so"
            )
        if self.parameter is not None:
            seen = "" if self.born == "inside" else ", the first that was seen: recomputed calls tell less"
            return f"in {self.call}: the gradient of {self.parameter} has {counts}{seen}"
        if self.born == "inside":
            return f"born in {self.call}: what left it has {counts}, and what arrived was finite"
        between = ", ".join(self.suspects)
        why = f"born in {between}" if between else "begun so, or made so by a hook or by what was not recorded"
        return f"arrived at {self.call} with {counts}: {why}"


def first_not_finite(graph: Graph, places: Iterable[Place], parameters: Iterable[Value]) -> NotFinite | None:
    """Among places in the order of backward, parameters, and what backward was called on."""
    found = [*_of_losses(graph), *_of_parameters(parameters)]
    for place in places:
        order = told_of(place)["order"]
        nan, inf = _counts(captions(place, "arrived"))
        if nan or inf:
            found.append(NotFinite(place.name, "before", nan, inf, None, _between(place), order))
            break
        nan, inf = _counts(captions(place, "left"))
        if nan or inf:
            found.append(NotFinite(place.name, "inside", nan, inf, None, (), order))
            break
    return min(found, key=lambda one: one.order, default=None)


def _of_losses(graph: Graph) -> Iterator[NotFinite]:
    starts = graph.meta.get("backward_starts", ())
    makers = {value.name: value.producer for value in graph.values()} if starts else {}
    see = "record with values='stats' to see where"
    if graph.meta.get("values") in ("stats", "digest"):
        see = "value_report() says where"
    for start in starts:
        nan, inf = _counts([start])
        if nan or inf:
            maker = makers.get(start["value"])
            name = start["value"] if maker is None else maker.name
            yield NotFinite(name, "forward", nan, inf, None, (), start["order"], see)


def _of_parameters(parameters: Iterable[Value]) -> Iterator[NotFinite]:
    for parameter in parameters:
        told = told_of(parameter)
        nan, inf = _counts([told["gradient"]] if told.get("gradient") is not None else [])
        if nan or inf:
            user = parameter.uses[-1][0] if parameter.uses else None  # backward comes by the last one first
            born = "before" if user is not None and user.kind == "module" and not told_of(user) else "inside"
            born = "held" if all(_added_finite(one, parameter) for one, _ in parameter.uses) and user else born
            name = parameter.name if user is None else user.name
            yield NotFinite(name, born, nan, inf, parameter.name, (), told["order"])


def _added_finite(user: Node, parameter: Value) -> bool:
    """Whether what a call handed on to a parameter was seen, and was finite."""
    told = told_of(user)
    if told.get("passes") != 1 or told.get("several") or parameter.meta["backward"]["passes"] > len(parameter.uses):
        return False
    left = [caption for caption in told.get("left", ()) if caption is not None]
    same = [caption for caption in left if prod(caption["shape"]) == prod(parameter.shape) and "nan" in caption]
    return bool(same) and not any(_counts(left))


def _counts(of: Iterable[dict[str, Any]]) -> tuple[int, int]:
    of = list(of)
    return sum(c.get("nan", 0) for c in of), sum(c.get("inf", 0) for c in of)


def _between(place: Place) -> tuple[str, ...]:
    """The nodes by which the gradient came from the next places whose gradients were seen, in backward order. Those of
    which not all was seen are among them; what has no gradient is not.
    """
    between: list[Node] = []
    seen: set[int] = set()
    pending = _users(place)
    for after in pending:
        if id(after) in seen or not any(map(_carries, after.outputs)):
            continue
        seen.add(id(after))
        told = told_of(after)
        if not told or told.get("several") or "left" not in told:
            between.append(after)
        if not told:
            pending += _users(after)
    return tuple(after.name for after in reversed(between))


def _users(place: Place) -> list[Node]:
    """The nodes that use what a place returned, as far as a gradient comes back by it."""
    return [
        user
        for value in place.outputs
        if _carries(value)
        for user, _ in value.uses
        if isinstance(place, Node) or not (user.scope is not None and any(s is place for s in user.scope.ancestors()))
    ]


def _carries(value: Value) -> bool:
    """Whether a gradient comes back by a value: it requires one, or came to do so unseen, as what the forward of an
    ``autograd.Function`` makes. Then more left the call that it goes into than its other inputs can have had.
    """
    if value.requires_grad:
        return True
    return any(
        sum(1 for _ in captions(user, "left")) > sum(given.requires_grad for given in user.inputs)
        for user, _ in value.uses
    )
