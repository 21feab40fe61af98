"""A soft mask over arcs: what it means for sums, and for attention."""

from __future__ import annotations

import torch
from torch import Tensor

from glt.errors import GltError


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
