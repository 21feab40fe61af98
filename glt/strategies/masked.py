"""Rounds of trained masks: what ugs, wd_glt and wd_glt_joint share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from glt.constraints import Masks, largest_weights
from glt.granularities.base import Granularity
from glt.losses import Loss
from glt.masks import SoftMasked
from glt.problem import Problem
from glt.registry import checked
from glt.schedules.level import Level
from glt.select import keep_top_drawn
from glt.strategies.base import Taught
from glt.strategies.rounds import Spent, rounds
from glt.ticket import Ticket
from glt.train import Constrain, FitResult

SAID = ("rounds", "mask_epoch", "mask_val", "mask_last_val")
"""What a ticket's metrics say of the rounds and of the last one's masks."""
ROUNDS = 1 << 16
"""More than any search has: seeds of the masks' noise do not meet."""

MaskEpochs = Annotated[int | None, Field(ge=1, description="epochs of mask training (default: the recipe's)")]


@checked("strategy")
class Masked(Taught, ABC):
    """In every round, masks are trained beside the weights; the smallest go, and a level's ticket is trained anew.

    A ticket's metrics say of the last round at which epoch its masks were read (``mask_epoch``), how the masked network
    validated then (``mask_val``), and after the last epoch (``mask_last_val``): a penalty that is too strong for the
    recipe shows as a collapse between the two.

    A subclass says what the masks are trained for (:meth:`objective`), what holds meanwhile (:meth:`constraint`), and
    how the edge masks step where they do not step like everything else (:attr:`edge_options`).
    """

    iterative: ClassVar[bool] = True
    soft_masks: ClassVar[bool] = True

    mask_epochs: MaskEpochs = None
    granularity: Granularity = "element"

    @property
    def edge_options(self) -> Mapping[str, Any]:
        """Options of the optimiser for edge masks alone."""
        return {}

    @property
    def twice(self) -> bool:
        """Whether mask training takes second derivatives."""
        return False

    def objective(self, problem: Problem, loss: Loss | None, soft: SoftMasked) -> Loss | None:
        """The loss of ``soft`` in mask training, given the loss of a ticket's training; None is cross-entropy."""
        return loss

    @abstractmethod
    def constraint(self) -> Constrain:
        """What holds while masks are trained."""

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Train masks, prune, rewind; and where a ticket is wanted, train it.

        ``problem.on_round`` gets what masks have left in each round, before anything is trained on it.
        """
        levels = list(levels)
        self.check(problem, levels)
        edges, weights = problem.masks(start)
        loss, teacher = self.taught(problem)
        spent = Spent.before(start, problem.recipe.epochs, teacher)
        left = start
        for step in rounds(levels, start):
            level = step.level
            if left is None or left.config["level"] < level.number:  # else masks were trained, and then it was stopped
                masked, edges, weights = self._pruned(problem, level, edges, weights, loss)
                spent += masked
                left = problem.ticket(level, edges, weights, None, [spent])
                said = (level.number, masked.epoch, masked.val, masked.last_val)
                left.metrics |= dict(zip(SAID, said, strict=True))
                problem.on_round(left)
            if step.wanted:
                result = problem.fit(
                    problem.subgraph(edges),
                    loss=loss,
                    masks=weights,
                    phase=f"level {level.number}",
                )
                ticket = problem.ticket(level, edges, weights, result, [spent])
                ticket.metrics |= {name: left.metrics[name] for name in SAID}
                yield ticket

    def _pruned(
        self, problem: Problem, level: Level, edges: Tensor, weights: Masks, loss: Loss | None
    ) -> tuple[FitResult, Tensor, Masks]:
        """(the training of masks, the edges and the weights that it leaves at a level), from those that are there."""
        seed = (problem.seed * ROUNDS + level.number) % 2**63
        soft = SoftMasked(
            problem.model(),
            problem.data,
            problem.edges,
            edges,
            weights,
            seed=seed,
            edge_options=self.edge_options,
            twice=self.twice,
        )
        masked = problem.fit(
            soft.graph,
            model=soft,
            loss=self.objective(problem, loss, soft),
            constrain=self.constraint(),
            phase=f"masks {level.number}",
            epochs=self.mask_epochs,
        )
        edge_scores, weight_scores = soft.scores(masked.state, edges)
        # masks may end at their bounds, many at once: which of them go must not depend on the names of nodes
        edges = keep_top_drawn(edge_scores, problem.edges.count(level.graph_sparsity), seed, edges)
        return masked, edges, largest_weights(weight_scores, level.weight_sparsity, weights, self.granularity)
