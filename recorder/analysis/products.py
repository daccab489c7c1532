"""Products of vectors and matrices, counted as those of matrices that they are.

torch has kernels of their own for a vector, which differ between one order and the other, and between forward and
backward; and none of them has a formula. A vector is a matrix of one row or column here.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["added_outer", "added_product", "bilinear", "chain", "linear", "matmul", "outer"]


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``."""
    result = torch.matmul(a[None] if a.dim() == 1 else a, b[:, None] if b.dim() == 1 else b)
    result = result.squeeze(-1) if b.dim() == 1 else result
    return result.squeeze(-2 if b.dim() > 1 else -1) if a.dim() == 1 else result


def added_product(added: Tensor, a: Tensor, b: Tensor, **factors: Any) -> Tensor:
    """As `torch.addmv`, whose factors change no count."""
    return added + matmul(a, b)


def outer(a: Tensor, b: Tensor) -> Tensor:
    """A column times a row."""
    return a[:, None] @ b[None]


def added_outer(added: Tensor, a: Tensor, b: Tensor, **factors: Any) -> Tensor:
    """As `torch.addr`."""
    return added + outer(a, b)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Also of one item without a batch."""
    if x.dim() != 1 or weight.dim() == 1:
        return F.linear(x, weight, bias)
    return F.linear(x[None], weight, bias)[0]


def bilinear(a: Tensor, b: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As two products, one after the other."""
    out, first, second = weight.shape
    product = a.reshape(-1, first) @ weight.permute(1, 0, 2).reshape(first, out * second)
    return (product.reshape(-1, out, second) @ b.reshape(-1, second, 1)).reshape(*a.shape[:-1], out)


def chain(*matrices: Tensor) -> Tensor:
    """As `torch.chain_matmul`."""
    result: Tensor = torch.linalg.multi_dot(matrices)
    return result
