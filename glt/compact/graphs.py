"""The graph operators that a compact model multiplies with: said once, made anew for every graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_self_loops, remove_self_loops

from glt.arrays import csr, row_pointers
from glt.sparse import product

Multiply = Callable[["Csr", Tensor], Tensor]
How = Literal["gcn", "mean", "sum", "attention"]


@dataclass
class Csr:
    """A sparse matrix [rows, columns] in three plain tensors: row pointers, column indices, values."""

    ptr: Tensor
    index: Tensor
    values: Tensor
    columns: int

    @classmethod
    def of(cls, matrix: Tensor) -> Csr:
        """From a 2-D tensor, dense or sparse."""
        coo = matrix.detach().to_sparse_coo().coalesce()
        rows, columns = coo.indices()
        return cls(row_pointers(rows, coo.size(0)), columns.clone(), coo.values().clone(), coo.size(1))

    @cached_property
    def tensor(self) -> Tensor:
        """As torch's own CSR tensor, made once."""
        return csr(self.ptr, self.index, self.values, self.columns)

    @cached_property
    def target(self) -> Tensor:
        """The row of every entry, int64 [entries]."""
        marks = torch.zeros(self.index.size(0) + 1, dtype=torch.int64, device=self.ptr.device)
        ends = self.ptr[1:]
        return marks.scatter_add(0, ends, torch.ones_like(ends)).cumsum(0)[:-1]

    def to(self, device: torch.device) -> Csr:
        """On another device."""
        return Csr(self.ptr.to(device), self.index.to(device), self.values.to(device), self.columns)

    def renumbered(self, order: Tensor, columns: Tensor | None = None) -> Csr:
        """Row i is row ``order[i]`` of this one; column j becomes ``columns[j]``, or stays."""
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        target, index = place[self.target], self.index if columns is None else columns[self.index]
        sort = torch.argsort(target * self.columns + index, stable=True)
        ptr = row_pointers(target[sort], order.numel())
        return Csr(ptr, index[sort], self.values[sort], self.columns)

    def dense(self) -> Tensor:
        """As a dense matrix."""
        out = self.values.new_zeros(self.ptr.size(0) - 1, self.columns)
        return out.index_put_((self.target, self.index), self.values)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """(ptr, index, values)."""
        return self.ptr, self.index, self.values

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.ptr.device

    @property
    def entries(self) -> int:
        """Number of stored entries."""
        return self.index.numel()


def columns_of(x: Tensor | Csr) -> int:
    """Columns of a matrix, dense or sparse."""
    return x.columns if isinstance(x, Csr) else x.size(1)


def multiply(matrix: Csr, dense: Tensor) -> Tensor:
    """``matrix @ dense`` with torch's sparse kernels."""
    return product(matrix.tensor, dense)


ROWS = 256
"""Rows that :func:`multiply_rows` takes at once: few enough for the cache, many enough for wide instructions."""


def multiply_rows(matrix: Csr, dense: Tensor, multiply: Multiply = multiply) -> Tensor:
    """``dense @ matrix.T``, contiguous: on CPU some rows of ``dense`` at a time, whose transpose stays in the cache."""
    if dense.device.type != "cpu":
        return multiply(matrix, dense.t().contiguous()).t().contiguous()
    out = dense.new_empty(dense.size(0), matrix.ptr.size(0) - 1)
    for piece, into in zip(dense.split(ROWS), out.split(ROWS), strict=True):
        into.copy_(multiply(matrix, piece.t().contiguous()).t())
    return out


def multiply_plainly(matrix: Csr, dense: Tensor) -> Tensor:
    """The same by an operator on dense tensors alone, for ``torch.export``: a bag of weighted rows per row."""
    return torch.nn.functional.embedding_bag(
        matrix.index,
        dense.contiguous(),
        matrix.ptr,
        mode="sum",
        per_sample_weights=matrix.values,
        include_last_offset=True,
    )


def multiply_by_sums(matrix: Csr, dense: Tensor) -> Tensor:
    """The same by gathering and adding up, for ONNX. Memory: entries x columns of ``dense``."""
    messages = dense[matrix.index] * matrix.values.unsqueeze(1)
    out = dense.new_zeros(matrix.ptr.size(0) - 1, dense.size(1))
    return out.scatter_add(0, matrix.target.unsqueeze(1).expand_as(messages), messages)


@dataclass(frozen=True)
class Operator:
    """How a sparse operator follows from a graph.

    Attributes:
        how: ``gcn``: symmetrically normalised; ``mean``: divided by the number of incoming arcs; ``sum``: as they are;
            ``attention``: only where the entries are, one per arc.
        loops: ``gcn``: weight of the self-loops that are missing; ``sum``: added on the diagonal; ``attention``:
            self-loops are replaced by one per node; None adds none.
        weighted: whether the graph's ``edge_weight`` multiplies.
        scale: a number that multiplies all of it.
    """

    how: How
    loops: float | None = None
    weighted: bool = False
    scale: float = 1.0

    def of(self, data: Data) -> Csr:
        """The operator of ``data`` in the dtype of its features; entry (target, source). O(arcs log arcs)."""
        nodes, dtype = int(data.num_nodes or 0), data.x.dtype
        arcs, device = data.edge_index, data.edge_index.device
        given = data.edge_weight.to(dtype) if self.weighted else None
        values = torch.ones(arcs.size(1), dtype=dtype, device=device) if given is None else given
        if self.how == "gcn":
            arcs, values = gcn_norm(
                arcs, given, nodes, self.loops == 2.0, add_self_loops=self.loops is not None, dtype=dtype
            )
        elif self.how == "mean":
            count = torch.bincount(arcs[1], minlength=nodes).clamp(min=1).to(dtype)
            values = values / count[arcs[1]]
        elif self.how == "sum" and self.loops is not None:
            own = torch.arange(nodes, device=device)
            arcs = torch.cat([arcs, own.expand(2, -1)], dim=1)
            values = torch.cat([values, torch.full((nodes,), self.loops, dtype=dtype, device=device)])
        elif self.how == "attention":
            if self.loops is not None:
                arcs = add_self_loops(remove_self_loops(arcs)[0], num_nodes=nodes)[0]
            arcs = arcs[:, torch.argsort(arcs[1] * nodes + arcs[0], stable=True)]
            ones = torch.ones(arcs.size(1), dtype=dtype, device=device)
            return Csr(row_pointers(arcs[1], nodes), arcs[0].contiguous(), ones, nodes)
        if self.scale != 1:
            values = values * self.scale
        return Csr.of(torch.sparse_coo_tensor(arcs.flip(0), values, (nodes, nodes), check_invariants=False))


@dataclass
class Prepared:
    """What is constant about one graph.

    Attributes:
        rows: number of nodes.
        operators: one matrix per :class:`Operator` of the program.
        given: edge_index, edge_weight and edge_attr as the graph has them, for layers that were left alone.
        multiply: the kernel of sparse products.
        plain: whether only operators that can be exported may be used, and no look at the numbers.
    """

    rows: int
    operators: list[Csr]
    given: dict[str, Tensor] = field(default_factory=dict)
    multiply: Multiply = multiply
    plain: bool = False
