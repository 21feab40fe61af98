"""Graph isomorphism network."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import GINConv
from torch_geometric.nn.dense.linear import Linear

from glt.backbones.base import GNN, Dropout, Hidden, Layers, Norm, Residual, norms_of, widths
from glt.registry import register
from glt.rows import Rows, sums_by_rows
from glt.sparse import SparseMatrix, WeightedArcs, linear


@register("backbones", "gin")
class GIN:
    """Graph isomorphism network (Xu et al., ICLR 2019), PyG's ``GINConv`` with eps = 0."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
    norm: Norm = "none"
    mlp_layers: Annotated[int, Field(ge=1, description="linear maps in each layer's MLP (UGS and TEDDY: 1)")] = 2

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        convs = [GINConv(self._mlp(i, o)) for i, o in widths(in_channels, self.hidden, out_channels, self.layers)]
        return GINModel(convs, self.dropout, self.residual, norms_of(self.norm, self.hidden, self.layers - 1))

    def _mlp(self, in_channels: int, out_channels: int) -> nn.Sequential:
        parts: list[nn.Module] = [Linear(in_channels, out_channels)]
        for _ in range(self.mlp_layers - 1):
            parts += [nn.ReLU(), Linear(out_channels, out_channels)]
        return nn.Sequential(*parts)


class GINModel(GNN):
    """The adjacency with (1 + eps) on the diagonal is the operator."""

    stacks = True

    def arcs(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """A + (1 + eps) I; the layers share one eps, which is not trained."""
        eps = float(self.convs[0].eps)  # type: ignore[arg-type]
        loops = torch.arange(num_nodes, device=edge_index.device).expand(2, -1)
        values = torch.ones(edge_index.size(1) + num_nodes, dtype=dtype, device=edge_index.device)
        values[edge_index.size(1) :] = 1.0 + eps
        return torch.cat([edge_index, loops], dim=1), values

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: SparseMatrix | WeightedArcs) -> Tensor:
        """A (x W_1) + b_1, then the rest of the MLP: PyG aggregates the wider, once sparse inputs."""
        return self._rest(conv, graph @ linear(x, conv.nn[0].weight))

    def by_rows(self, conv: Any, x: Tensor | SparseMatrix, graph: SparseMatrix | WeightedArcs) -> Rows:
        """The same."""
        sums = sums_by_rows(graph, x, conv.nn[0].weight)
        return lambda rows: self._rest(conv, sums(rows))

    def _rest(self, conv: Any, out: Tensor) -> Tensor:
        first, *rest = conv.nn
        out = out.add_(first.bias)
        for layer in rest:
            out = out.relu_() if isinstance(layer, nn.ReLU) else linear(out, layer.weight, layer.bias)
        return out
