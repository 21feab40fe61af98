"""Arrays: picking items (on CPU by numpy's single passes), CSR matrices."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

# torch says so once per process, in the middle of a user's output; the parts used here are tested
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

PIECE = 512
"""Rows or columns that a transposition takes at once."""


def where(mask: Tensor) -> Tensor:
    """Positions of True in ``mask`` (bool [n]): int64, ascending."""
    if mask.device.type != "cpu":
        return mask.nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def count(mask: Tensor) -> int:
    """Number of True in ``mask`` (bool, any shape)."""
    return int(mask.sum()) if mask.device.type != "cpu" else int(np.count_nonzero(mask.numpy()))


def take(values: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """``values.index_select(dim, index)``; ``index`` (int64) must be in range."""
    if values.device.type != "cpu" or values.dtype == torch.bfloat16 or values.requires_grad:
        return values.index_select(dim, index)
    return torch.from_numpy(np.take(values.numpy(), index.numpy(), axis=dim, mode="clip"))


def transposed(x: Tensor) -> Tensor:
    """A contiguous copy of ``x.t()``, float [n, m]; the longer side in pieces, which halves the time on CPU."""
    if x.device.type != "cpu":
        return x.t().contiguous()
    out = x.new_empty(x.size(1), x.size(0))
    along = int(x.size(1) > x.size(0))
    for piece, into in zip(x.split(PIECE, along), out.split(PIECE, 1 - along), strict=True):
        into.copy_(piece.t())
    return out


def csr(ptr: Tensor, index: Tensor, values: Tensor, columns: int) -> Tensor:
    """The sparse CSR matrix [rows, columns] of row pointers [rows + 1], column indices and values [entries]."""
    shape = (ptr.numel() - 1, columns)
    return torch.sparse_csr_tensor(ptr, index, values, shape, check_invariants=False)


def row_pointers(rows: Tensor, count: int) -> Tensor:
    """CSR row pointers, int64 [count + 1], of ascending row indices [entries]."""
    return torch._convert_indices_from_coo_to_csr(rows, count)
