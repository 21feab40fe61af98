"""Inverse degrees, summed."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch_geometric.data import Data

from glt.arrays import at_ends
from glt.neighbours import Neighbours, without_loops
from glt.registry import register


@register("scorers", "degree")
class Degree:
    """1/d_u + 1/d_v, a bound on effective resistance (Liu et al., "DSpar", TMLR 2023), the largest kept."""

    symmetric: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs]; the model is not used."""
        arcs = without_loops(data.edge_index)
        degree = Neighbours(arcs, data.num_nodes).degree()
        if not getattr(data, "undirected", True):
            degree = degree + Neighbours(arcs.flip(0), data.num_nodes).degree()
        inverse = degree.clamp(min=1).double().reciprocal().float()
        return at_ends(inverse, data.edge_index, "add")
