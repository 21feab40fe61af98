"""UGS: edges and weights by trained masks, round after round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from glt.constraints import freeze_weights, largest_weights
from glt.masks import SoftMasked, Sparsifying, check_soft_masks
from glt.problem import Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.select import keep_top
from glt.strategies.base import Taught
from glt.strategies.rounds import Spent, rounds
from glt.ticket import Ticket

ROUNDS = 1 << 16
"""More than any search has: seeds of the masks' noise do not meet."""


@register("strategies", "ugs")
class UGS(Taught):
    """Trained masks on edges and weights, pruned and rewound in rounds (Chen et al., "UGS", ICML 2021).

    In every round the model is trained from its initial weights together with a mask on every edge and weight that is
    left, under l1; the smallest masks go, exactly as many as the level says. A level's ticket is then trained from the
    initial weights on what remains.

    Unlike the released code, an undirected edge has one mask, masks have no weight decay and edge masks do not fall
    below 0 (there, training ends in NaN), dropout stays on, and counts are exact.
    """

    iterative: ClassVar[bool] = True

    edge_l1: Annotated[float, Field(ge=0, description="l1 on edge masks (paper: 1e-2 on Cora and CiteSeer, GCN)")] = (
        1e-2
    )
    weight_l1: Annotated[float, Field(ge=0, description="l1 on weight masks (paper: 1e-2 on Cora, GCN)")] = 1e-2
    mask_epochs: Annotated[int | None, Field(ge=1, description="epochs of mask training (default: the recipe's)")] = (
        None
    )

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Train masks, prune, rewind; and where a ticket is wanted, train it."""
        levels = list(levels)
        problem.check(levels)
        check_soft_masks(problem.model(), problem.data, problem.edges)
        edges, weights = problem.masks(start)
        loss, teacher = self.taught(problem)
        spent = Spent.before(start, problem.recipe.epochs, teacher)
        for step in rounds(levels, start):
            level = step.level
            soft = SoftMasked(
                problem.model(), problem.data, problem.edges, edges, weights, problem.seed * ROUNDS + level.number
            )
            masked = problem.fit(
                problem.data,
                model=soft,
                loss=loss,
                constrain=partial(Sparsifying, edge_l1=self.edge_l1, weight_l1=self.weight_l1),
                phase=f"masks {level.number}",
                epochs=self.mask_epochs,
            )
            spent += masked
            edge_scores, weight_scores = soft.scores(masked.state, edges)
            edges = keep_top(edge_scores, problem.edges.count(level.graph_sparsity), edges)
            weights = largest_weights(weight_scores, level.weight_sparsity, weights)
            if step.wanted:
                result = problem.fit(
                    problem.subgraph(edges),
                    loss=loss,
                    constrain=partial(freeze_weights, masks=weights),
                    phase=f"level {level.number}",
                )
                yield problem.ticket(level, edges, weights, result, [spent])
