"""Deep graph convolutional network with initial residuals and identity mappings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import GCN2Conv
from torch_geometric.nn.dense.linear import Linear

from glt.backbones.base import Dropout, Hidden
from glt.backbones.dropout import dropout
from glt.backbones.gcn import GCNModel
from glt.registry import register
from glt.rows import Rows
from glt.sparse import SparseMatrix, WeightedArcs, linear

Decay = Annotated[
    float | None, Field(ge=0, description="weight decay of the convolutions' weights; none: that of train, as the rest")
]


@register("backbones", "gcnii")
class GCNII:
    """GCNII (Chen et al., "Simple and Deep Graph Convolutional Networks", ICML 2020), PyG's ``GCN2Conv``.

    A linear map to the hidden units, ``layers`` convolutions and a linear map to the classes. Layer l gives
    relu(((1 - beta) I + beta W) ((1 - alpha) A h + alpha h_0)) with beta = log(theta / l + 1). The defaults are the
    paper's for Cora; CiteSeer: 32 layers of 256, theta 0.6, dropout 0.7; PubMed: 16 layers of 256, theta 0.4, dropout
    0.5. Its dense part has weight decay 5e-4, which is ``train``'s. Unlike there, input features are not dropped out.
    """

    residual: ClassVar[bool] = True

    hidden: Hidden = 64
    layers: Annotated[int, Field(ge=1, description="number of convolutions, between two linear maps")] = 64
    dropout: Dropout = 0.6
    alpha: Annotated[float, Field(ge=0, le=1, description="share of the first representation in every layer")] = 0.1
    theta: Annotated[float, Field(gt=0, description="strength of the weights: log(theta / l + 1) in layer l")] = 0.5
    conv_weight_decay: Decay = 0.01

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        return GCNIIModel(self, in_channels, out_channels)


class GCNIIModel(GCNModel):
    """GCN's operator; the first linear map is the stem."""

    def __init__(self, options: GCNII, in_channels: int, out_channels: int) -> None:
        super().__init__(
            [GCN2Conv(options.hidden, options.alpha, options.theta, layer + 1) for layer in range(options.layers)],
            options.dropout,
            first=Linear(in_channels, options.hidden),
            last=Linear(options.hidden, out_channels),
        )
        self.conv_weight_decay = options.conv_weight_decay

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The convolutions' weights with a weight decay of their own, then all others."""
        decay = {} if self.conv_weight_decay is None else {"weight_decay": self.conv_weight_decay}
        return [
            {"params": list(self.convs.parameters()), **decay},
            {"params": [*self.first.parameters(), *self.last.parameters()]},
        ]

    def stem(self, x: Any, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """The first representation, h_0: float [nodes, hidden]."""
        return linear(x, self.first.weight, self.first.bias).relu_()

    def head(self, hidden: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """Convolutions that all see h_0, which is ``hidden``, then the last linear map."""
        x = hidden
        for i in range(len(self.convs)):
            x = dropout(x, self.dropout, self.training)
            x = self.convolved(i, (x, hidden), edge_index, edge_weight).relu_()
        logits: Tensor = self.last(dropout(x, self.dropout, self.training))
        return logits

    def fast(self, conv: Any, x: Any, graph: SparseMatrix | WeightedArcs) -> Tensor:
        """((1 - beta) I + beta W) ((1 - alpha) A h + alpha h_0)."""
        x, first = x
        mixed = (graph @ x).mul_(1 - conv.alpha).add_(first, alpha=conv.alpha)
        return torch.addmm(mixed, mixed, conv.weight1, beta=1 - conv.beta, alpha=conv.beta)

    def by_rows(self, conv: Any, x: Any, graph: SparseMatrix | WeightedArcs) -> Rows | None:
        """Not as GCN: h_0 and h are there whatever the chunk."""
        return None

    def plain(self, conv: Any, x: Any, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """Edge weights enter the normalisation, as in PyG."""
        return conv(*x, edge_index, None if edge_weight is None else edge_weight.to(x[0].dtype))
