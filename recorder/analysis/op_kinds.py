"""Which operations compute nothing, and which make no new memory: known by name, so that it needs no torch."""

from recorder.graph.core import Node
from recorder.graph.tensor_views import SHARE_MEMORY

__all__ = ["allocates", "computes_nothing"]


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


_MOVES = _named(
    "arange atleast_1d atleast_2d atleast_3d bfloat16 block_diag bool broadcast_tensors cat channel_shuffle clone "
    "column_stack concat concatenate contiguous copy copy_ cpu cuda data double dstack embedding empty empty_like "
    "fill_ flip fliplr flipud float full full_like gather getitem half hstack index_copy index_select int long "
    "masked_select meshgrid new_empty new_full new_ones new_tensor new_zeros ones ones_like pad pixel_shuffle "
    "pixel_unshuffle repeat repeat_interleave requires_grad_ roll rot90 row_stack scatter select_scatter setitem "
    "slice_scatter stack take tensor tile to tril triu type type_as vstack zero_ zeros zeros_like"
)
"""Functions that move or fill memory, and do no arithmetic."""

_MODULES = _named(
    "ChannelShuffle CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Embedding "
    "Flatten Identity PixelShuffle PixelUnshuffle ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d "
    "ReplicationPad2d ReplicationPad3d Unflatten Unfold ZeroPad1d ZeroPad2d ZeroPad3d"
)

_LOOKING = _named("Flatten Identity Unflatten")


def computes_nothing(node: Node) -> bool:
    """Whether an operation does no arithmetic on its tensors: views, and what only moves or fills memory."""
    if node.kind == "module":
        return node.op_type in _MODULES and node.target.startswith("torch.nn.")
    return node.kind == "function" and (node.op_type in SHARE_MEMORY or node.op_type in _MOVES) and _is_torchs(node)


def allocates(node: Node) -> bool:
    """Whether the results of an operation are in memory of their own, as far as its name tells."""
    if node.attributes.get("inplace") is True:
        return False
    if node.kind == "module":
        return not (node.op_type in _LOOKING and node.target.startswith("torch.nn."))
    return not (
        _is_torchs(node) and (node.op_type in SHARE_MEMORY or node.op_type.endswith("_") or node.op_type == "setitem")
    )


def _is_torchs(node: Node) -> bool:
    return node.target.startswith("torch.")
