"""Sparse matrices and their products with dense ones, forward and backward, by the kernel of :mod:`glt.kernels`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from glt.arrays import count, csr, row_pointers, transposed
from glt.kernels.base import Kernel
from glt.kernels.choice import chosen

SPARSE_BELOW = 0.2
"""Features with a smaller fraction of non-zeros are multiplied as a sparse matrix."""
BLOCK = 2048
"""Rows of features whose gradients are multiplied at a time where there are twice as many or more: they stay in the
cache, while each row of the transpose as a whole would gather from all of them."""


@dataclass(frozen=True)
class SparseMatrix:
    """A constant CSR matrix kept beside its transpose, so that ``matrix @ dense`` is cheap both ways.

    torch's own CSR product converts the transpose in every backward pass; here that happens once per graph, with the
    first gradient.

    Attributes:
        csr: sparse CSR float tensor [n, m].
        block: rows per block of the transpose; 0 is all of them.
    """

    csr: Tensor
    block: int = 0

    @classmethod
    def of(cls, matrix: Tensor, block: int = 0) -> SparseMatrix:
        """From a dense or sparse 2-D tensor of any layout."""
        return cls(_csr(matrix.detach().to_sparse_coo().coalesce()), block)

    @cached_property
    def transposed(self) -> tuple[Tensor, ...]:
        """The transposes of blocks of rows, from the first on: sparse CSR [m, rows]."""
        ptr, size = self.csr.crow_indices(), self.block or max(int(self.csr.size(0)), 1)
        rows = torch.repeat_interleave(ptr.diff(), output_size=self.csr.col_indices().numel())
        entries = torch.stack([self.csr.col_indices(), rows])
        blocks = []
        for start in range(0, max(int(self.csr.size(0)), 1), size):
            stop = min(start + size, int(self.csr.size(0)))
            part = slice(int(ptr[start]), int(ptr[stop]))
            index = entries[:, part] - entries.new_tensor([[0], [start]])
            shape = (self.csr.size(1), stop - start)
            block = torch.sparse_coo_tensor(index, self.csr.values()[part], shape, check_invariants=False)
            blocks.append(_csr(block.coalesce()))
        return tuple(blocks)

    def gradient(self, kernel: Kernel, dense: Tensor) -> Tensor:
        """Transpose [m, n] @ ``dense`` [n, k], outside autograd."""
        parts = dense.split(self.block or max(dense.size(0), 1))
        out: Tensor | None = None
        for block, part in zip(self.transposed, parts, strict=True):
            product = kernel(block, part)
            out = product if out is None else out.add_(product)
        assert out is not None
        return out

    @classmethod
    def of_arcs(cls, edge_index: Tensor, values: Tensor, num_nodes: int) -> SparseMatrix:
        """The operator that sums messages: entry (target, source) holds the arc's value, [nodes, nodes]."""
        return cls.of(
            torch.sparse_coo_tensor(edge_index.flip(0), values, (num_nodes, num_nodes), check_invariants=False)
        )

    def __matmul__(self, dense: Tensor) -> Tensor:
        """[n, m] @ [m, k] = [n, k], differentiable in ``dense``."""
        return _Product.apply(self, dense)

    @property
    def shape(self) -> torch.Size:
        """(n, m)."""
        return self.csr.shape


@dataclass(frozen=True)
class Interleaved:
    """Operators of several models on the same nodes, as one: row n * ``count`` + t is node n in the graph of model t.

    A dense matrix that holds the models' columns side by side, [nodes, count * k], is that many rows of k without a
    copy, so all models' messages are one product.
    """

    matrix: SparseMatrix
    count: int

    def __matmul__(self, dense: Tensor) -> Tensor:
        """[nodes, count * k], every model's columns by its own operator; differentiable in ``dense``."""
        nodes = dense.size(0)
        return (self.matrix @ dense.reshape(nodes * self.count, -1)).view(nodes, -1)


@dataclass(frozen=True)
class Pattern:
    """Where the entries of a sparse [nodes, nodes] operator are; their values change from call to call.

    Attributes:
        order: int64 [arcs]; the arc that each entry stands for, entries sorted by target, then source.
        ptr, source, target: the entries as a CSR matrix whose rows are targets.
        t_ptr, t_target, t_order: the transpose, and the entry that each of its entries stands for.
    """

    order: Tensor
    ptr: Tensor
    source: Tensor
    target: Tensor
    t_ptr: Tensor
    t_target: Tensor
    t_order: Tensor

    @classmethod
    def of_arcs(cls, edge_index: Tensor, num_nodes: int) -> Pattern:
        """Sort the arcs by target and by source once. O(arcs log arcs)."""
        order = torch.argsort(edge_index[1] * num_nodes + edge_index[0])
        source, target = edge_index[:, order]
        t_order = torch.argsort(source, stable=True)
        return cls(
            order,
            row_pointers(target, num_nodes),
            source,
            target,
            row_pointers(source[t_order], num_nodes),
            target[t_order],
            t_order,
        )

    def product(self, values: Tensor, dense: Tensor) -> Tensor:
        """For every target the sum of ``values * dense[source]``, differentiable in both.

        Args:
            values: float [entries], sorted as the entries are.
            dense: float [nodes, k].

        Returns:
            float [nodes, k]. No feature is gathered per arc, neither forward nor backward.
        """
        out: Tensor = _Weighted.apply(self, values.contiguous(), dense.contiguous())
        return out

    def dots(self, left: Tensor, right: Tensor) -> Tensor:
        """For every entry the inner product of ``left[target]`` and ``right[source]``, differentiable in both.

        Args:
            left: float [nodes, k].
            right: float [nodes, k].

        Returns:
            float [entries], sorted as the entries are. No feature is gathered per arc, neither forward nor backward.
        """
        out: Tensor = _Dots.apply(self, left.contiguous(), right.contiguous())
        return out


@dataclass(frozen=True)
class WeightedArcs:
    """A sparse operator that is differentiable in its values: one float per arc, in the order of the arcs."""

    pattern: Pattern
    values: Tensor

    def __matmul__(self, dense: Tensor) -> Tensor:
        """[nodes, nodes] @ [nodes, k]."""
        return self.pattern.product(self.values[self.pattern.order], dense)


class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pattern, values, dense):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values, dense)
        entries = csr(pattern.ptr, pattern.source, values, dense.size(0))
        ctx.pattern, ctx.kernel = pattern, chosen(entries, dense.size(1))
        return ctx.kernel(entries, dense)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        values, dense = ctx.saved_tensors
        p, nodes, gradient = ctx.pattern, dense.size(0), gradient.contiguous()
        d_values = d_dense = None
        if ctx.needs_input_grad[1]:
            entries = csr(p.ptr, p.source, values, nodes)
            d_values = torch.sparse.sampled_addmm(entries, gradient, dense.t(), beta=0.0).values()
        if ctx.needs_input_grad[2]:
            d_dense = ctx.kernel(csr(p.t_ptr, p.t_target, values[p.t_order], nodes), gradient)
        return None, d_values, d_dense


class _Dots(torch.autograd.Function):
    """The transpose of :class:`_Weighted` in its values."""

    @staticmethod
    def forward(ctx, pattern, left, right):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(left, right)
        entries = csr(pattern.ptr, pattern.source, left.new_zeros(pattern.source.numel()), left.size(0))
        ctx.pattern, ctx.kernel = pattern, chosen(entries, left.size(1))
        return torch.sparse.sampled_addmm(entries, left, right.t(), beta=0.0).values()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        left, right = ctx.saved_tensors
        p, nodes, gradient = ctx.pattern, left.size(0), gradient.contiguous()
        d_left = d_right = None
        if ctx.needs_input_grad[1]:
            d_left = ctx.kernel(csr(p.ptr, p.source, gradient, nodes), right)
        if ctx.needs_input_grad[2]:
            d_right = ctx.kernel(csr(p.t_ptr, p.t_target, gradient[p.t_order], nodes), left)
        return None, d_left, d_right


def _csr(coo: Tensor) -> Tensor:
    rows, columns = coo.indices()
    return csr(row_pointers(rows, coo.size(0)), columns.contiguous(), coo.values(), coo.size(1))


def product(matrix: Tensor, dense: Tensor) -> Tensor:
    """CSR ``matrix`` [n, m] @ dense [m, k], outside autograd, by the kernel that is chosen."""
    return chosen(matrix, dense.size(1))(matrix, dense)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix, dense):  # type: ignore[no-untyped-def]
        ctx.matrix, ctx.kernel = matrix, chosen(matrix.csr, dense.size(1))
        return ctx.kernel(matrix.csr, dense)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return None, ctx.matrix.gradient(ctx.kernel, gradient) if ctx.needs_input_grad[1] else None


class _Linear(torch.autograd.Function):
    """``matrix @ weight.T``: the gradient comes out contiguous, so that autograd takes it without a copy."""

    @staticmethod
    def forward(ctx, matrix, weight):  # type: ignore[no-untyped-def]
        ctx.matrix, ctx.kernel = matrix, chosen(matrix.csr, weight.size(0))
        return ctx.kernel(matrix.csr, transposed(weight))

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return None, transposed(ctx.matrix.gradient(ctx.kernel, gradient)) if ctx.needs_input_grad[1] else None


def features_of(x: Tensor) -> Tensor | SparseMatrix:
    """Node features in the form that is faster to multiply: sparse below :data:`SPARSE_BELOW` density.

    Args:
        x: float [nodes, features], dense or sparse of any layout. O(nodes * features) once per graph.
    """
    block = BLOCK if x.size(0) >= 2 * BLOCK and not x.is_cuda else 0
    if x.layout != torch.strided:
        return SparseMatrix.of(x, block)
    if x.dim() == 2 and x.numel() and count(x != 0) < SPARSE_BELOW * x.numel():
        return SparseMatrix.of(x, block)
    return x


def linear(x: Tensor | SparseMatrix, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` for dense or sparse ``x`` [n, m] and ``weight`` [k, m].

    A stack of weights [models, k, m] gives the models' results side by side, [n, models * k]: of one ``x`` for all, or
    of theirs side by side, [n, models * m]; ``bias`` is [models * k] then.
    """
    if weight.dim() == 3:
        return _linears(x, weight, bias)
    if not isinstance(x, SparseMatrix):
        return torch.nn.functional.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight)
    return out if bias is None else out + bias


def _linears(x: Tensor | SparseMatrix, weight: Tensor, bias: Tensor | None) -> Tensor:
    models, _, width = weight.shape
    if x.shape[1] == width:
        return linear(x, weight.flatten(0, 1), bias)
    assert isinstance(x, Tensor)
    out = torch.bmm(x.view(-1, models, width).transpose(0, 1), weight.transpose(1, 2))  # [models, n, k]
    side_by_side = out.transpose(0, 1).reshape(x.size(0), -1)
    return side_by_side if bias is None else side_by_side.add_(bias)
