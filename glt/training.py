"""A training that is still to be done, so that several can be done at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from torch_geometric.data import Data

from glt.capture import SMALL
from glt.errors import TrainingError
from glt.losses import Loss
from glt.problem import Problem
from glt.schedules.level import Level
from glt.ticket import Ticket
from glt.together import Watch, fit_together
from glt.train import Constrain, FitResult

MOST = 32
"""Models that are trained at once unless a config says how many; not yet measured."""


@dataclass(frozen=True)
class Training:
    """What a level's ticket is still waiting for.

    Attributes:
        problem: whose recipe, seed and metric it has.
        level: the level.
        data: the graph that is left.
        model: trained in place.
        loss, constrain: as of :func:`glt.train.fit`.
        ticket: makes the ticket of the result.
        phase: its name for ``on_epoch``.
    """

    problem: Problem
    level: Level
    data: Data
    model: nn.Module
    loss: Loss | None
    constrain: Constrain | None
    ticket: Callable[[FitResult], Ticket]
    phase: str = ""

    @classmethod
    def dense(cls, problem: Problem) -> Training:
        """That of the dense model, which is then the problem's."""

        def ticket(result: FitResult) -> Ticket:
            problem.dense = result
            return problem.dense_ticket()

        return cls(problem, Level(0, 0.0, 0.0), problem.data, problem.model(), None, None, ticket, "dense")

    def done(self) -> Ticket:
        """Train it now, by itself.

        Raises:
            TrainingError: see :func:`glt.train.fit`.
        """
        how = {"model": self.model, "loss": self.loss, "constrain": self.constrain}
        return self.ticket(self.problem.fit(self.data, **how, phase=self._phase))  # type: ignore[arg-type]

    @property
    def _phase(self) -> str:
        return self.phase or f"level {self.level.number}"

    def _watch(self) -> Watch | None:
        on_epoch, phase = self.problem.on_epoch, self._phase
        return None if on_epoch is None else lambda epoch, val: on_epoch(phase, epoch, val)


def train_together(trainings: Sequence[Training]) -> list[FitResult | TrainingError]:
    """The result of each, of problems with one graph, metric and recipe; see :func:`glt.together.fit_together`."""
    first = trainings[0].problem
    return fit_together(
        [one.model for one in trainings],
        [one.data for one in trainings],
        first.recipe,
        seeds=[one.problem.seed for one in trainings],
        metric=first.metric,
        losses=[one.loss for one in trainings],
        constrains=[one.constrain for one in trainings],
        on_epochs=[one._watch() for one in trainings],
    )


def at_once(asked: int | str, data: Data) -> int:
    """How many models are trained at once: as many as ``asked``; of ``"auto"`` :data:`MOST` small graphs on CUDA."""
    if asked != "auto":
        return int(asked)
    return MOST if data.x.is_cuda and data.num_nodes + data.num_edges <= SMALL else 1
