"""Other ways to choose edges than the highest scores of the graph: inverse, blended, node by node."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.registry import build, checked
from glt.select import keep_top
from glt.simple import ranks_of_runs


@checked("selection")
class Selection:
    """How scores become an edge mask; the defaults keep the highest scores of the whole graph.

    Strategies score once and select at every level: masks of one selection are nested along sparsities. Edges are
    whole (both arcs), self-loops are none, and ties go to the lower edge id.

    * ``inverse``: the lowest scores stay instead; ties still go to the lower id.
    * ``blend``: the weighted mean of the *ranks* that several scorers give, so that their scales do not matter; equal
      scores share the mean of their ranks. ``inverse`` comes after the blend.
    * ``by = "node"``: every node ranks its own edges; the larger ``(rank - 1) / degree``, the later an edge goes into
      either end's share, and an edge goes in by the better of its ends. Where that is equal, the score decides. Keeping
      all edges below a fraction is keeping the best ``ceil(fraction * degree)`` of every node; the fraction is
      what makes the total exact to the edge.
    * ``per_node = k``: an edge stays if it is among the k best of either end. The sparsity follows from k, which may
      leave a hub with more than k edges: those that its neighbours chose.
    * ``per_node = k`` with ``wanted_by = "both"``: an edge stays if it is among the k best of both ends, so no node has
      more than k; it has fewer where its neighbours prefer others, and none if all of them do.
    """

    inverse: Annotated[bool, Field(description="keep the lowest scores instead of the highest")] = False
    by: Annotated[
        Literal["global", "node"], Field(description="compare edges with all others, or with those of their nodes")
    ] = "global"
    per_node: Annotated[
        int | None, Field(ge=1, description="instead of a sparsity: the k best edges of every node stay")
    ] = None
    wanted_by: Annotated[
        Literal["either", "both"],
        Field(description="with per_node: among the k best of either end, or of both, so that no node has more than k"),
    ] = "either"
    blend: Annotated[tuple[Any, ...], Field(description="further scorers whose ranks are averaged with its own")] = ()
    weights: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...],
        Field(description="weights of the scorer and of those in blend, in order; none: all equal"),
    ] = ()

    def __post_init__(self) -> None:
        """Further scorers have to exist, weights to be as many as scorers."""
        for scorer in self.blend:
            build("scorers", scorer)
        if self.weights and len(self.weights) != 1 + len(self.blend):
            raise GltError(
                f"weights = {self.weights!r} holds {len(self.weights)} numbers; needed is one for the scorer and one "
                f"for each in blend, {1 + len(self.blend)} in all"
            )
        if self.per_node is not None and self.by == "node":
            raise GltError(f"per_node = {self.per_node} and by = 'node' are two ways to choose: leave one out")

        if self.per_node is None and self.wanted_by == "both":
            raise GltError("wanted_by = 'both' goes with per_node, the most edges of a node: give it")

    @property
    def plain(self) -> bool:
        """Whether this is the default: the highest scores of the whole graph."""
        return self == Selection()

    def check(self, sparsity: float | None) -> None:
        """Raise GltError unless the number of edges that stay is given exactly once."""
        if self.per_node is not None and sparsity is not None:
            raise GltError(f"sparsity {sparsity!r} and per_node = {self.per_node} both say how much stays: give one")
        if self.per_node is None and sparsity is None:
            raise GltError("nothing says how much stays: give a sparsity in [0, 1), or per_node")

    def score(self, edges: PrunableEdges, scorer: Any, data: Data, model: nn.Module | None = None) -> Tensor:
        """What :meth:`keep` compares: the scorer's numbers, pooled over arcs, or the blend of ranks.

        Args:
            edges: of ``data.edge_index``.
            scorer: the scorer itself, as :func:`glt.registry.build` makes it.
            data: the graph.
            model: for scorers that need one.

        Returns:
            float [edges].

        Cost: that of the scorers, and O(edges log edges) for each if there is a blend.
        """
        scorers = [scorer, *(build("scorers", other) for other in self.blend)]
        scores = [edges.pool((one(data) if model is None else one(data, model)).detach()) for one in scorers]
        if any(bool(s.isnan().any()) for s in scores):
            raise GltError("scores hold NaN: check the features and the model that they were computed from")
        if not self.blend:
            return scores[0]
        from scipy.stats import rankdata

        weights = np.array(self.weights or (1.0,) * len(scores))
        ranks = np.stack([rankdata(s.cpu().numpy()) for s in scores])
        return torch.from_numpy((weights[:, None] * ranks).sum(0) / weights.sum()).to(scores[0].device)

    def keep(self, edges: PrunableEdges, scores: Tensor, sparsity: float | None) -> Tensor:
        """Which edges stay, bool [edges].

        Args:
            edges: the prunable units.
            scores: [edges], higher = more worth keeping; not modified.
            sparsity: fraction of edges removed, exact to the edge; None with ``per_node``.

        Raises:
            GltError: as :meth:`check` and :func:`glt.select.keep_count`; scores hold NaN.

        Cost: O(edges); by node O(edges log edges), on the CPU.
        """
        self.check(sparsity)
        if scores.is_floating_point() and bool(scores.isnan().any()):
            raise GltError("scores hold NaN: check the features and the model that they were computed from")
        scores = scores.detach().neg() if self.inverse else scores.detach()
        if self.per_node is not None:
            rank = _rank_at_ends(edges, scores)[0]
            worst = rank.min(0) if self.wanted_by == "either" else rank.max(0)
            return torch.from_numpy(worst < self.per_node).to(scores.device)
        keep = edges.count(sparsity)  # type: ignore[arg-type]
        if self.by == "node":
            rank, degree = _rank_at_ends(edges, scores)
            order = np.lexsort((-_numpy(scores), (rank / degree).min(0)))  # stable: ties go by id
            mask = np.zeros(order.size, dtype=bool)
            mask[order[:keep]] = True
            return torch.from_numpy(mask).to(scores.device)
        return keep_top(scores, keep)


def _rank_at_ends(edges: PrunableEdges, scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How many edges of each end are better, and how many there are: int64 [2, edges] each. All ranks differ."""
    ends = edges.pairs.cpu().numpy()
    ids = np.tile(np.arange(edges.num_edges), 2)
    rank = ranks_of_runs(ends.ravel(), np.tile(-_numpy(scores), 2), ids)
    return rank.reshape(2, -1), np.bincount(ends.ravel(), minlength=edges.num_nodes)[ends]


def _numpy(scores: Tensor) -> np.ndarray:
    return scores.cpu().double().numpy()
