"""Edges by degrees alone, random weights."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Draw, Outcome, Part, granularity_of, masks_biases, start, trained
from glt.problem import Problem
from glt.registry import build, register
from glt.select import keep_top
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "degree")
class Degree:
    """As many edges by 1/d_u + 1/d_v (Liu et al., "DSpar", TMLR 2023), as many random weights by ERK over layers."""

    taught: ClassVar[bool] = True
    reads: ClassVar[tuple[Part, ...]] = ("edges", "weights", "initial")

    seed: Draw = 10**6

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """The scorer ``degree``, and the weights of the control ``random``."""
        pruner = {"name": "random", "seed": self.seed, "granularity": granularity_of(ticket)}
        strategy = build("strategies", {"name": "random", "scorer": "degree", "pruner": pruner})
        edges = keep_top(strategy.edge_scores(problem)[0], int(ticket.edge_keep.sum()))
        graph, biases = problem.subgraph(edges), masks_biases(problem, ticket)
        begin = start(problem, ticket)
        weights = strategy.prune(problem, graph, begin, ticket.weight_sparsity, biases=biases)
        scorer, lesson = strategy.arrivals(problem.seed), teaching.taught(problem)
        return trained(problem, ticket, "degree", edges, weights, lesson, begin, scorer)
