"""The ticket's weights alone."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Outcome, trained
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "same_weights")
class SameWeights:
    """The ticket's weight masks with every edge: what pruning edges did."""

    taught: ClassVar[bool] = True
    start: ClassVar[str] = "ticket"

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """From what the ticket starts from, also where that is trained: the edges alone differ."""
        (edges, _), (_, weights) = problem.masks(), problem.masks(ticket)
        return trained(problem, ticket, "same_weights", edges, weights, teaching.taught(problem), ticket.initial)
