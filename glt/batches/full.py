"""No batches."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import Data

from glt.batches.base import Epochs
from glt.registry import register


@register("batches", "full")
class Full:
    """The whole graph at once: one step an epoch, as published."""

    def __call__(self, data: Data, seed: int, nodes: Tensor) -> Epochs:
        """The graph itself, once an epoch."""
        return lambda epoch: (data,)
