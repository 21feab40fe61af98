"""Nothing pruned."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Outcome, Part, masks_biases, tested
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "dense")
class Dense:
    """Every edge and every weight, trained by the recipe without a teacher: the ticket's own reference."""

    taught: ClassVar[bool] = False
    reads: ClassVar[tuple[Part, ...]] = ()

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """The dense training that the problem has, or makes once."""
        made = problem.dense_ticket(masks_biases(problem, ticket))
        return Outcome(made, tested(problem, problem.dense, problem.masks()[0]))
