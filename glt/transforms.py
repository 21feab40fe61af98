"""PyG transforms: the graph half of a ticket in any ``T.Compose``, ``pre_transform`` or loader."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from glt.errors import GltError
from glt.registry import build
from glt.select import keep_count
from glt.sparsify import keep_arcs, remove_arcs


class Sparsify(BaseTransform):
    """Remove the edges with the lowest scores.

    Both arcs of a pair go together, self-loops stay, the number of edges removed is exact, and every per-arc
    attribute (``edge_attr``, ``edge_weight``, ...) loses the same rows. Nodes are untouched.

    Args:
        sparsity: fraction of edges removed, in [0, 1).
        scorer: a registered edge scorer (``glt list scorers``), its spec, or a callable of the graph.
        undirected: whether (u, v) and (v, u) are one edge.

    Raises:
        GltError: when built, a sparsity outside [0, 1) or an unknown scorer; when called, a graph without
            edges, with an index out of range, or directed but declared undirected.

    Cost: see :func:`glt.sparsify.keep_arcs`.
    """

    def __init__(self, sparsity: float, scorer: Any = "teddy", undirected: bool = True) -> None:
        keep_count(2**40, sparsity, "edges")
        self.sparsity = sparsity
        self.scorer = build("scorers", scorer)
        self.undirected = undirected

    def forward(self, data: Data) -> Data:
        """The graph with ``sparsity`` of its edges removed."""
        if not isinstance(data, Data) or data.get("edge_index") is None:
            raise GltError(f"{type(self).__name__} takes a Data with an edge_index, got {type(data).__name__}")
        return remove_arcs(data, keep_arcs(data, self.scorer, self.sparsity, self.undirected))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sparsity})"


class TeddySparsify(Sparsify):
    """:class:`Sparsify` by TEDDY's degree-based score (:class:`glt.scorers.teddy.Teddy`)."""

    def __init__(self, sparsity: float, undirected: bool = True) -> None:
        super().__init__(sparsity, "teddy", undirected)
