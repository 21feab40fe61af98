"""Graph attention network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.nn import GATConv
from torch_geometric.utils import add_self_loops, remove_self_loops, softmax

from glt.arrays import csr, row_pointers
from glt.backbones.base import GNN, Dropout, Hidden, Layers, Residual
from glt.errors import GltError
from glt.registry import register
from glt.sparse import SparseMatrix, linear, product


@register("backbones", "gat")
class GAT:
    """Graph attention network (Velickovic et al., ICLR 2018), PyG's ``GATConv``; one head in the last layer."""

    hidden: Hidden = 512
    layers: Layers = 2
    dropout: Dropout = 0.5
    residual: Residual = False
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
        model = GATModel(convs, self.dropout, self.residual)
        model.random_stem = self.attention_dropout > 0
        return model


@dataclass(frozen=True)
class AttentionGraph:
    """Arcs with self-loops, by target (rows of a CSR matrix), and the way to the transpose."""

    ptr: Tensor
    source: Tensor
    target: Tensor
    t_ptr: Tensor
    t_target: Tensor
    t_order: Tensor


class GATModel(GNN):
    """Attention is a sparse matrix per head; its product and gradients never gather a feature per arc."""

    def operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> AttentionGraph:
        """Sort the arcs by target and by source once."""
        arcs, _ = add_self_loops(remove_self_loops(edge_index)[0], num_nodes=num_nodes)
        source, target = arcs[:, torch.argsort(arcs[1] * num_nodes + arcs[0])]
        order = torch.argsort(source, stable=True)
        return AttentionGraph(
            row_pointers(target, num_nodes),
            source,
            target,
            row_pointers(source[order], num_nodes),
            target[order],
            order,
        )

    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: AttentionGraph) -> Tensor:
        """Attention over incoming arcs, as GATConv computes it."""
        h = linear(x, conv.lin.weight).view(-1, conv.heads, conv.out_channels)
        logits = (h * conv.att_src).sum(-1)[graph.source] + (h * conv.att_dst).sum(-1)[graph.target]
        alpha = softmax(F.leaky_relu(logits, conv.negative_slope), ptr=graph.ptr)
        alpha = F.dropout(alpha, conv.dropout, self.training)
        out: Tensor = _Attend.apply(alpha.t(), h.transpose(0, 1), graph)
        out = out.transpose(0, 1)
        return (out.flatten(1) if conv.concat else out.mean(1)) + conv.bias


class _Attend(torch.autograd.Function):
    """Out[head, target] = sum of alpha[head, arc] * h[head, source] over the arcs into target."""

    @staticmethod
    def forward(ctx, alpha, h, graph):  # type: ignore[no-untyped-def]
        alpha, h = alpha.contiguous(), h.contiguous()
        ctx.save_for_backward(alpha, h)
        ctx.graph = graph
        return torch.stack([_by_head(graph.ptr, graph.source, a, x) for a, x in zip(alpha, h, strict=True)])

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        alpha, h = ctx.saved_tensors
        graph, nodes = ctx.graph, h.size(1)
        gradient = gradient.contiguous()
        backward = alpha[:, graph.t_order]
        d_h = torch.stack(
            [_by_head(graph.t_ptr, graph.t_target, a, g) for a, g in zip(backward, gradient, strict=True)]
        )
        pattern = csr(graph.ptr, graph.source, alpha[0], nodes)
        d_alpha = [
            torch.sparse.sampled_addmm(pattern, g, x.t(), beta=0.0).values() for g, x in zip(gradient, h, strict=True)
        ]
        return torch.stack(d_alpha), d_h, None


def _by_head(ptr: Tensor, index: Tensor, values: Tensor, x: Tensor) -> Tensor:
    return product(csr(ptr, index, values.contiguous(), x.size(0)), x)
