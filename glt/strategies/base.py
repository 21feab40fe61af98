"""What every strategy is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field
from torch import Tensor

from glt.losses import DistilNodes, Loss, distilled
from glt.problem import Cost, Problem
from glt.registry import build, checked
from glt.schedules.level import Level
from glt.ticket import Ticket

Scorer = Annotated[Any, Field(description="edge scorer, a name or {name: ..., options}")]


class Strategy(Protocol):
    """How tickets are found.

    ``iterative``: a level is reached through the ones before it. Such a strategy is given all levels of a run, in
    ascending order, and as ``start`` the ticket of the last one that is done; it yields those after it. Any other
    strategy finds each level by itself and is given those that are wanted.
    """

    iterative: ClassVar[bool]

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Yield one ticket per level, lazily, in the order of the levels."""
        ...


@checked("strategy")
class Taught:
    """Distillation from the dense model: an option of every strategy, off unless the method has it."""

    weight: Annotated[float, Field(ge=0, description="lambda of the distillation; 0 trains without a teacher")] = 0.0
    temperature: Annotated[float, Field(gt=0, description="temperature of the distillation")] = 1.0
    distil: Annotated[
        DistilNodes,
        Field(description="nodes whose teacher outputs are used: all, or those outside validation and test"),
    ] = "all"

    iterative: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Build the pieces that are named now, so that a bad one is an error before anything runs."""
        for field, family in (("scorer", "scorers"), ("pruner", "pruners")):
            if hasattr(self, field):
                object.__setattr__(self, field, build(family, getattr(self, field)))

    @property
    def track(self) -> str:
        """``"none"`` without distillation, else which nodes the teacher's outputs are used on."""
        return self.distil if self.weight else "none"

    def edge_scores(self, problem: Problem) -> tuple[Tensor, list[Cost]]:
        """(scores of the edges, what the model cost that the scorer looked at); a scorer that draws, by the seed."""
        scorer: Any = self.scorer  # type: ignore[attr-defined]
        if hasattr(scorer, "seed"):
            scorer = replace(scorer, seed=scorer.seed + problem.seed)
        if not getattr(scorer, "needs_model", False):
            return problem.edges.pool(scorer(problem.data)), []
        return problem.edges.pool(scorer(problem.data, problem.model_at(problem.dense.state))), [problem.dense]

    def taught(self, problem: Problem) -> tuple[Loss | None, list[Cost]]:
        """(loss, what the teacher cost); None is cross-entropy alone."""
        if not self.weight:
            return None, []
        teacher = problem.dense
        return distilled(problem.data, teacher.logits, self.weight, self.temperature, self.distil), [teacher]
