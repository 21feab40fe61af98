"""Attention over arcs, and a soft mask over them: what it means for sums, and for attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import softmax

from glt.errors import GltError

ABOVE = 30.0
"""The optimiser squares slopes, and e^60 is a number."""


def waits(x: Tensor) -> bool:
    """Whether who reads a number of ``x`` waits for a device."""
    return x.device.type != "cpu"


def attention(logits: Tensor, ptr: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax of ``logits`` over each target, float [arcs, heads], without waiting for a device.

    Args:
        logits: float [arcs, heads], sorted by target.
        ptr: int64 [targets + 1], where each target's arcs begin.
        target: int64 [arcs].
        mask: float [arcs], as of :func:`masked_softmax`; None masks nothing.
    """
    if mask is not None:
        return masked_softmax(logits, mask, target, ptr.numel() - 1)
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


def masked_softmax(logits: Tensor, mask: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """Softmax over what a mask leaves: mask * e^logits over its sum for each target; 0 where nothing is left.

    Logits are taken from the highest of what is left, log(mask) + logits: by the highest of all, what is left may be
    10^-30 of it, and the slope of a quotient is one over its square. An arc that is out and lies above counts as
    e^:data:`ABOVE` of it, in its own slope alone.

    Args:
        logits: float [arcs, heads].
        mask: float [arcs], at least 0; below e^-:data:`ABOVE` it is as good as 0.
        target: int64 [arcs].
        num_nodes: number of targets.
    """
    with torch.no_grad():
        reach = logits + mask.log().unsqueeze(-1)
        highest = logits.new_full((num_nodes, logits.size(1)), -torch.inf)
        highest.scatter_reduce_(0, target.unsqueeze(-1).expand_as(reach), reach, "amax")
        highest.masked_fill_(highest == -torch.inf, 0.0)
    left = (logits - highest[target]).clamp(max=ABOVE).exp() * mask.unsqueeze(-1)
    total = left.new_zeros(num_nodes, left.size(1)).index_add(0, target, left)
    return left / total.masked_fill(total == 0, 1.0)[target]


def renormalised(alpha: Tensor, mask: Tensor, target: Tensor, num_nodes: int) -> Tensor:
    """Attention that is normalised already, over what a mask leaves; see :func:`masked_softmax`.

    What is e^-87 of all attention or less is lost in it: arcs that are left beside one so far above count alike.

    Args:
        alpha: float [arcs, heads], normalised over each target.
        mask: float [arcs], at least 0.
        target: int64 [arcs].
        num_nodes: number of targets.
    """
    return masked_softmax(alpha.clamp(min=torch.finfo(alpha.dtype).tiny).log(), mask, target, num_nodes)
