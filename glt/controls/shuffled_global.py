"""The ticket's weights, shuffled over all layers."""

from __future__ import annotations

from typing import ClassVar

import torch

from glt.controls.base import Draw, Outcome, granularity_of, random_scores, shuffled, start, trained
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "shuffled_global")
class ShuffledGlobal:
    """The ticket's edges, and as many weights as the ticket has, anywhere in the network (Su et al., NeurIPS 2020)."""

    taught: ClassVar[bool] = True

    seed: Draw = 0

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """What is left of the ticket's choice of weights is how many there are."""
        edges, weights = problem.masks(ticket)
        begin, lesson, granularity = start(problem, ticket), teaching.taught(problem), granularity_of(ticket)
        if granularity.name != "element":  # groups of layers differ in size: as many weights, or a few less
            scores = random_scores(weights, self.seed, problem.seed)
            weights = granularity.masks(scores, ticket.weight_sparsity, pool="first")
            return trained(problem, ticket, "shuffled_global", edges, weights, lesson, begin)
        flat = shuffled(torch.cat([mask.flatten() for mask in weights.values()]), self.seed, problem.seed)
        parts = flat.split([mask.numel() for mask in weights.values()])
        weights = {k: part.view_as(v) for (k, v), part in zip(weights.items(), parts, strict=True)}
        return trained(problem, ticket, "shuffled_global", edges, weights, lesson, begin)
