"""The simple undirected graph under any arcs: no directions, no loops, every pair once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from glt.edges import pair_up

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SimpleGraph:
    """Pairs of different neighbours, in numpy, in an order that does not depend on that of the arcs.

    Attributes:
        low: int64 [edges], the smaller end of every pair; pairs are sorted by (low, high).
        high: int64 [edges], the larger end.
        edge_of_arc: int64 [arcs], the pair of each arc, -1 for self-loops.
        num_nodes: number of nodes.
    """

    low: Ints
    high: Ints
    edge_of_arc: Ints
    num_nodes: int

    @classmethod
    def of(cls, data: Data) -> SimpleGraph:
        """From ``data.edge_index``, int64 [2, arcs]. O(arcs log arcs), on the CPU."""
        nodes = int(data.num_nodes or 0)
        edge_of_arc, (low, high) = pair_up(data.edge_index.cpu(), nodes)
        return cls(low.numpy(), high.numpy(), edge_of_arc.numpy(), nodes)

    @property
    def num_edges(self) -> int:
        """Number of pairs."""
        return self.low.size

    def degree(self) -> Ints:
        """Number of neighbours of each node, int64 [nodes]."""
        return np.bincount(self.low, minlength=self.num_nodes) + np.bincount(self.high, minlength=self.num_nodes)

    def both_ways(self) -> tuple[Ints, Ints]:
        """(node, neighbour), int64 [2 * edges] each: first every pair as (low, high), then as (high, low)."""
        return np.concatenate([self.low, self.high]), np.concatenate([self.high, self.low])

    def pool(self, arc_values: Tensor) -> NDArray[np.float64]:
        """The mean of ``arc_values`` [arcs] over the arcs of each pair, float64 [edges]."""
        proper = self.edge_of_arc >= 0
        edge, values = self.edge_of_arc[proper], arc_values.detach().cpu().double().numpy()[proper]
        total = np.bincount(edge, values, minlength=self.num_edges)
        return total / np.bincount(edge, minlength=self.num_edges)

    def to_arcs(self, values: NDArray[Any], data: Data, dtype: torch.dtype = torch.float32) -> Tensor:
        """``values`` [edges] on the arcs of ``data``: [arcs] on its device; 0 for self-loops."""
        loops_last = np.append(values, 0)  # index -1, the self-loops, finds 0
        return torch.from_numpy(loops_last[self.edge_of_arc]).to(data.edge_index.device, dtype)


def ranks_of_runs(group: Ints, *keys: NDArray[Any]) -> Ints:
    """Competition ranks inside groups: 0 plus how many items of the group come strictly before, int64 [items].

    Args:
        group: int64 [items].
        keys: [items] each, what the items of a group are ordered by, ascending, the first key first.

    Cost: O(items log items).
    """
    order = np.lexsort((*keys[::-1], group))
    position = np.arange(order.size)
    group_starts = np.ones(order.size, dtype=bool)
    group_starts[1:] = group[order][1:] != group[order][:-1]
    run_starts = group_starts.copy()
    for key in keys:
        run_starts[1:] |= key[order][1:] != key[order][:-1]
    latest = [np.maximum.accumulate(np.where(starts, position, 0)) for starts in (run_starts, group_starts)]
    ranks = np.empty_like(position)
    ranks[order] = latest[0] - latest[1]
    return ranks
