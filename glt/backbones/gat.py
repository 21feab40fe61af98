"""Graph attention network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import GATConv
from torch_geometric.utils import add_self_loops, remove_self_loops

from glt.arrays import csr
from glt.backbones.base import GNN, Dropout, Hidden, Layers, Norm, Residual, interleaved, norms_of
from glt.errors import GltError
from glt.registry import register
from glt.rows import Rows
from glt.soft import attention, padded
from glt.sparse import Pattern, SparseMatrix, linear, product


@register("backbones", "gat")
class GAT:
    """Graph attention network (Velickovic et al., ICLR 2018), PyG's ``GATConv``; one head in the last layer."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
    norm: Norm = "none"
    heads: Annotated[int, Field(ge=1, description="attention heads that share the hidden units")] = 8
    attention_dropout: Annotated[float, Field(ge=0, lt=1, description="dropout of attention coefficients")] = 0.0

    def __post_init__(self) -> None:
        """Heads share the hidden units evenly."""
        if self.hidden % self.heads:
            raise GltError(f"hidden = {self.hidden} is not a multiple of heads = {self.heads}")

    def __call__(self, in_channels: int, out_channels: int) -> nn.Module:
        """A freshly initialised model."""
        convs: list[nn.Module] = []
        for i in range(self.layers):
            last = i == self.layers - 1
            heads = 1 if last else self.heads
            width = out_channels if last else self.hidden // self.heads
            size = in_channels if i == 0 else self.hidden
            convs.append(GATConv(size, width, heads, dropout=self.attention_dropout))
        model = GATModel(convs, self.dropout, self.residual, norms_of(self.norm, self.hidden, self.layers - 1))
        model.random_stem = self.attention_dropout > 0
        return model


@dataclass(frozen=True)
class AttentionGraph:
    """Arcs with self-loops, sorted, and a mask over them (in the order of the arcs) if there is one."""

    pattern: Pattern
    mask: Tensor | None = None


class GATModel(GNN):
    """Attention is a sparse matrix per head; its product and gradients never gather a feature per arc."""

    stacks = True

    def arcs(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """A + I."""
        arcs, _ = add_self_loops(remove_self_loops(edge_index)[0], num_nodes=num_nodes)
        return arcs, torch.ones(arcs.size(1), dtype=dtype, device=arcs.device)

    def operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> AttentionGraph:
        """Sort the arcs by target and by source once."""
        return AttentionGraph(Pattern.of_arcs(self.arcs(edge_index, edge_weight, num_nodes, dtype)[0], num_nodes))

    def side_by_side(
        self, graphs: Sequence[tuple[Tensor, Tensor | None]], models: int, num_nodes: int, dtype: torch.dtype
    ) -> AttentionGraph:
        """A graph for each model, shared or not: attention is the model's own."""
        every = graphs if len(graphs) == models else [graphs[0]] * models
        arcs = interleaved([self.arcs(*graph, num_nodes, dtype)[0] for graph in every])
        return AttentionGraph(Pattern.of_arcs(arcs, num_nodes * models))

    def soft_operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> Callable[[Tensor], AttentionGraph]:
        """The mask multiplies attention, which is then normalised again over what remains."""
        pattern = self.operator(edge_index, edge_weight, num_nodes, dtype).pattern
        return lambda mask: AttentionGraph(pattern, padded(mask, pattern.order.numel()))

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: AttentionGraph) -> Tensor:
        """Attention over incoming arcs, as GATConv computes it."""
        arcs = graph.pattern
        models = conv.att_src.size(0)  # 1, or those of a stack, whose nodes are interleaved
        h = linear(x, conv.lin.weight).view(-1, models, conv.heads, conv.out_channels)
        own, other = ((h * vectors).sum(-1).flatten(0, 1) for vectors in (conv.att_dst, conv.att_src))
        h = h.flatten(0, 1)
        logits = other[arcs.source] + own[arcs.target]
        mask = None if graph.mask is None else graph.mask[arcs.order]
        alpha = attention(F.leaky_relu(logits, conv.negative_slope), arcs.ptr, arcs.target, mask)
        alpha = F.dropout(alpha, conv.dropout, self.training)
        heads = zip(alpha.t(), h.transpose(0, 1).contiguous(), strict=True)
        out = torch.stack([arcs.product(weights, features) for weights, features in heads], dim=1)
        return (out.flatten(1) if conv.concat else out.mean(1)).view(x.shape[0], -1) + conv.bias

    def by_rows(self, conv: Any, x: Tensor | SparseMatrix, graph: AttentionGraph) -> Rows:
        """The same; features after the linear map are kept beside the two layers' states."""
        arcs, width = graph.pattern, conv.out_channels
        heads = [linear(x, weight) for weight in conv.lin.weight.split(width)]
        own, other = (
            torch.stack([h @ vector for h, vector in zip(heads, vectors[0], strict=True)], dim=1)
            for vectors in (conv.att_dst, conv.att_src)
        )

        def some(rows: slice) -> Tensor:
            ptr = arcs.ptr[rows.start : rows.stop + 1]
            entries = slice(int(ptr[0]), int(ptr[-1]))
            ptr, source, target = ptr - ptr[0], arcs.source[entries], arcs.target[entries] - rows.start
            logits = F.leaky_relu(other[source] + own[rows][target], conv.negative_slope)
            mask = None if graph.mask is None else graph.mask[arcs.order[entries]]
            alpha = attention(logits, ptr, target, mask)
            sums = [
                product(csr(ptr, source, weights.contiguous(), h.size(0)), h)
                for weights, h in zip(alpha.t(), heads, strict=True)
            ]
            return (torch.cat(sums, dim=1) if conv.concat else torch.stack(sums).mean(0)) + conv.bias

        return some
