"""TEDDY: edges by degree, then projected gradient on the l0 ball, taught by the dense model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated

from pydantic import Field
from torch import Tensor

from glt.constraints import largest_weights, project_weights, prunable_weights
from glt.granularities.base import Granularity
from glt.problem import Cost, Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.strategies.base import ChoosesEdges, LevelByLevel
from glt.ticket import Ticket
from glt.train import FitResult
from glt.training import Training


@register("strategies", "teddy")
class TeddyStrategy(LevelByLevel, ChoosesEdges):
    """Edges by degree, weights by l0 projection, taught by the dense model (Seo et al., "TEDDY", ICLR 2024)."""

    weight: Annotated[float, Field(ge=0, description="lambda of the distillation; 0 trains without a teacher")] = 10.0
    biases: Annotated[bool, Field(description="project biases too, as the authors' code does")] = False
    granularity: Granularity = "element"

    def trainings(self, problem: Problem, levels: Iterable[Level]) -> Iterator[Training]:
        """Score the edges once; then each level is one training from the initial weights."""
        levels = list(levels)
        self.check(problem, levels)
        scores, looked = self.edge_scores(problem)
        loss, teacher = self.taught(problem)
        for level in levels:
            keep = self.keep_edges(problem, scores, level)
            on_edges = self.edge_weights(problem, keep)
            yield Training(
                problem,
                level,
                problem.subgraph(keep, on_edges),
                problem.model(),
                loss,
                partial(
                    project_weights,
                    sparsity=level.weight_sparsity,
                    biases=self.biases,
                    granularity=self.granularity,
                ),
                partial(self._ticket, problem, level, keep, on_edges, teacher or looked),
            )

    def _ticket(
        self,
        problem: Problem,
        level: Level,
        keep: Tensor,
        on_edges: Tensor | None,
        spent: list[Cost],
        result: FitResult,
    ) -> Ticket:
        prunable = prunable_weights(problem.model(), self.biases)
        trained = {name: result.state[name] for name in prunable}
        masks = largest_weights(trained, level.weight_sparsity, granularity=self.granularity)
        return problem.ticket(level, keep, masks, result, spent, edge_weights=on_edges)
