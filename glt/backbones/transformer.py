"""Graph transformer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import TransformerConv

from glt.arrays import csr
from glt.backbones.base import GNN, Dropout, Hidden, Layers, Norm, Residual, norms_of
from glt.backbones.gat import AttentionGraph
from glt.errors import GltError
from glt.registry import register
from glt.rows import Rows, linear_by_rows
from glt.soft import attention, padded
from glt.sparse import Pattern, SparseMatrix, linear, product


@register("backbones", "transformer")
class Transformer:
    """Graph transformer layers (Shi et al., "Masked Label Prediction", IJCAI 2021), PyG's ``TransformerConv``.

    Dot-product attention over incoming arcs, without self-loops: a node without arcs sees itself through ``root``
    alone. One head in the last layer, which has no gate. Four weight matrices a layer, three without ``root``.
    """

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
    norm: Norm = "none"
    heads: Annotated[int, Field(ge=1, description="attention heads that share the hidden units")] = 8
    attention_dropout: Annotated[float, Field(ge=0, lt=1, description="dropout of attention coefficients")] = 0.0
    root: Annotated[bool, Field(description="add a linear map of the node itself")] = True
    beta: Annotated[bool, Field(description="a gate between the node itself and what it attends to")] = False

    def __post_init__(self) -> None:
        """Heads share the hidden units evenly; a gate is between two things."""
        if self.hidden % self.heads:
            raise GltError(f"hidden = {self.hidden} is not a multiple of heads = {self.heads}")
        if self.beta and not self.root:
            raise GltError("beta = True weighs the node itself against the others: it needs root = True")

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        convs: list[nn.Module] = []
        for i in range(self.layers):
            last = i == self.layers - 1
            heads = 1 if last else self.heads
            width = out_channels if last else self.hidden // self.heads
            size = in_channels if i == 0 else self.hidden
            kind = TransformerConv if self.root else Rootless
            options = {"beta": self.beta and not last, "dropout": self.attention_dropout, "root_weight": self.root}
            convs.append(kind(size, width, heads, **options))
        norms = norms_of(self.norm, self.hidden, self.layers - 1)
        model = TransformerModel(convs, self.dropout, self.residual, norms)
        model.random_stem = self.attention_dropout > 0
        return model


class Rootless(TransformerConv):
    """Without the map of the node itself, which PyG makes and then does not use: weights to be pruned for nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.lin_skip

    def reset_parameters(self) -> None:
        """Of the maps that are used."""
        for layer in (self.lin_key, self.lin_query, self.lin_value):
            layer.reset_parameters()


class TransformerModel(GNN):
    """Attention is a sparse matrix per head; logits, products and gradients never gather a feature per arc."""

    def operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> AttentionGraph:
        """Sort the arcs by target and by source once."""
        return AttentionGraph(Pattern.of_arcs(edge_index, num_nodes))

    def soft_operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> Callable[[Tensor], AttentionGraph]:
        """The mask multiplies attention, which is then normalised again over what remains."""
        pattern = Pattern.of_arcs(edge_index, num_nodes)
        return lambda mask: AttentionGraph(pattern, padded(mask, pattern.order.numel()))

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: AttentionGraph) -> Tensor:
        """Attention over incoming arcs, as TransformerConv computes it."""
        arcs = graph.pattern

        def by_head(layer: Any) -> Tensor:
            out = linear(x, layer.weight, layer.bias).view(-1, conv.heads, conv.out_channels)
            return out.transpose(0, 1).contiguous()

        query, key, value = (by_head(layer) for layer in (conv.lin_query, conv.lin_key, conv.lin_value))
        logits = torch.stack([arcs.dots(q, k) for q, k in zip(query, key, strict=True)], dim=1)
        mask = None if graph.mask is None else graph.mask[arcs.order]
        alpha = attention(logits / math.sqrt(conv.out_channels), arcs.ptr, arcs.target, mask)
        alpha = F.dropout(alpha, conv.dropout, self.training)
        out = torch.cat([arcs.product(weights, v) for weights, v in zip(alpha.t(), value, strict=True)], dim=1)
        if not conv.root_weight:
            return out
        return gated(conv, out, linear(x, conv.lin_skip.weight, conv.lin_skip.bias))

    def by_rows(self, conv: Any, x: Tensor | SparseMatrix, graph: AttentionGraph) -> Rows:
        """The same; keys and values are kept beside the two layers' states."""
        arcs, width = graph.pattern, conv.out_channels
        key, value = (
            [
                linear(x, weight, bias)
                for weight, bias in zip(layer.weight.split(width), layer.bias.split(width), strict=True)
            ]
            for layer in (conv.lin_key, conv.lin_value)
        )
        query = linear_by_rows(x, conv.lin_query.weight, conv.lin_query.bias)
        own = linear_by_rows(x, conv.lin_skip.weight, conv.lin_skip.bias) if conv.root_weight else None

        def some(rows: slice) -> Tensor:
            ptr = arcs.ptr[rows.start : rows.stop + 1]
            entries = slice(int(ptr[0]), int(ptr[-1]))
            ptr, source = ptr - ptr[0], arcs.source[entries]

            def matrix(values: Tensor) -> Tensor:
                return csr(ptr, source, values.contiguous(), key[0].size(0))

            where = matrix(key[0].new_zeros(source.numel()))
            logits = torch.stack(
                [
                    torch.sparse.sampled_addmm(where, q.contiguous(), k.t(), beta=0.0).values()
                    for q, k in zip(query(rows).split(width, 1), key, strict=True)
                ],
                dim=1,
            )
            target = arcs.target[entries] - rows.start
            mask = None if graph.mask is None else graph.mask[arcs.order[entries]]
            alpha = attention(logits / math.sqrt(width), ptr, target, mask)
            heads = zip(alpha.t(), value, strict=True)
            out = torch.cat([product(matrix(weights), v) for weights, v in heads], dim=1)
            return out if own is None else gated(conv, out, own(rows))

        return some


def gated(conv: Any, out: Tensor, own: Tensor) -> Tensor:
    """What was attended to and the node itself, [n, width] each: their sum, or weighed by the gate."""
    if conv.lin_beta is None:
        return out + own
    beta: Tensor = conv.lin_beta(torch.cat([out, own, out - own], dim=-1)).sigmoid()
    return beta * own + (1 - beta) * out
