"""How much of their neighbourhoods two ends share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch_geometric.data import Data

from glt.registry import register
from glt.simple import SimpleGraph
from glt.triangles import common_neighbours


@register("scorers", "jaccard")
class Jaccard:
    """Common neighbours of the two ends over all their neighbours (Satuluri et al., "L-Spar", SIGMOD 2011).

    Intersection over union, counted exactly where the paper estimates it by hashing; 0 for an edge without triangles.
    Directions, repeated arcs and self-loops do not count.
    """

    symmetric: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs] in [0, 1); the model is not used.

        Cost: that of the triangles, O(arcs^1.5) at worst; see :func:`glt.triangles.common_neighbours`.
        """
        graph = SimpleGraph.of(data)
        degree, shared = graph.degree(), common_neighbours(graph)
        either = degree[graph.low] + degree[graph.high] - shared  # at least 2: the ends are neighbours
        return graph.to_arcs(shared / either, data)
