"""TEDDY: edges by degree, then projected gradient on the l0 ball, taught by the dense model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from glt.constraints import largest_weights, project_weights, prunable_weights
from glt.losses import DistilNodes, distilled
from glt.problem import Problem
from glt.registry import build, register
from glt.schedules.level import Level
from glt.select import keep_top
from glt.ticket import Ticket


@register("strategies", "teddy")
class TeddyStrategy:
    """Edges by degree, weights by l0 projection, taught by the dense model (Seo et al., "TEDDY", ICLR 2024)."""

    scorer: Annotated[Any, Field(description="edge scorer, a name or {name: ..., options}")] = "teddy"
    weight: Annotated[float, Field(ge=0, description="lambda of the distillation; 0 trains without a teacher")] = 10.0
    temperature: Annotated[float, Field(gt=0, description="temperature of the distillation")] = 1.0
    distil: Annotated[
        DistilNodes,
        Field(description="nodes whose teacher outputs are used: all, or those outside validation and test"),
    ] = "all"
    biases: Annotated[bool, Field(description="project biases too, as the authors' code does")] = False

    def __post_init__(self) -> None:
        """Build the scorer now, so that a bad one is an error before anything runs."""
        object.__setattr__(self, "scorer", build("scorers", self.scorer))

    @property
    def track(self) -> str:
        """``"none"`` without distillation, else which nodes the teacher's outputs are used on."""
        return self.distil if self.weight else "none"

    def tickets(self, problem: Problem, levels: Iterable[Level]) -> Iterator[Ticket]:
        """Score the edges once; then each level is one training from the initial weights."""
        levels = list(levels)
        problem.check(levels)
        scores = problem.edges.pool(self.scorer(problem.data))
        teacher = [problem.dense] if self.weight else []
        for level in levels:
            keep = keep_top(scores, problem.edges.count(level.graph_sparsity))
            loss = None
            if teacher:
                loss = distilled(problem.data, teacher[0].logits, self.weight, self.temperature, self.distil)
            result = problem.fit(
                problem.subgraph(keep),
                loss=loss,
                constrain=partial(project_weights, sparsity=level.weight_sparsity, biases=self.biases),
                phase=f"level {level.number}",
            )
            prunable = prunable_weights(problem.model(), self.biases)
            masks = largest_weights({name: result.state[name] for name in prunable}, level.weight_sparsity)
            yield problem.ticket(level, keep, masks, result, spent=teacher)
