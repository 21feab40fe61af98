"""What every edge scorer is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch_geometric.data import Data


class EdgeScorer(Protocol):
    """One number per arc; higher = more worth keeping. Selecting is not its business.

    A scorer that gives both arcs of an edge the same bits may declare ``symmetric: ClassVar[bool] = True``;
    large graphs are then pruned without matching arcs into pairs. One that cannot do without a model declares
    ``needs_model: ClassVar[bool] = True``, and raises a GltError where it gets none. One that samples may define
    ``weights(data, keep)``; see :func:`glt.reweight.reweight`.
    """

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data`` (``edge_index`` int64 [2, arcs]): float [arcs], finite, deterministic."""
        ...
