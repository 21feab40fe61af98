"""Inverse degrees, summed."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.neighbours import without_loops
from glt.registry import register


@register("scorers", "degree")
class Degree:
    """1/d_u + 1/d_v, a bound on effective resistance (Liu et al., "DSpar", TMLR 2023), the largest kept."""

    symmetric: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs]; the model is not used."""
        arcs = without_loops(data.edge_index)
        degree = torch.bincount(arcs[0], minlength=data.num_nodes)
        if not getattr(data, "undirected", True):
            degree = degree + torch.bincount(arcs[1], minlength=data.num_nodes)
        inverse = degree.clamp(min=1).double().reciprocal().float()
        return inverse[data.edge_index[0]] + inverse[data.edge_index[1]]
