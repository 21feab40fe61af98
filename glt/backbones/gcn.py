"""Graph convolutional network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops

from glt.backbones.base import GNN, Dropout, Hidden, Layers, Norm, Residual, norms_of, widths
from glt.registry import register
from glt.rows import Rows, sums_by_rows
from glt.sparse import SparseMatrix, WeightedArcs, linear


@register("backbones", "gcn")
class GCN:
    """Graph convolutional network (Kipf and Welling, ICLR 2017), PyG's ``GCNConv``."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
    norm: Norm = "none"

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        convs = [GCNConv(i, o) for i, o in widths(in_channels, self.hidden, out_channels, self.layers)]
        return GCNModel(convs, self.dropout, self.residual, norms_of(self.norm, self.hidden, self.layers - 1))


class GCNModel(GNN):
    """The symmetrically normalised adjacency with self-loops is the operator."""

    stacks = True

    def arcs(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """A + I."""
        if edge_weight is None:
            edge_weight = edge_index.new_ones(edge_index.size(1), dtype=dtype)
        arcs, weights = add_remaining_self_loops(edge_index, edge_weight.to(dtype), 1.0, num_nodes)
        return arcs, weights

    def coefficients(self, arcs: Tensor, weights: Tensor, num_nodes: int) -> Tensor:
        """D^-1/2 (A + I) D^-1/2."""
        values: Tensor = gcn_norm(arcs, weights, num_nodes, add_self_loops=False, dtype=weights.dtype)[1]
        return values

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: SparseMatrix | WeightedArcs) -> Tensor:
        """A (x W) + b."""
        return (graph @ linear(x, conv.lin.weight)).add_(conv.bias)

    def by_rows(self, conv: Any, x: Any, graph: SparseMatrix | WeightedArcs) -> Rows | None:
        """A (x W) + b, or (A x) W + b."""
        sums = sums_by_rows(graph, x, conv.lin.weight)
        return lambda rows: sums(rows).add_(conv.bias)

    def plain(self, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """Edge weights enter the normalisation, as in PyG."""
        return conv(x, edge_index, None if edge_weight is None else edge_weight.to(x.dtype))
