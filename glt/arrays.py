"""Arrays: picking items (on CPU by numpy's single passes), CSR matrices."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from glt.pieces import pieces

SIDE = 512
"""Rows or columns that a transposition takes at once."""

# torch says so once per process, in the middle of a user's output; the parts used here are tested
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


def where(mask: Tensor) -> Tensor:
    """Positions of True in ``mask`` (bool [n]): int64, ascending."""
    if mask.device.type != "cpu":
        return mask.nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def count(mask: Tensor) -> int:
    """Number of True in ``mask`` (bool, any shape)."""
    return int(mask.sum()) if mask.device.type != "cpu" else int(np.count_nonzero(mask.numpy()))


def pick(values: Tensor, mask: Tensor, dim: int = 0) -> Tensor:
    """The items of ``values`` along ``dim`` where ``mask`` (bool [size of that dimension]) is True, in order."""
    if values.device.type != "cpu" or values.dtype == torch.bfloat16 or values.requires_grad or not mask.numel():
        return values.index_select(dim, where(mask).to(values.device))
    items, keep = values.numpy(), mask.numpy()
    lead, rest = items.shape[:dim], items.shape[dim + 1 :]
    out = np.empty((*lead, np.count_nonzero(keep), *rest), items.dtype)
    stop = 0
    for piece in pieces(keep.size):
        index = np.flatnonzero(keep[piece])
        start, stop = stop, stop + index.size
        for row in np.ndindex(lead):
            np.take(items[row][piece], index, axis=0, out=out[row][start:stop], mode="clip")
    return torch.from_numpy(out)


def at_ends(values: Tensor, edge_index: Tensor, how: Literal["add", "multiply"]) -> Tensor:
    """For every arc (u, v) ``values[u] + values[v]``, or their product: [arcs] of ``values`` [nodes]."""
    if values.device.type != "cpu":
        ends: Tensor = getattr(torch, how)(values[edge_index[0]], values[edge_index[1]])
        return ends
    (source, target), by_node = edge_index.numpy(), values.numpy()
    out, combine = np.empty(source.size, by_node.dtype), getattr(np, how)
    for piece in pieces(source.size):
        np.take(by_node, source[piece], out=out[piece], mode="clip")
        combine(out[piece], np.take(by_node, target[piece], mode="clip"), out=out[piece])
    return torch.from_numpy(out)


def transposed(x: Tensor) -> Tensor:
    """A contiguous copy of ``x.t()``, float [n, m]; the longer side in pieces on CPU, for the cache."""
    if x.device.type != "cpu":
        return x.t().contiguous()
    out = x.new_empty(x.size(1), x.size(0))
    along = int(x.size(1) > x.size(0))
    for piece, into in zip(x.split(SIDE, along), out.split(SIDE, 1 - along), strict=True):
        into.copy_(piece.t())
    return out


def csr(ptr: Tensor, index: Tensor, values: Tensor, columns: int) -> Tensor:
    """The sparse CSR matrix [rows, columns] of row pointers [rows + 1], column indices and values [entries]."""
    shape = (ptr.numel() - 1, columns)
    return torch.sparse_csr_tensor(ptr, index, values, shape, check_invariants=False)


def row_pointers(rows: Tensor, count: int) -> Tensor:
    """CSR row pointers, int64 [count + 1], of ascending row indices [entries]."""
    return torch._convert_indices_from_coo_to_csr(rows, count)
