"""Sums over neighbours in exact arithmetic: the same bits for any order of the arcs, on any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glt.arrays import csr, row_pointers, take, where


def without_loops(edge_index: Tensor) -> Tensor:
    """``edge_index`` without self-loops; the tensor itself when it has none."""
    loop = edge_index[0] == edge_index[1]
    return edge_index[:, ~loop] if bool(loop.any()) else edge_index


def neighbour_sum(edge_index: Tensor, values: Tensor) -> Tensor:
    """For each node the sum of ``values`` over the targets of its arcs.

    Args:
        edge_index: int64 [2, arcs].
        values: float64 [nodes] or [nodes, k].

    Returns:
        float64, the shape of ``values``. Exact, and so independent of the order of the arcs, when the values
        are integers and the sums stay below 2^53 (see :func:`quantise`).

    Cost: O(arcs); a CSR product (no copy of the arcs) where the sources are sorted, as PyG keeps them.
    """
    source, target = edge_index
    if values.device.type != "cpu" or not bool((source[1:] >= source[:-1]).all()):
        return torch.zeros_like(values).index_add_(0, source, take(values, target))
    nodes = values.size(0)
    return csr(row_pointers(source, nodes), target, values.new_ones(target.numel()), nodes) @ values


def quantise(values: Tensor, terms: int) -> Tensor:
    """Values in [0, 1] as integers (in float64) of which any sum of ``terms`` is exact, and their unit.

    Returns:
        float64 tensor of integers; divide sums by :func:`unit` of the same ``terms``.
    """
    return values.double().mul(unit(terms)).round_()


def unit(terms: int) -> float:
    """The power of two that 1.0 maps to in :func:`quantise`: 2^52 / terms, rounded down to a power of two."""
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
