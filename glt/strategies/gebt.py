"""GEBT: a ticket drawn early in one training, when the masks it would give have settled."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from glt.arrays import count
from glt.constraints import Masks, largest_weights, prunable_weights
from glt.errors import TrainingError
from glt.granularities.base import Granularity
from glt.masks import SoftMasked, Sparsifying
from glt.problem import Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.select import drawn_order, keep_top, keep_top_ordered
from glt.strategies.base import Taught
from glt.strategies.masked import MaskEpochs
from glt.strategies.weights import RewindTo, rewound
from glt.ticket import Ticket

QUEUE = 3


@register("strategies", "gebt")
class GEBT(Taught):
    """Joint early-bird tickets: pruned as soon as the masks hold still (You et al., "GEBT", AAAI 2022).

    Weights and one value per edge are trained together. After every epoch the largest weights and edge values, exactly
    as many as the level keeps, give masks; their distance is the fraction of edges plus the fraction of weights that
    differ from the masks of the epoch before. When the last three distances are all below ``threshold`` the ticket is
    drawn and training stops; what is left goes on from the weights it has then, on the real sub-graph (edge values are
    not kept). Each level is a search by itself.

    A ticket's metrics say at which epoch it was drawn (``drawn_at``), whether the masks had ``settled`` by then, or the
    epochs were over, and with ``search_epochs`` what it all cost.

    The paper's ADMM term, rho / 2 |A - Z + U|^2, is used with U = 0: each epoch Z is the nearest graph with as many
    edges as the level keeps, so the values of the others shrink. The multiplier U is meant for inner problems that are
    solved; here one step is taken between its updates, and it would grow by 1 an epoch for every edge outside Z and
    swap the two sets for ever. Edge values do not fall below 0, where normalisation ends.
    """

    iterative: ClassVar[bool] = False
    soft_masks: ClassVar[bool] = True

    threshold: Annotated[float, Field(ge=0, description="mask distance below which masks have settled")] = 0.1
    rho: Annotated[float, Field(ge=0, description="weight of the proximal term on edge values")] = 1e-3
    edge_lr: Annotated[float, Field(gt=0, description="learning rate of edge values")] = 1e-3
    mask_epochs: MaskEpochs = None
    rewind_to: RewindTo = "none"
    granularity: Granularity = "element"

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Per level: train until the masks settle, prune, go on."""
        levels = list(levels)
        self.check(problem, levels)
        loss, teacher = self.taught(problem)
        every, _ = problem.masks()
        for level in levels:
            keep = problem.edges.count(level.graph_sparsity)
            soft = SoftMasked(  # weights have no masks: they are ranked by themselves
                problem.model(), problem.data, problem.edges, every, {}, problem.seed, edge_options={"lr": self.edge_lr}
            )
            bird = EarlyBird(keep, level.weight_sparsity, self.threshold, self.granularity, problem.seed)
            searched = problem.fit(
                soft.graph,
                model=soft,
                loss=loss,
                constrain=partial(_Proximal, keep=keep, rho=self.rho),
                phase=f"masks {level.number}",
                epochs=self.mask_epochs,
                stop=bird,
            )
            begin, early = rewound(problem, self.rewind_to, soft.model.state_dict())
            result = problem.fit(
                problem.subgraph(bird.edges),
                model=problem.model_at(begin),
                loss=loss,
                masks=bird.weights,
                phase=f"level {level.number}",
            )
            ticket = problem.ticket(level, bird.edges, bird.weights, result, [*teacher, *early, searched], begin)
            ticket.metrics |= {"drawn_at": searched.epochs, "settled": bird.settled}
            yield ticket


class EarlyBird:
    """Watches the masks that a training would give, and says when they have settled.

    Edge values stop at 0; which of those that lie there stay is drawn by ``seed``, the same ones in every epoch.

    Attributes:
        edges, weights: the masks after the last epoch seen.
        distances: between the masks of epochs, the last three.
    """

    def __init__(
        self,
        edges_kept: int,
        weight_sparsity: float,
        threshold: float,
        granularity: Any = "element",
        seed: int = 0,
    ) -> None:
        self.edges_kept, self.weight_sparsity, self.threshold = edges_kept, weight_sparsity, threshold
        self.granularity, self.seed = granularity, seed
        self._order: Tensor | None = None
        self.edges: Tensor = torch.empty(0)
        self.weights: Masks = {}
        self.distances: deque[float] = deque(maxlen=QUEUE)

    @property
    def settled(self) -> bool:
        """Whether all of the last three distances are below the threshold."""
        return len(self.distances) == QUEUE and max(self.distances) < self.threshold

    def __call__(self, soft: nn.Module, epoch: int) -> bool:
        """Look at the masks after an epoch; True when they have settled."""
        assert isinstance(soft, SoftMasked)
        weights = prunable_weights(soft.model)
        if any(bool(values.isnan().any()) for values in (soft.edges, *weights.values())):
            raise TrainingError(f"an edge value or a weight became NaN at epoch {epoch}: lower train.lr or edge_lr")
        if self._order is None:
            self._order = drawn_order(soft.edges, self.seed)
        edges = keep_top_ordered(soft.edges.detach(), self.edges_kept, self._order)
        masks = largest_weights(weights, self.weight_sparsity, granularity=self.granularity)
        if epoch > 1:
            distance = count(edges != self.edges) / edges.numel()
            changed = sum(count(mask != self.weights[name]) for name, mask in masks.items())
            self.distances.append(distance + changed / sum(mask.numel() for mask in masks.values()))
        self.edges, self.weights = edges, masks
        return self.settled


class _Proximal(Sparsifying):
    """The gradient of rho / 2 |A - Z|^2, Z the ``keep`` largest of A; edge values at 0 or above."""

    def __init__(self, soft: SoftMasked, optimizer: Optimizer, keep: int, rho: float) -> None:
        super().__init__(soft, optimizer)
        self._most, self._rho = keep, rho

    def pull(self) -> None:
        edges = self.soft.edges.detach()
        if self.soft.edges.grad is not None:
            self.soft.edges.grad.add_(edges.masked_fill(keep_top(edges, self._most), 0.0), alpha=self._rho)
