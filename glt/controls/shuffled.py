"""The ticket's weights, shuffled within each layer."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Draw, Outcome, shuffled, start, trained
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "shuffled")
class Shuffled:
    """The ticket's edges; in each layer as many weights as the ticket has, anywhere (Frankle et al., ICLR 2021)."""

    taught: ClassVar[bool] = True

    seed: Draw = 0

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """What is left of the ticket's choice of weights is each layer's density."""
        edges, weights = problem.masks(ticket)
        weights = {k: shuffled(v, self.seed, problem.seed, i) for i, (k, v) in enumerate(weights.items())}
        return trained(problem, ticket, "shuffled", edges, weights, teaching.taught(problem), start(problem, ticket))
