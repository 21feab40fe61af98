"""PyG transforms: the graph half of a ticket in any ``T.Compose``, ``pre_transform`` or loader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from glt.errors import GltError
from glt.registry import build
from glt.reweight import check_reweights, reweight
from glt.select import keep_count
from glt.selection import Selection
from glt.sparsify import keep_arcs, remove_arcs


class Sparsify(BaseTransform):
    """Remove the edges with the lowest scores.

    Both arcs of a pair go together, self-loops stay, the number of edges removed is exact, and every per-arc
    attribute (``edge_attr``, ``edge_weight``, ...) loses the same rows. Nodes are untouched.

    Args:
        sparsity: fraction of edges removed, in [0, 1); None with a selection of the k best edges of every node.
        scorer: a registered edge scorer (``glt list scorers``), its spec, or a callable of the graph. One that needs
            a model gets it from ``functools.partial(glt.build("scorers", "gradient"), model=model)``.
        undirected: whether (u, v) and (v, u) are one edge.
        selection: options of :class:`glt.selection.Selection`, e.g. ``{"inverse": True}`` or ``{"per_node": 5}``.
        reweight: write ``edge_weight`` on the arcs that stay, to make up for those that went, where the scorer defines
            it (``{"name": "dspar", "variant": "priority"}``); see :func:`glt.reweight.reweight`.

    Raises:
        GltError: when built, a sparsity outside [0, 1), an unknown scorer or option, or ``reweight`` with a scorer
            or selection that defines no weights; when called, a graph without edges, with an index out of range, or
            directed but declared undirected.

    Cost: see :func:`glt.sparsify.keep_arcs`.
    """

    def __init__(
        self,
        sparsity: float | None,
        scorer: Any = "teddy",
        undirected: bool = True,
        selection: Selection | Mapping[str, Any] | None = None,
        reweight: bool = False,
    ) -> None:
        self.selection = selection if isinstance(selection, Selection) else Selection(**(selection or {}))
        if self.selection.per_node is None:
            keep_count(2**40, sparsity, "edges")  # type: ignore[arg-type]
        self.selection.check(sparsity)
        self.sparsity = sparsity
        self.scorer = build("scorers", scorer)
        self.undirected = undirected
        self.reweight = reweight
        if reweight:
            check_reweights(self.scorer)
            if not self.selection.plain:
                raise GltError("reweight goes with the highest scores of the whole graph: leave out selection")

    def forward(self, data: Data) -> Data:
        """The graph with ``sparsity`` of its edges removed."""
        if not isinstance(data, Data) or data.get("edge_index") is None:
            raise GltError(f"{type(self).__name__} takes a Data with an edge_index, got {type(data).__name__}")
        keep = keep_arcs(data, self.scorer, self.sparsity, self.undirected, self.selection)
        if self.reweight:
            data = reweight(data, self.scorer, keep, self.undirected)
        return remove_arcs(data, keep)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sparsity})"


class TeddySparsify(Sparsify):
    """:class:`Sparsify` by TEDDY's degree-based score (:class:`glt.scorers.teddy.Teddy`)."""

    def __init__(self, sparsity: float, undirected: bool = True) -> None:
        super().__init__(sparsity, "teddy", undirected)
