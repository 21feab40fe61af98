"""TEDDY: edges by degree, then projected gradient on the l0 ball, taught by the dense model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated

from pydantic import Field

from glt.constraints import largest_weights, project_weights, prunable_weights
from glt.granularities.base import Granularity
from glt.problem import Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.strategies.base import ChoosesEdges
from glt.ticket import Ticket


@register("strategies", "teddy")
class TeddyStrategy(ChoosesEdges):
    """Edges by degree, weights by l0 projection, taught by the dense model (Seo et al., "TEDDY", ICLR 2024)."""

    weight: Annotated[float, Field(ge=0, description="lambda of the distillation; 0 trains without a teacher")] = 10.0
    biases: Annotated[bool, Field(description="project biases too, as the authors' code does")] = False
    granularity: Granularity = "element"

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Score the edges once; then each level is one training from the initial weights."""
        levels = list(levels)
        self.check(problem, levels)
        scores, looked = self.edge_scores(problem)
        loss, teacher = self.taught(problem)
        for level in levels:
            keep = self.keep_edges(problem, scores, level)
            on_edges = self.edge_weights(problem, keep)
            result = problem.fit(
                problem.subgraph(keep, on_edges),
                loss=loss,
                constrain=partial(
                    project_weights,
                    sparsity=level.weight_sparsity,
                    biases=self.biases,
                    granularity=self.granularity,
                ),
                phase=f"level {level.number}",
            )
            prunable = prunable_weights(problem.model(), self.biases)
            trained = {name: result.state[name] for name in prunable}
            masks = largest_weights(trained, level.weight_sparsity, granularity=self.granularity)
            yield problem.ticket(level, keep, masks, result, teacher or looked, edge_weights=on_edges)
