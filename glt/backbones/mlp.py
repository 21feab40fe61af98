"""The control without a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.dense.linear import Linear

from glt.backbones.base import GNN, Dropout, Hidden, Layers, Norm, Residual, norms_of, widths
from glt.registry import register
from glt.rows import Rows, linear_by_rows
from glt.sparse import SparseMatrix, linear


@register("backbones", "mlp")
class MLP:
    """Multi-layer perceptron that never sees an edge: a control, not a GNN."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
    norm: Norm = "none"

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        layers: list[nn.Module] = [
            Linear(i, o, weight_initializer="glorot", bias_initializer="zeros")
            for i, o in widths(in_channels, self.hidden, out_channels, self.layers)
        ]
        return MLPModel(layers, self.dropout, self.residual, norms_of(self.norm, self.hidden, self.layers - 1))


class MLPModel(GNN):
    """Arcs are accepted and not used."""

    stacks = True

    def arcs(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """None."""
        return edge_index[:, :0], edge_index.new_empty(0, dtype=dtype)

    def operator(self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype) -> tuple[()]:
        """No graph."""
        return ()

    def side_by_side(self, graphs: Any, models: int, num_nodes: int, dtype: torch.dtype) -> tuple[()]:
        """No graph."""
        return ()

    def soft_operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> Callable[[Tensor], tuple[()]]:
        """No graph."""
        return lambda mask: ()

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: tuple[()]) -> Tensor:
        """X W + b."""
        return linear(x, conv.weight, conv.bias)

    def by_rows(self, conv: Any, x: Tensor | SparseMatrix, graph: tuple[()]) -> Rows:
        """X W + b."""
        return linear_by_rows(x, conv.weight, conv.bias)

    def plain(self, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """X W + b."""
        return conv(x)
