"""UGS: edges and weights by masks trained under l1."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from glt.masks import Sparsifying
from glt.registry import register
from glt.strategies.masked import Masked
from glt.train import Constrain


@register("strategies", "ugs")
class UGS(Masked):
    """Trained masks on edges and weights, pruned and rewound in rounds (Chen et al., "UGS", ICML 2021).

    In every round the model is trained from its initial weights together with a mask on every edge and weight that is
    left, under l1; the smallest masks go, exactly as many as the level says. A level's ticket is then trained from the
    initial weights on what remains.

    Unlike the released code, an undirected edge has one mask, masks have no weight decay and edge masks do not fall
    below 0 (there, training ends in NaN), dropout stays on, and counts are exact.
    """

    edge_l1: Annotated[float, Field(ge=0, description="l1 on edge masks (paper: 1e-2 on Cora and CiteSeer, GCN)")] = (
        1e-2
    )
    weight_l1: Annotated[float, Field(ge=0, description="l1 on weight masks (paper: 1e-2 on Cora, GCN)")] = 1e-2

    def constraint(self) -> Constrain:
        """l1 on every mask; edge masks at 0 or above."""
        return partial(Sparsifying, edge_l1=self.edge_l1, weight_l1=self.weight_l1)
