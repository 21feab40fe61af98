"""The ticket's edges alone."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Outcome, masks_biases, start, trained
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "same_edges")
class SameEdges:
    """The ticket's edges with every weight: what pruning weights did."""

    taught: ClassVar[bool] = True

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """From the weights that the ticket is rewound to, or initial ones; none of them pruned."""
        (edges, _), (_, weights) = problem.masks(ticket), problem.masks(biases=masks_biases(problem, ticket))
        return trained(problem, ticket, "same_edges", edges, weights, teaching.taught(problem), start(problem, ticket))
