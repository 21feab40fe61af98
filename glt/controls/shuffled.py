"""The ticket's weights, shuffled within each layer."""

from __future__ import annotations

from typing import Any, ClassVar

from glt.constraints import Masks
from glt.controls.base import Draw, Outcome, granularity_of, random_scores, shuffled, start, trained
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
        weights = self._drawn(weights, granularity_of(ticket), problem.seed)
        return trained(problem, ticket, "shuffled", edges, weights, teaching.taught(problem), start(problem, ticket))

    def _drawn(self, weights: Masks, granularity: Any, seed: int) -> Masks:
        """As many weights of each matrix; of whole units, features or blocks, as many of each layer."""
        if granularity.name == "element":
            return {k: shuffled(v, self.seed, seed, i) for i, (k, v) in enumerate(weights.items())}
        if not granularity.whole:
            scores = random_scores(weights, self.seed, seed)
            kept = {k: int(v.sum()) / v.numel() for k, v in weights.items()}
            return {k: granularity.masks({k: s}, 1 - kept[k])[k] if kept[k] else weights[k] for k, s in scores.items()}
        device = next(iter(weights.values())).device
        groups = granularity.groups({k: v.shape for k, v in weights.items()}, device)
        keep = groups.total(weights) > 0
        for i in range(len(groups.shapes)):
            keep[groups.layer == i] = shuffled(keep[groups.layer == i], self.seed, seed, i)
        masks: Masks = groups.masks(keep)
        return masks
