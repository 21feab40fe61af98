"""Sums over neighbours in exact arithmetic: the same bits for any order of the arcs, on any device."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from glt.arrays import row_pointers, take, where


def without_loops(edge_index: Tensor) -> Tensor:
    """``edge_index`` without self-loops; the tensor itself when it has none."""
    loop = edge_index[0] == edge_index[1]
    return edge_index[:, ~loop] if bool(loop.any()) else edge_index


def neighbour_sum(edge_index: Tensor, values: Tensor) -> Tensor:
    """For each node the sum of ``values`` over the targets of its arcs.

    Args:
        edge_index: int64 [2, arcs].
        values: int64 [nodes]: integers, so that sums are exact and do not depend on the order of the arcs; see
            :func:`quantise`.

    Returns:
        int64 [nodes].

    Cost: O(arcs); one ordered pass where the sources are sorted, as PyG's ``coalesce`` leaves them.
    """
    source, target = edge_index
    gathered = take(values, target)
    if values.device.type != "cpu" or not bool((source[1:] >= source[:-1]).all()):
        return torch.zeros_like(values).index_add_(0, source, gathered)
    running = gathered.numpy()
    np.cumsum(running, out=running)  # modulo 2^64, which differences undo
    ends = row_pointers(source, values.numel())[1:]
    total = torch.where(ends > 0, take(gathered, (ends - 1).clamp_(min=0)), 0) if gathered.numel() else ends
    return torch.diff(total, prepend=total.new_zeros(1))


def quantise(values: Tensor, terms: int) -> Tensor:
    """Values in [0, 1] (float) as int64 multiples of 1 / :func:`unit`, of which ``terms`` add up without overflow."""
    return values.double().mul(unit(terms)).round_().long()


def unit(terms: int) -> float:
    """What 1.0 maps to in :func:`quantise`: the largest power of two up to 2^52 / terms."""
    return 2.0 ** (52 - math.ceil(math.log2(max(terms, 1))))


def is_symmetric(edge_index: Tensor, num_nodes: int) -> bool:
    """Whether every arc (u, v) comes as often as (v, u): a randomised fingerprint in O(arcs).

    Every node gets a fixed random 62-bit number r. The sum of r[u] * r[v] modulo 2^64 over the arcs with u < v
    equals that over the arcs with u > v if the graph is symmetric, and otherwise but with a probability of
    about 2^-60 does not. The numbers are fixed, so the answer is deterministic.
    """
    generator = torch.Generator().manual_seed(0x6C74)
    number = torch.randint(2**62, (num_nodes,), generator=generator).to(edge_index.device)
    source, target = edge_index
    product = take(number, source).mul_(take(number, target))
    up = take(product, where(source < target)).sum()
    loops = take(product, where(source == target)).sum()
    return bool(2 * up + loops == product.sum())
