"""DSpar: edges drawn by their degrees, to an exact number."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.hashing import Hash, hash_arcs, hash_pairs, mix, uniform
from glt.registry import register
from glt.scorers.degree import Degree


@register("scorers", "dspar")
class DSpar:
    r"""Random, in proportion to 1/d_u + 1/d_v, which bounds effective resistance (Liu et al., "DSpar", TMLR 2023).

    The paper draws with replacement; here the k largest keys are a sample of exactly k edges, for every k at once and
    nested. With :math:`p_e = 1/d_u + 1/d_v`, :math:`U_e` uniform in (0, 1) and :math:`T_e = -\log(U_e) / p_e`:

    * ``unique``: key :math:`-T_e`. The paper's way, until k different edges have come up. Give every edge a Poisson
      process of rate :math:`p_e`: the next event is of edge e with probability proportional to :math:`p_e`, whatever
      came before, so the events are draws with replacement. Edge e first comes up at its first event, at an
      exponential time, :math:`T_e`; so the k edges that come up first are those with the k smallest :math:`T_e`.
    * ``gumbel``: key :math:`\log p_e + G_e` with :math:`G_e = -\log(-\log U_e)`, the Gumbel-top-k of sampling without
      replacement (Kool, van Hoof and Welling, ICML 2019). It is :math:`-\log T_e`: the same edges as ``unique``; the
      two differ in the weights alone.
    * ``priority``: key :math:`p_e / U_e` (Duffield, Lund and Thorup, JACM 2007): another sample, with weights that
      are unbiased.
    """

    symmetric: ClassVar[bool] = True
    variant: Annotated[
        Literal["gumbel", "priority", "unique"], Field(description="how edges are drawn; see the class")
    ] = "gumbel"
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of the draw")] = 0

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs]; the model is not used. O(arcs)."""
        odds = Degree()(data).cpu().double().numpy()
        key = hash_arcs(data, self.seed)
        if self.variant == "priority":
            score = odds / uniform(key)
        else:
            score = -_arrival(odds, key) if self.variant == "unique" else -np.log(_arrival(odds, key))
        return torch.from_numpy(score.astype(np.float32)).to(data.edge_index.device)

    def weights(self, data: Data, keep: Tensor) -> Tensor:
        r"""Weights that stand in for the edges that went, where the variant defines them.

        ``priority``: :math:`\max(1, \tau / p_e)` with :math:`\tau` the largest key that was dropped; its expectation,
        dropped edges counted as 0, is exactly 1. ``unique``: :math:`c_e / (Q p_e / \sum p)`, as the paper weights its
        draws: :math:`c_e` is how often e came up in the Q draws, here 1 plus a Poisson number of events between
        :math:`T_e` and the last draw.

        Args:
            data: the graph that was scored.
            keep: bool [arcs], what the highest scores keep.

        Returns:
            float32 [arcs]; 1 on self-loops, 0 where ``keep`` is False.

        Raises:
            GltError: the variant is ``gumbel``.

        Cost: O(arcs log arcs).
        """
        if self.variant == "gumbel":
            raise GltError(
                "dspar's variant 'gumbel' defines no weights for the edges that stay: use 'priority' or 'unique'"
            )
        edges = PrunableEdges.of(data.edge_index, int(data.num_nodes), getattr(data, "undirected", True))
        kept = edges.pool(keep.float()).cpu().numpy() == 1
        odds = edges.pool(Degree()(data).double()).cpu().numpy()
        first, second = edges.pairs.cpu().numpy()
        key = hash_pairs(first, second, self.seed)
        if self.variant == "priority":
            weights = np.maximum(1, (odds / uniform(key))[~kept].max(initial=0) / odds)
        else:
            from scipy.stats import poisson

            arrival = _arrival(odds, key)
            events = odds * (arrival[kept].max(initial=0) - arrival).clip(min=0)
            counts = 1 + np.where(events > 0, poisson.ppf(uniform(mix(~key)), events), 0)
            weights = counts * odds.sum() / (counts[kept].sum() * odds)
        loops_last = torch.from_numpy(np.append(np.where(kept, weights, 0), 1).astype(np.float32))
        return loops_last.to(keep.device)[edges.edge_of_arc]


def _arrival(odds: NDArray[np.float64], key: Hash) -> NDArray[np.float64]:
    """When each edge comes up first, float64 [edges]."""
    return -np.log(uniform(key)) / odds
