"""Train, prune once, rewind or fine-tune."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from glt.constraints import Masks
from glt.problem import Cost, Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.strategies.base import LevelByLevel
from glt.strategies.weights import PrunesWeights, RewindTo, rewound
from glt.ticket import Ticket
from glt.train import FitResult
from glt.training import Training


@register("strategies", "oneshot")
class OneShotStrategy(LevelByLevel, PrunesWeights):
    """Prune once to the level by any scorer and any pruner, then train what is left (Liu et al., ICLR 2019).

    ``at`` says whether the pruner looks at the dense model's trained weights or at the initial ones (SNIP, GraSP,
    SynFlow: pruning before training).
    """

    at: Annotated[Literal["trained", "initial"], Field(description="which weights the pruner scores")] = "trained"
    rewind_to: RewindTo = 0.0

    def trainings(self, problem: Problem, levels: Iterable[Level]) -> Iterator[Training]:
        """Each level by itself, from the dense model or from the initial weights."""
        levels = list(levels)
        self.check(problem, levels)
        edge_scores, looked = self.edge_scores(problem)
        loss, teacher = self.taught(problem)
        state, spent = problem.initial, teacher or looked
        if self.at == "trained":
            state, spent = problem.dense.state, [problem.dense]
        for level in levels:
            edges = self.keep_edges(problem, edge_scores, level)
            on_edges = self.edge_weights(problem, edges)
            graph = problem.subgraph(edges, on_edges)
            weights = self.prune(problem, graph, state, level.weight_sparsity, loss=loss)
            begin, early = rewound(problem, self.rewind_to, state)
            made = partial(_ticket, problem, level, edges, weights, [*spent, *early], begin, on_edges)
            yield Training(problem, level, graph, problem.model_at(begin), loss, None, made, masks=weights)


def _ticket(
    problem: Problem,
    level: Level,
    edges: Tensor,
    weights: Masks,
    spent: list[Cost],
    begin: Mapping[str, Tensor],
    on_edges: Tensor | None,
    result: FitResult,
) -> Ticket:
    return problem.ticket(level, edges, weights, result, spent, begin, on_edges)
