"""What a write into a tensor view keeps for backward. Its autograd node stands inside a ``CopySlices``, where nobody
can look; but of these functions it is known by torch's own formulas, against which the tests hold it.
"""

from typing import Any, Literal

from recorder.capture.raw_records import LEAF, Log

__all__ = ["Savings", "savings_of"]

Savings = Literal["nothing", "result", "as much"]
"""``result`` is in the memory that was written; ``as much`` is what was there, or a mask of its size and dtype."""

_NAMES: dict[Savings, str] = {
    "nothing": "__setitem__ add_ copy_ fill_ neg_ round_ sub_ zero_",
    "result": "celu elu exp_ leaky_relu leakyrelu relu relu_ rsqrt_ selu sigmoid_ sqrt_ tanh_",
    "as much": "_threshold abs_ alpha_dropout clamp_ dropout hardsigmoid hardswish hardtanh log_ mish pow_ relu6 silu "
    "sin_ threshold",
}

_SAVINGS: dict[str, Savings] = {name: savings for savings, names in _NAMES.items() for name in names.split()}
"""By the name of a function, or of a layer without capitals."""


def savings_of(record: Log, at: int) -> Savings | None:
    """By the record of a call, which begins there; None if it is not known."""
    what: Any = record[at + 1]
    name = what.kind.type.__name__.lower() if record[at] is LEAF else getattr(what, "__name__", "")
    return _SAVINGS.get(name)
