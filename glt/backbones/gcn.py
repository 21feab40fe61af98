"""Graph convolutional network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from glt.backbones.base import GNN, Dropout, Hidden, Layers, Residual, widths
from glt.registry import register
from glt.sparse import SparseMatrix, linear


@register("backbones", "gcn")
class GCN:
    """Graph convolutional network (Kipf and Welling, ICLR 2017), PyG's ``GCNConv``."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        convs = [GCNConv(i, o) for i, o in widths(in_channels, self.hidden, out_channels, self.layers)]
        return GCNModel(convs, self.dropout, self.residual)


class GCNModel(GNN):
    """The symmetrically normalised adjacency with self-loops is the operator."""

    def operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> SparseMatrix:
        """D^-1/2 (A + I) D^-1/2."""
        arcs, values = gcn_norm(edge_index, edge_weight, num_nodes, dtype=dtype)
        return SparseMatrix.of_arcs(arcs, values, num_nodes)

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: SparseMatrix) -> Tensor:
        """A (x W) + b."""
        return (graph @ linear(x, conv.lin.weight)).add_(conv.bias)

    def plain(self, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """Edge weights enter the normalisation, as in PyG."""
        return conv(x, edge_index, edge_weight)
