"""A constant sparse matrix and its products with dense ones, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glt.arrays import count, csr, row_pointers, transposed

SPARSE_BELOW = 0.2
"""Features with a smaller fraction of non-zeros are multiplied as a sparse matrix."""


@dataclass(frozen=True)
class SparseMatrix:
    """A constant CSR matrix kept beside its transpose, so that ``matrix @ dense`` is cheap both ways.

    torch's own CSR product converts the transpose in every backward pass; here that happens once per graph.

    Attributes:
        csr: sparse CSR float tensor [n, m].
        transposed: sparse CSR float tensor [m, n].
    """

    csr: Tensor
    transposed: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> SparseMatrix:
        """From a dense or sparse 2-D tensor of any layout."""
        coo = matrix.detach().to_sparse_coo().coalesce()
        return cls(_csr(coo), _csr(coo.t().coalesce()))

    @classmethod
    def of_arcs(cls, edge_index: Tensor, values: Tensor, num_nodes: int) -> SparseMatrix:
        """The operator that sums messages: entry (target, source) holds the arc's value, [nodes, nodes]."""
        return cls.of(
            torch.sparse_coo_tensor(edge_index.flip(0), values, (num_nodes, num_nodes), check_invariants=False)
        )

    def __matmul__(self, dense: Tensor) -> Tensor:
        """[n, m] @ [m, k] = [n, k], differentiable in ``dense``."""
        return _Product.apply(self.csr, self.transposed, dense)

    @property
    def shape(self) -> torch.Size:
        """(n, m)."""
        return self.csr.shape


def _csr(coo: Tensor) -> Tensor:
    rows, columns = coo.indices()
    return csr(row_pointers(rows, coo.size(0)), columns.contiguous(), coo.values(), coo.size(1))


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, csr, transposed, dense):  # type: ignore[no-untyped-def]
        ctx.transposed = transposed
        return product(csr, dense)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return None, None, product(ctx.transposed, gradient) if ctx.needs_input_grad[2] else None


class _Linear(torch.autograd.Function):
    """``csr @ weight.T``: the gradient comes out contiguous, so that autograd takes it without a copy."""

    @staticmethod
    def forward(ctx, csr, csr_transposed, weight):  # type: ignore[no-untyped-def]
        ctx.transposed = csr_transposed
        return product(csr, transposed(weight))

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return None, None, transposed(product(ctx.transposed, gradient)) if ctx.needs_input_grad[2] else None


def product(matrix: Tensor, dense: Tensor) -> Tensor:
    """CSR ``matrix`` [n, m] @ dense [m, k], outside autograd.

    On CPU torch's own reduction kernel is chosen for wide matrices, the MKL product behind ``@`` for narrow ones.
    """
    if matrix.device.type != "cpu" or dense.size(1) < 32:
        return matrix @ dense
    return torch.sparse.mm(matrix, dense.contiguous(), "sum")


def features_of(x: Tensor) -> Tensor | SparseMatrix:
    """Node features in the form that is faster to multiply: sparse below :data:`SPARSE_BELOW` density.

    Args:
        x: float [nodes, features], dense or sparse of any layout. O(nodes * features) once per graph.
    """
    if x.layout != torch.strided:
        return SparseMatrix.of(x)
    if x.dim() == 2 and x.numel() and count(x != 0) < SPARSE_BELOW * x.numel():
        return SparseMatrix.of(x)
    return x


def linear(x: Tensor | SparseMatrix, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` for dense or sparse ``x`` [n, m] and ``weight`` [k, m]."""
    if not isinstance(x, SparseMatrix):
        return torch.nn.functional.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x.csr, x.transposed, weight)
    return out if bias is None else out + bias
