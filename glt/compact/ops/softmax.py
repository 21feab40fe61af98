"""Softmax over the incoming arcs of every node, and what steps that use it share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.utils import softmax

from glt.compact.graphs import Csr, Prepared


def softmax_over(graph: Prepared, arcs: Csr, logits: Tensor) -> Tensor:
    """Softmax of ``logits`` [arcs, k] over the arcs into each node."""
    if not graph.plain:
        return softmax(logits, ptr=arcs.ptr)
    place = arcs.target.unsqueeze(1).expand_as(logits)  # in operators that every exporter has
    top = logits.new_full((graph.rows, logits.size(1)), float("-inf")).scatter_reduce(0, place, logits, "amax")
    weights = (logits - top.gather(0, place)).exp()
    total = logits.new_zeros(graph.rows, logits.size(1)).scatter_add(0, place, weights)
    return weights / (total.gather(0, place) + 1e-16)


def by_heads(graph: Prepared, arcs: Csr, alpha: Tensor, h: Tensor, sizes: Sequence[int]) -> Tensor:
    """Messages of ``h`` [nodes, sum of ``sizes``], each head's times its own column of ``alpha`` [arcs, heads]."""
    parts = [
        graph.multiply(Csr(arcs.ptr, arcs.index, weights.contiguous(), arcs.columns), features.contiguous())
        for weights, features in zip(alpha.unbind(1), h.split(list(sizes), dim=1), strict=True)
    ]
    return torch.cat(parts, dim=1)


def sizes_of(kept: Tensor, sizes: Sequence[int]) -> list[int]:
    """Kept channels of each head."""
    return [int(part.sum()) for part in kept.split(list(sizes))]
