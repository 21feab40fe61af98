"""Random edges, random weights."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Draw, Outcome, Part, granularity_of, masks_biases, start, trained
from glt.problem import Problem
from glt.registry import build, register
from glt.select import keep_top
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "random")
class Random:
    """As many random edges, as many random weights by ERK over layers (Liu et al., ICLR 2022); see :func:`start`."""

    taught: ClassVar[bool] = True
    reads: ClassVar[tuple[Part, ...]] = ("edges", "weights", "initial")

    seed: Draw = 10**6  # a ticket of the random strategy is another draw

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """The choices of the ``random`` strategy, of what the ticket prunes as a whole."""
        scorer = {"name": "random", "seed": self.seed}
        pruner = {**scorer, "granularity": granularity_of(ticket)}
        strategy = build("strategies", {"name": "random", "scorer": scorer, "pruner": pruner})
        edges = keep_top(strategy.edge_scores(problem)[0], int(ticket.edge_keep.sum()))
        graph, biases = problem.subgraph(edges), masks_biases(problem, ticket)
        begin = start(problem, ticket)
        weights = strategy.prune(problem, graph, begin, ticket.weight_sparsity, biases=biases)
        scorer, lesson = strategy.arrivals(problem.seed), teaching.taught(problem)
        return trained(problem, ticket, "random", edges, weights, lesson, begin, scorer)
