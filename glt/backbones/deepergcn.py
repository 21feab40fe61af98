"""Deep residual GCN with generalised aggregation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import GENConv
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.utils import softmax

from glt.backbones.base import GNN, Dropout, Hidden, averaging, norms_of
from glt.backbones.dropout import dropout
from glt.registry import register
from glt.soft import masked_softmax, padded, waits
from glt.sparse import SparseMatrix, WeightedArcs, linear

SAFE = 120.0
"""Softmax logits of a channel that lie closer together than this are exponentiated without under- or overflow."""
GATHERED = 2**23
"""Arcs times units up to which a device other than the CPU goes arc by arc at once; not yet measured.

Looking whether logits lie close together waits for the device, which small graphs feel and CUDA graphs cannot record.
"""


@register("backbones", "deepergcn")
class DeeperGCN:
    """ResGCN-28 (Li et al., DeepGCNs, ICCV 2019; "DeeperGCN", arXiv 2006.07739), PyG's ``GENConv``.

    A linear map to the hidden units, a convolution, ``layers`` - 1 blocks h + conv(dropout(relu(norm(h)))) ("res+"),
    norm, ReLU, dropout and a linear map to the classes. A convolution is an MLP of h_i + the aggregated relu(h_j) + eps
    of its neighbours. The defaults are those for ogbn-arxiv, which UGS (Chen et al., ICML 2021) prunes.

    Softmax aggregation is a ratio of two sparse products here, since a message depends on its source alone: no feature
    is kept per arc (on a GPU up to :data:`GATHERED` are, of small graphs). Training keeps 7 floats per node, hidden
    unit and layer, 9 where softmax is differentiated: with 169,343 nodes (ogbn-arxiv), 128 units and 28 layers 17 and
    22 GB, most of the memory it takes. PyG's own layers (a model called with a plain ``edge_index``) keep 2 and 5 per
    arc and unit besides: over 60 and 160 GB with ogbn-arxiv's 2.3 million arcs. A softmax layer takes two products of
    the adjacency with a matrix of the layer's width forward, and one or two backward.
    """

    residual: ClassVar[bool] = True

    hidden: Hidden = 128
    layers: Annotated[int, Field(ge=1, description="number of convolutions, between two linear maps")] = 28
    dropout: Dropout = 0.5
    norm: Annotated[Literal["batch", "layer"], Field(description="normalisation before every ReLU")] = "batch"
    aggregation: Annotated[
        Literal["softmax_sg", "softmax", "softmax_t", "mean", "add"],
        Field(description="softmax over neighbours by channel (sg: not differentiated, t: learns t), mean or sum"),
    ] = "softmax_sg"
    t: Annotated[float, Field(gt=0, description="inverse temperature of softmax")] = 0.1
    mlp_layers: Annotated[int, Field(ge=1, description="linear maps in each convolution's MLP, twice as wide")] = 1

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        learns = self.aggregation == "softmax_t"
        how = ("softmax" if learns else self.aggregation, self.t, learns)
        mlp: dict[str, Any] = {"norm": self.norm, "num_layers": self.mlp_layers, "bias": True}
        convs = [GENConv(self.hidden, self.hidden, *how, **mlp) for _ in range(self.layers)]
        return DeeperGCNModel(
            convs,
            self.dropout,
            norms=norms_of(self.norm, self.hidden, self.layers),
            first=Linear(in_channels, self.hidden),
            last=Linear(self.hidden, out_channels),
        )


@dataclass(frozen=True)
class Arcs:
    """The arcs of a graph without self-loops added, a mask over them if there is one, and the operator of both."""

    edge_index: Tensor
    mask: Tensor | None
    matrix: SparseMatrix | WeightedArcs


class DeeperGCNModel(GNN):
    """The adjacency is the operator, its rows averaged for the mean; the first linear map is the stem."""

    def coefficients(self, arcs: Tensor, weights: Tensor, num_nodes: int) -> Tensor:
        """A, or D^-1 A for the mean."""
        return averaging(arcs, weights, num_nodes) if self.convs[0].aggr == "mean" else weights

    def operator(self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype) -> Arcs:
        """The sparse matrix, beside its arcs."""
        return Arcs(edge_index, None, super().operator(edge_index, edge_weight, num_nodes, dtype))

    def soft_operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> Callable[[Tensor], Arcs]:
        """The mask multiplies both products of a softmax, which is thus normalised again over what remains."""
        masked = super().soft_operator(edge_index, edge_weight, num_nodes, dtype)
        return lambda mask: Arcs(edge_index, padded(mask, edge_index.size(1)), masked(mask))

    def stem(self, x: Any, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """The first linear map, float [nodes, hidden]."""
        return linear(x, self.first.weight, self.first.bias)

    def head(self, hidden: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """A convolution, residual blocks, and the last linear map."""
        x = self.convolved(0, hidden, edge_index, edge_weight)
        for i in range(1, len(self.convs)):
            x = x + self.convolved(i, self._activated(i - 1, x), edge_index, edge_weight)
        logits: Tensor = self.last(self._activated(-1, x))
        return logits

    def _activated(self, i: int, x: Tensor) -> Tensor:
        return dropout(self.norms[i](x).relu(), self.dropout, self.training)

    def fast(self, conv: Any, x: Any, graph: Arcs) -> Tensor:
        """MLP(h + aggregated messages), as GENConv computes it."""
        messages = x.relu() + conv.eps
        if conv.aggr == "softmax":
            gathered = softmax_of(messages, conv.aggr_module.t, conv.aggr_module.semi_grad, graph)
        else:
            gathered = graph.matrix @ messages
        out: Tensor = conv.mlp(gathered + x)
        return out


def softmax_of(messages: Tensor, t: Tensor | float, semi_grad: bool, graph: Arcs) -> Tensor:
    """For every node the softmax-weighted mean of its neighbours' messages; 0 where there are none.

    sum_j e_j m_j / sum_j e_j with e = exp(t m): two products with the adjacency, whatever shift the logits of a channel
    are given. Where they lie so far apart that no shift will do, arc by arc; and where asking for that costs more.

    Args:
        messages: float [nodes, k], what each node sends, channel by channel.
        t: inverse temperature, a number or float [1].
        semi_grad: treat the weights of the mean as constants.
        graph: the arcs, and their mask.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and not semi_grad):
        logits = t * messages
        low, high = logits.detach().aminmax(dim=0)
        near = _asks(messages, graph.edge_index.size(1)) and bool((high - low).max() < SAFE)
        if near:
            weights = (logits - (low + high) / 2).exp()
    if near:
        total = graph.matrix @ weights
        return (graph.matrix @ (weights * messages)) / total.masked_fill(total == 0, 1.0)
    source, target = graph.edge_index
    if graph.mask is None:
        alpha = softmax(logits[source], target, num_nodes=messages.size(0))
    else:
        alpha = masked_softmax(logits[source], graph.mask, target, messages.size(0))
    return torch.zeros_like(messages).index_add(0, target, alpha * messages[source])


def _asks(messages: Tensor, arcs: int) -> bool:
    """Whether to look how far logits lie apart, rather than to go arc by arc anyway."""
    return not waits(messages) or arcs * messages.size(1) > GATHERED
