"""Which functions write what they are given."""

from typing import Any

__all__ = ["writes"]


def writes(op_type: str, target: str, attributes: dict[str, Any], keywords: list[str]) -> bool:
    """Whether a function that returned one of its inputs changed it, and did not just hand it on."""
    if op_type == "setitem" or "out" in keywords or attributes.get("inplace") is True:
        return True
    if target.startswith("torch.distributed."):  # they return nothing of what they are given
        return True
    if op_type.endswith("_"):
        return op_type not in ("requires_grad_", "retain_grad_", "share_memory_")
    flags = (name for name, value in attributes.items() if value is True and name != "arg0" and name not in keywords)
    return target.startswith("torch.nn.functional.") and any(flags)
