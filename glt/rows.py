"""Some rows of a matrix, dense or sparse, and of a product with a sparse operator: no more than a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from glt.arrays import csr
from glt.sparse import SparseMatrix, WeightedArcs, linear, product

Rows = Callable[[slice], Tensor]
"""The rows of a result, [rows of the slice, width]."""


def rows_at(matrix: Tensor, index: Tensor) -> Tensor:
    """The rows of ``matrix`` [n, ...] at ``index`` (int64 [m]), in its order and layout."""
    if matrix.layout != torch.sparse_csr:
        return matrix.index_select(0, index)
    start, sizes = matrix.crow_indices()[index], matrix.crow_indices().diff()[index]
    ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    at = torch.repeat_interleave(start - ptr[:-1], sizes)
    at += torch.arange(at.numel(), device=at.device)
    return csr(ptr, matrix.col_indices()[at], matrix.values()[at], matrix.size(1))


def rows_in(matrix: Tensor, rows: slice) -> Tensor:
    """The rows of a dense or CSR matrix [n, m] in a slice, without a copy of them."""
    if matrix.layout != torch.sparse_csr:
        return matrix[rows]
    ptr = matrix.crow_indices()[rows.start : rows.stop + 1]
    entries = slice(int(ptr[0]), int(ptr[-1]))
    return csr(ptr - ptr[0], matrix.col_indices()[entries], matrix.values()[entries], matrix.size(1))


def sums_by_rows(graph: SparseMatrix | WeightedArcs, x: Tensor | SparseMatrix, weight: Tensor) -> Rows:
    """``graph @ (x @ weight.T)`` by rows, outside autograd.

    Where ``weight`` [k, m] makes rows wider, or leaves them as wide, messages are summed before they are multiplied
    with it: beside ``x`` [n, m] and what comes out nothing of that size is held.
    """
    if isinstance(graph, SparseMatrix):
        operator = graph.csr
    else:
        p = graph.pattern
        operator = csr(p.ptr, p.source, graph.values[p.order], p.ptr.numel() - 1)
    if isinstance(x, SparseMatrix) or weight.size(0) < weight.size(1):
        narrow = linear(x, weight)
        return lambda rows: product(rows_in(operator, rows), narrow)
    return lambda rows: linear(product(rows_in(operator, rows), x), weight)


def linear_by_rows(x: Tensor | SparseMatrix, weight: Tensor, bias: Tensor | None = None) -> Rows:
    """``x @ weight.T + bias`` by rows; for sparse features at once."""
    if isinstance(x, SparseMatrix):
        whole = linear(x, weight, bias)
        return lambda rows: whole[rows]
    return lambda rows: linear(x[rows], weight, bias)
