"""GraphSAGE."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from glt.backbones.base import GNN, Dropout, Hidden, Layers, Norm, Residual, averaging, norms_of, widths
from glt.registry import register
from glt.rows import Rows, linear_by_rows, sums_by_rows
from glt.sparse import SparseMatrix, WeightedArcs, linear


@register("backbones", "sage")
class SAGE:
    """GraphSAGE with mean aggregation (Hamilton et al., NeurIPS 2017), PyG's ``SAGEConv``."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
    norm: Norm = "none"

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        convs = [SAGEConv(i, o) for i, o in widths(in_channels, self.hidden, out_channels, self.layers)]
        return SAGEModel(convs, self.dropout, self.residual, norms_of(self.norm, self.hidden, self.layers - 1))


class SAGEModel(GNN):
    """The row-stochastic adjacency is the operator."""

    stacks = True

    def coefficients(self, arcs: Tensor, weights: Tensor, num_nodes: int) -> Tensor:
        """D^-1 A: the mean over incoming arcs, zero for a node without any."""
        return averaging(arcs, weights, num_nodes)

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: SparseMatrix | WeightedArcs) -> Tensor:
        """A (x W_l) + x W_r + b: PyG aggregates first, on inputs that are wider and were sparse."""
        own = linear(x, conv.lin_r.weight, conv.lin_l.bias)
        return (graph @ linear(x, conv.lin_l.weight)).add_(own)

    def by_rows(self, conv: Any, x: Tensor | SparseMatrix, graph: SparseMatrix | WeightedArcs) -> Rows:
        """The same."""
        sums = sums_by_rows(graph, x, conv.lin_l.weight)
        own = linear_by_rows(x, conv.lin_r.weight, conv.lin_l.bias)
        return lambda rows: sums(rows).add_(own(rows))
