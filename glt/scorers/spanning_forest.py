"""Spanning forests first."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.registry import build, register
from glt.simple import SimpleGraph


@register("scorers", "spanning_forest")
class SpanningForest:
    """Maximum spanning forests first, which keep connected what is (Nagamochi and Ibaraki, Algorithmica 7, 1992).

    Disjoint maximum spanning forests of a base score are taken one after the other, each from the edges that are left;
    edges of an earlier forest come before those of a later one, these before all others, and within each the base
    score decides. Where base scores are equal, the edge that is first by (min, max) joins the forest. With k forests
    kept, every cut of the graph keeps at least k edges, or all that it has. The score is a place in that order, equal
    where both forest and base score are. Directions do not count: both arcs of a pair score alike.
    """

    symmetric: ClassVar[bool] = True
    needs_model: ClassVar[bool] = False
    forests: Annotated[int, Field(ge=1, description="disjoint forests that are kept first")] = 1
    base: Annotated[Any, Field(description="edge scorer, a name or {name: ..., options}")] = "teddy"

    def __post_init__(self) -> None:
        """Build the base scorer now, so that a bad one is an error before anything runs."""
        object.__setattr__(self, "base", build("scorers", self.base))
        object.__setattr__(self, "needs_model", getattr(self.base, "needs_model", False))

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float64 [arcs] (places do not fit float32); the model goes to the base scorer.

        Cost: that of the base score, and O(forests * edges log edges).
        """
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        graph = SimpleGraph.of(data)
        base = graph.pool(self.base(data, model))
        best_first = np.argsort(-base, kind="stable")
        place = np.empty(graph.num_edges)
        place[best_first] = np.arange(1, graph.num_edges + 1)  # all different, so that every forest is the only one
        forest, left = np.zeros(graph.num_edges, dtype=np.int64), np.arange(graph.num_edges)
        for number in range(self.forests, 0, -1):
            arcs = (place[left], (graph.low[left], graph.high[left]))
            tree = minimum_spanning_tree(csr_array(arcs, shape=(graph.num_nodes, graph.num_nodes)))
            forest[best_first[tree.data.astype(np.int64) - 1]] = number
            left = np.flatnonzero(forest == 0)
            if not left.size:
                break
        values, rank = np.unique(base, return_inverse=True)
        return graph.to_arcs(forest * values.size + rank, data, torch.float64)
