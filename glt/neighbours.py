"""Degrees and sums over neighbours in exact arithmetic: the same bits for any order of the arcs, on any device."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from glt.arrays import row_pointers
from glt.pieces import pieces


def without_loops(edge_index: Tensor) -> Tensor:
    """``edge_index`` without self-loops; the tensor itself when it has none."""
    if edge_index.device.type == "cpu":
        source, target = edge_index.numpy()
        if not any((source[piece] == target[piece]).any() for piece in pieces(source.size)):
            return edge_index
    return edge_index[:, edge_index[0] != edge_index[1]]


class Neighbours:
    """The arcs of a graph, by source.

    Args:
        edge_index: int64 [2, arcs].
        num_nodes: number of nodes.

    Cost: O(arcs); ordered passes where the sources are sorted, as PyG's ``coalesce`` leaves them.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        self.source, self.target = edge_index
        self.num_nodes = num_nodes
        self.ptr = row_pointers(self.source, num_nodes) if self._sorted() else None

    def _sorted(self) -> bool:
        if self.source.device.type != "cpu":
            return False
        source = self.source.numpy()
        if not source.size or source[0] < 0 or source[-1] >= self.num_nodes:
            return False
        later, earlier = source[1:], source[:-1]
        return all((later[piece] >= earlier[piece]).all() for piece in pieces(later.size))

    def degree(self) -> Tensor:
        """Number of arcs that leave each node, int64 [nodes]."""
        if self.ptr is None:
            return torch.bincount(self.source, minlength=self.num_nodes)
        return self.ptr.diff()

    def sum(self, values: Tensor) -> Tensor:
        """For each node the sum of ``values`` over the targets of its arcs, int64 [nodes].

        Args:
            values: int64 [nodes]: integers, so that sums are exact and do not depend on the order of the arcs;
                see :func:`quantise`.
        """
        if self.ptr is None:
            return torch.zeros_like(values).index_add_(0, self.source, values[self.target])
        ptr, target, by_node = self.ptr.numpy(), self.target.numpy(), values.numpy()
        # pieces of about as many arcs, cut where a node ends
        starts = [piece.start for piece in pieces(target.size)]
        cuts = np.searchsorted(ptr, [*starts, target.size + 1]).clip(max=self.num_nodes)
        total = np.zeros(self.num_nodes, dtype=np.int64)
        for first, last in pairwise(cuts):
            rows = ptr[first : last + 1]
            running = np.zeros(rows[-1] - rows[0] + 1, dtype=np.int64)
            np.take(by_node, target[rows[0] : rows[-1]], out=running[1:], mode="clip")
            np.cumsum(running, out=running)  # modulo 2^64, which differences undo
            total[first:last] = np.diff(running[rows - rows[0]])
        return torch.from_numpy(total)


def quantise(values: Tensor, terms: int) -> Tensor:
    """Values in [0, 1] (float) as int64 multiples of 1 / :func:`unit`, of which ``terms`` add up without overflow."""
    return values.double().mul(unit(terms)).round_().long()


def unit(terms: int) -> float:
    """What 1.0 maps to in :func:`quantise`: the largest power of two up to 2^52 / terms."""
    return 2.0 ** (52 - math.ceil(math.log2(max(terms, 1))))


def is_coalesced_undirected(edge_index: Tensor, num_nodes: int) -> bool:
    """Whether arcs are in strictly ascending (source, target) order, and with every (u, v) comes (v, u).

    The second is told by a randomised fingerprint in one ordered pass: every pair {u, v} has a fixed 64-bit hash, which
    its arc with u > v adds to a sum modulo 2^64 and the one with u < v takes away. Without duplicates, the sum is zero
    if all pairs are complete, and otherwise with a probability of about 2^-64. Graphs on other devices than the CPU
    are not looked at: False.
    """
    if edge_index.device.type != "cpu":
        return False
    sources, targets = edge_index.numpy()
    multiplier = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, as Steele et al. 2014 mix bits
    last, balance = -1, 0
    for piece in pieces(sources.size):
        source, target = sources[piece], targets[piece]
        key = source * num_nodes
        key += target
        if key[0] <= last or not (key[1:] > key[:-1]).all():
            return False
        last = key[-1]
        low, high = np.minimum(source, target, out=key), np.maximum(source, target)
        low *= num_nodes
        low += high
        mixed, shifted = low.view(np.uint64), high.view(np.uint64)
        for shift in (32, 29):
            mixed *= multiplier
            mixed ^= np.right_shift(mixed, np.uint64(shift), out=shifted)
        low *= np.sign(np.subtract(source, target, out=high), out=high)
        balance += int(low.sum())
    return balance % 2**64 == 0
