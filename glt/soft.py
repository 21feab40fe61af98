"""Attention over arcs, and a soft mask over them: what it means for sums, and for attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import softmax

from glt.errors import GltError


def waits(x: Tensor) -> bool:
    """Whether who reads a number of ``x`` waits for a device."""
    return x.device.type != "cpu"


def attention(logits: Tensor, ptr: Tensor, target: Tensor) -> Tensor:
    """Softmax of ``logits`` over each target, float [arcs, heads], without waiting for a device.

    Args:
        logits: float [arcs, heads], sorted by target.
        ptr: int64 [targets + 1], where each target's arcs begin.
        target: int64 [arcs].
    """
    if waits(logits):  # who sums segments looks at the pointers first
        return softmax(logits, target, num_nodes=ptr.numel() - 1)
    return softmax(logits, ptr=ptr)


def padded(mask: Tensor, size: int) -> Tensor:
    """``mask`` [m] followed by ones, [size]: self-loops, which come last, are never masked."""
    if size < mask.numel():
        raise GltError(
            f"a layer sees {size} arcs where {mask.numel()} are masked: the model takes arcs away by itself (edge "
            "dropout?), and a soft mask cannot follow; build it without"
        )
    return torch.cat([mask, mask.new_ones(size - mask.numel())])


def renormalised(alpha: Tensor, mask: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """Attention over what a mask leaves: alpha * mask, divided by its sum over each target; 0 where nothing is left.

    Args:
        alpha: float [arcs, heads], normalised over each target.
        mask: float [arcs], at least 0.
        target: int64 [arcs].
        num_nodes: number of targets.
    """
    left = alpha * mask.unsqueeze(-1)
    total = left.new_zeros(num_nodes, left.size(1)).index_add(0, target, left)
    return left / total.masked_fill(total == 0, 1.0)[target]
