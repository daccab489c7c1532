"""What a gradient report says of modules: parameters that no model holds, and modules that were never called."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recorder.graph.core import Graph
from recorder.graph.holdings import BESIDE, UNSEEN, Uncalled, name_of, never_called, unregistered, when_called

if TYPE_CHECKING:
    from recorder.analysis.gradient_report import GradientReport

__all__ = ["Unregistered", "with_registration"]


@dataclass(frozen=True)
class Unregistered:
    """A parameter, or a tensor that requires a gradient, that was used inside the recorded models, and that is none of
    their ``parameters()``.
    """

    parameter: str
    reason: str = f"not registered: {UNSEEN}".replace("them", "it")

    def __str__(self) -> str:
        return f"{self.parameter}: {self.reason}"


def with_registration(report: "GradientReport", graph: Graph) -> "GradientReport":
    """A report that says it, too. Of parameters that no model holds it was not watched whether a gradient came."""
    inside = [value.name for value in unregistered(graph) if value.requires_grad]
    beside = [value.name for value in unregistered(graph, BESIDE)]
    strange = {*inside, *beside, *(value.name for value in unregistered(graph))}
    uncalled = never_called(graph)
    missing = []
    for found in report.missing:
        if found.parameter in strange:
            continue
        module = _around(found.parameter, uncalled) if found.where is None and "not used" in found.reason else None
        if module is not None:
            found = replace(found, reason=f"its module `{name_of(module)}` was {when_called(graph)}")
        missing.append(found)
    unknown = report.unknown
    if beside:
        unknown += (f"whether a gradient reached {', '.join(beside)}: give its module to the Recorder, too",)
    return replace(report, missing=tuple(missing), unregistered=tuple(map(Unregistered, inside)), unknown=unknown)


def _around(parameter: str, uncalled: list[Uncalled]) -> Uncalled | None:
    return next((u for u in uncalled if not u.fqn or parameter.startswith(f"{u.fqn}.")), None)
