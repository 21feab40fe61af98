"""Every node's edges to hubs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.registry import register
from glt.simple import SimpleGraph, ranks_of_runs


@register("scorers", "local_degree")
class LocalDegree:
    """Edges to the neighbours of largest degree (Hamann et al., Social Network Analysis and Mining 6, 2016).

    Every node ranks its neighbours from 1 by degree, the largest first, among equals the lower id first; the score is
    the better of the two ends' 1 - log(rank) / log(d), where d is the degree of the end that ranks; 1 for d = 1. So
    the edges with a score of at least 1 - a are the d^a first of every node. Directions, repeated arcs and self-loops
    do not count.
    """

    symmetric: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs] in [0, 1]; the model is not used. O(arcs log arcs)."""
        graph = SimpleGraph.of(data)
        degree = graph.degree()
        node, neighbour = graph.both_ways()
        rank = 1 + ranks_of_runs(node, -degree[neighbour], neighbour)
        score = 1 - np.log(rank) / np.log(np.maximum(degree[node], 2))
        return graph.to_arcs(np.maximum(score[: graph.num_edges], score[graph.num_edges :]), data)
