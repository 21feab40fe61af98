"""A training that is still to be done, so that several can be done at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn
from torch_geometric.data import Data

from glt.capture import SMALL
from glt.constraints import Masks, freeze_weights
from glt.errors import TrainingError
from glt.frozen import part_of
from glt.losses import Loss
from glt.part import Part
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
        masks: of weights that stay, in place of a constraint; see :func:`glt.frozen.fit_frozen`.
    """

    problem: Problem
    level: Level
    data: Data
    model: nn.Module
    loss: Loss | None
    constrain: Constrain | None
    ticket: Callable[[FitResult], Ticket]
    phase: str = ""
    masks: Masks | None = None

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
        return self.ticket(self.result())

    def result(self) -> FitResult:
        """That of training it now, by itself; raises as :meth:`done`."""
        return self.problem.fit(
            self.data, model=self.model, loss=self.loss, constrain=self.constrain, masks=self.masks, phase=self._phase
        )

    def part(self) -> Part | str:
        """The live part that is trained instead, if one is; see :func:`glt.frozen.part_of`."""
        return "" if self.masks is None else part_of(self.model, self.data, self.masks, self.problem.recipe)

    @property
    def _phase(self) -> str:
        return self.phase or f"level {self.level.number}"

    def _constrained(self) -> Constrain | None:
        return self.constrain if self.masks is None else partial(freeze_weights, masks=self.masks)

    def _watch(self) -> Watch | None:
        on_epoch, phase = self.problem.on_epoch, self._phase
        return None if on_epoch is None else lambda epoch, val: on_epoch(phase, epoch, val)


def train_together(trainings: Sequence[Training]) -> list[FitResult | TrainingError]:
    """The result of each, of problems with one graph, metric and recipe; see :func:`glt.together.fit_together`.

    Live parts have shapes of their own, and are trained one by one.
    """
    parts = [one.part() for one in trainings]
    beside = [one for one, part in zip(trainings, parts, strict=True) if isinstance(part, str)]
    results = iter(_beside(beside) if beside else ())
    return [
        _alone(one) if isinstance(part, Part) else _saying(next(results), part)
        for one, part in zip(trainings, parts, strict=True)
    ]


def _beside(trainings: Sequence[Training]) -> list[FitResult | TrainingError]:
    first = trainings[0].problem
    return fit_together(
        [one.model for one in trainings],
        [one.data for one in trainings],
        first.recipe,
        seeds=[one.problem.seed for one in trainings],
        metric=first.metric,
        losses=[one.loss for one in trainings],
        constrains=[one._constrained() for one in trainings],
        on_epochs=[one._watch() for one in trainings],
    )


def _alone(training: Training) -> FitResult | TrainingError:
    try:
        return replace(training.result(), together="no: a live part has a shape of its own")
    except TrainingError as error:
        return error


def _saying(result: FitResult | TrainingError, part: str) -> FitResult | TrainingError:
    return replace(result, live=f"no: {part}") if part and isinstance(result, FitResult) else result


def at_once(asked: int | str, data: Data) -> int:
    """How many models are trained at once: as many as ``asked``; of ``"auto"`` :data:`MOST` small graphs on CUDA."""
    if asked != "auto":
        return int(asked)
    return MOST if data.x.is_cuda and data.num_nodes + data.num_edges <= SMALL else 1
