"""TEDDY's degree-based edge score."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.arrays import at_ends
from glt.neighbours import Neighbours, quantise, unit, without_loops
from glt.registry import register


@register("scorers", "teddy")
class Teddy:
    r"""Low where both ends are hubs among hubs (Seo, Yun and Yang, "TEDDY", ICLR 2024).

    .. math::
        g_v = \frac{1}{d_v} \sum_{u \in N(v)} d_u^{-1/2}, \qquad
        T_{uv} = \frac{g_u}{d_u} \cdot \frac{g_v}{d_v}

    Degrees are those of the graph given, without self-loops; a directed graph counts arcs of both directions.
    float32 [arcs]. The sums are exact and the node factors are multiplied once, so both arcs of an edge get the
    same bits, in any order of the arcs. O(arcs).
    """

    symmetric: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``; the model is not used."""
        edge_index, nodes = data.edge_index, data.num_nodes
        arcs = without_loops(edge_index)
        if not getattr(data, "undirected", True):
            arcs = torch.cat([arcs, arcs.flip(0)], dim=1)
        neighbours = Neighbours(arcs, nodes)
        degree = neighbours.degree().clamp_(min=1).double()
        largest = int(degree.max()) if nodes else 1
        total = neighbours.sum(quantise(degree.rsqrt(), largest))
        factor = total.double().div_(unit(largest)).div_(degree).div_(degree).float()
        return at_ends(factor, edge_index, "multiply")
