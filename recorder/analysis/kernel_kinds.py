"""Which operations of torch take no floating-point operations, as `FlopCounterMode` counts them: tensor views, what is
done element by element, reductions, and what moves or fills memory.

torch says most of it: by its tags, by the schemas of views, and by its decompositions into what has a tag. The names
here are those of which it says nothing.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._ops import OpOverload

from recorder.graph.core import Node

__all__ = ["decomposition", "is_free", "is_free_call", "makes_nothing", "takes_no_floats"]

_TAGS = {
    tag for name in ("pointwise", "reduction", "inplace_view") if (tag := getattr(torch.Tag, name, None)) is not None
}


def _named(names: str) -> frozenset[str]:
    return frozenset(names.split())


_FREE = _named(
    # filled or moved
    "_assert_async _index_put_impl _local_scalar_dense _resize_output _to_copy _unsafe_index _unsafe_index_put "
    "_unsafe_masked_index _unsafe_masked_index_put_accumulate _unsafe_view as_strided_scatter bernoulli cat cauchy "
    "chunk_cat clone copy copy_from_and_resize detach diagonal_scatter embedding embedding_dense_backward empty "
    "empty_like exponential fill flip from_blob gather geometric index index_add index_copy index_fill index_put "
    "index_reduce index_select is_same_size item lift_fresh lift_fresh_copy local_scalar_dense log_normal "
    "masked_scatter masked_select multinomial new_empty new_empty_strided new_full new_ones new_zeros nonzero normal "
    "one_hot ones_like put rand_like randint_like randn_like random repeat repeat_interleave reshape resize rot90 "
    "scatter scatter_add scatter_reduce select_backward select_scatter set_ slice_backward slice_scatter "
    "split_with_sizes_copy sym_numel sym_size sym_storage_offset sym_stride take to tril triu unfold_backward uniform "
    "value_selecting_reduction_backward zeros_like "
    # in another order, by comparing
    "_unique _unique2 argmax argmin argsort bincount bucketize cummax cummin histc isin kthvalue max median min mode "
    "nanmedian nanquantile quantile searchsorted sort topk unique_consecutive unique_dim "
    # sums, also of a window and of what came before
    "_adaptive_avg_pool2d _adaptive_avg_pool2d_backward _adaptive_avg_pool3d _adaptive_avg_pool3d_backward "
    "_batch_norm_with_update _cudnn_batch_norm _embedding_bag _embedding_bag_backward _embedding_bag_dense_backward "
    "_embedding_bag_forward_only _fused_rms_norm _fused_rms_norm_backward _log_softmax _log_softmax_backward_data "
    "_native_batch_norm_legit _safe_softmax _softmax _softmax_backward_data adaptive_max_pool2d "
    "adaptive_max_pool2d_backward adaptive_max_pool3d adaptive_max_pool3d_backward avg_pool1d avg_pool2d "
    "avg_pool2d_backward avg_pool3d avg_pool3d_backward batch_norm_backward col2im cudnn_batch_norm "
    "cudnn_batch_norm_backward cumprod cumsum fractional_max_pool2d fractional_max_pool2d_backward "
    "fractional_max_pool3d fractional_max_pool3d_backward im2col logcumsumexp max_pool2d_with_indices "
    "max_pool2d_with_indices_backward max_pool3d_with_indices max_pool3d_with_indices_backward max_unpool2d "
    "max_unpool3d miopen_batch_norm miopen_batch_norm_backward native_batch_norm native_batch_norm_backward "
    "native_group_norm native_group_norm_backward native_layer_norm native_layer_norm_backward segment_reduce std "
    "std_mean trace var var_mean "
    # element by element, of some elements beside each other, and losses
    "_amp_foreach_non_finite_check_and_unscale _amp_update_scale _fused_dropout _linalg_check_errors _prelu_kernel "
    "_prelu_kernel_backward _thnn_fused_gru_cell _thnn_fused_gru_cell_backward _thnn_fused_lstm_cell "
    "_thnn_fused_lstm_cell_backward binary_cross_entropy binary_cross_entropy_backward glu glu_backward "
    "grid_sampler_2d grid_sampler_2d_backward grid_sampler_3d grid_sampler_3d_backward linalg_cross multi_margin_loss "
    "multi_margin_loss_backward multilabel_margin_loss_backward multilabel_margin_loss_forward native_dropout "
    "native_dropout_backward nll_loss2d_backward nll_loss2d_forward nll_loss_backward nll_loss_forward "
    "reflection_pad1d reflection_pad1d_backward reflection_pad2d reflection_pad2d_backward reflection_pad3d "
    "reflection_pad3d_backward replication_pad1d replication_pad1d_backward replication_pad2d "
    "replication_pad2d_backward replication_pad3d replication_pad3d_backward rrelu_with_noise "
    "rrelu_with_noise_backward "
    # as they are called from Python
    "_pack_padded_sequence _pack_padded_sequence_backward _pad_circular _pad_packed_sequence adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d alpha_dropout batch_norm "
    "binary_cross_entropy_with_logits cosine_similarity cross_entropy cross_entropy_loss dropout embedding_bag "
    "feature_dropout gaussian_nll_loss glu group_norm huber_loss instance_norm interpolate kl_div l1_loss layer_norm "
    "local_response_norm log_softmax max_pool1d max_pool2d max_pool3d mean moveaxis mse_loss multinomial nll_loss "
    "norm normalize one_hot pad pairwise_distance pixel_shuffle pixel_unshuffle rms_norm scatter_add smooth_l1_loss "
    "softmax sum upsample "
)  # fmt: skip
"""Kernels, and functions of the same names, without the ``_`` of those that write in place."""

_UPSAMPLING = ("upsample_", "_upsample_", "_foreach_", "_fused_adam", "_fused_sgd")
"""How names begin of which there is one for each number of dimensions."""

_NEVER = _named("_cdist_forward _euclidean_dist cdist fft_c2c fft_c2r fft_r2c svd")
"""What torch breaks down on occasion alone, or names without saying anything."""

_FILES = tuple(
    f"torch.nn.modules.{name}."
    for name in [
        "activation",
        "batchnorm",
        "channelshuffle",
        "distance",
        "dropout",
        "flatten",
        "fold",
        "instancenorm",
        "loss",
        "normalization",
        "padding",
        "pixelshuffle",
        "pooling",
        "sparse",
        "upsampling",
    ]
)
"""Layers that take none, by the file that they stand in."""

_LAYERS = frozenset({"torch.nn.modules.linear.Identity", "torch.nn.utils.parametrizations._WeightNorm"})
_NOT_FREE = frozenset({"torch.nn.modules.activation.MultiheadAttention", "torch.nn.modules.loss.CTCLoss"})
_PRODUCTS = _named("addbmm addmm baddbmm bmm einsum inner linear matmul mm tensordot")
"""Counted of whole numbers, too, as torch's formulas do."""

_HOMES = (
    "torch", "torch.Tensor", "torch._tensor.TensorBase", "torch._tensor.Tensor", "torch.functional", "torch.special",
    "torch.nn.functional", "torch._C._nn",
)  # fmt: skip


@cache
def is_free(kernel: OpOverload) -> bool:
    """Whether a kernel takes no floating-point operations."""
    if kernel.is_view or not _TAGS.isdisjoint(kernel.tags):
        return True
    home, name = kernel.namespace, kernel._schema.name.rpartition("::")[2]
    if name in _NEVER:
        return False
    return home in ("prim", "prims") or (home == "aten" and _is_named(name))


def decomposition(kernel: OpOverload) -> Callable[..., Any] | None:
    """What torch would run in its place, in operations that are more basic."""
    if kernel._schema.name.rpartition("::")[2] in _NEVER:
        return None
    found: Callable[..., Any] | None = decomposition_table.get(kernel)
    return found


def takes_no_floats(*values: Any) -> bool:
    """Whether no tensor among what an operation is given, in lists or not, has elements that floating-point operations
    are for.
    """
    for value in values:
        if isinstance(value, Tensor):
            if value.is_floating_point() or value.is_complex():
                return False
        elif isinstance(value, list | tuple) and not takes_no_floats(*value):
            return False
    return True


def makes_nothing(node: Node) -> bool:
    """Whether a module call returned what it was given, or nothing, as a check in an exported program does."""
    if node.outputs:
        return node.kind == "module" and all(value.meta.get("handed_on") is True for value in node.outputs)
    return node.kind == "module" and node.target.startswith("torch.")


def is_free_call(node: Node) -> bool:
    """Whether a recorded call takes none, as far as its name tells: what it is made of need not be looked at."""
    if node.kind == "module":
        if node.target in _NOT_FREE:
            return False
        return node.target.startswith(_FILES) or node.target in _LAYERS or makes_nothing(node)
    if node.kind != "function":
        return False
    if not any("float" in value.dtype or "complex" in value.dtype for value in node.inputs):
        torchs = node.target.startswith("torch.") and not node.target.startswith("torch.ops.")
        return torchs and node.op_type.removesuffix("_") not in _PRODUCTS
    if node.op_type == "norm" and "nuc" in node.attributes.values():  # which takes singular values
        return False
    return _is_free_function(node.target)


@cache
def _is_free_function(target: str) -> bool:
    home, _, name = target.rpartition(".")
    if home.startswith("torch.ops.aten"):
        name = target.removeprefix("torch.ops.aten.").partition(".")[0]
        home = "torch"
    if home in ("torch.nn.init", "torch.distributed"):
        return name != "orthogonal_"
    if home not in _HOMES:
        return False
    name = name.strip("_") if name.startswith("__") else name
    if name in _NEVER:
        return False
    return _is_named(name) or any(map(_is_tagged, _packets(name)))


def _is_named(name: str) -> bool:
    return name in _FREE or name.removesuffix("_") in _FREE or name.startswith(_UPSAMPLING)


def _is_tagged(packet: Any) -> bool:
    """Whether any way to call an operation has a tag that says so, or all are views."""
    kernels = [getattr(packet, name) for name in packet.overloads() if "out" not in name]
    return any(not _TAGS.isdisjoint(kernel.tags) for kernel in kernels) or (
        bool(kernels) and all(kernel.is_view for kernel in kernels)
    )


def _packets(name: str) -> list[Any]:
    """The operators of a function, which may write in place or not."""
    names = dict.fromkeys((name, name.removesuffix("_"), f"special_{name}"))
    return [packet for one in names if f"aten::{one}" in _operators() and (packet := getattr(torch.ops.aten, one))]


@cache
def _operators() -> frozenset[str]:
    """Every one of torch's own, without what scripts alone can call."""
    return frozenset(name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names())
