"""What every weight pruner is, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.constraints import Masks, prunable_weights
from glt.functional import Functional
from glt.granularities.base import Granularity
from glt.groups import Pool
from glt.losses import Loss
from glt.registry import build, checked


@dataclass(frozen=True)
class Pruning:
    """What a pruner may look at; it changes nothing of it.

    Attributes:
        model: holds the weights to score.
        data: the graph that the scores are for, pruned edges already removed; all of it, also where training is in
            batches: a pruner needs the memory of one step on the whole graph.
        loss: function of the logits [nodes, classes], e.g. ``glt.losses.cross_entropy(data)``.
        initial: the weights before training, by parameter name (default: none).
        alive: bool mask by name of every prunable weight; the others count as zero. None: all are alive.
        sparsity: fraction of the prunable weights that will have gone after this step, in [0, 1).
        seed: of pruners that draw.
        biases: score every trainable parameter, as of :func:`glt.constraints.prunable_weights`.
    """

    model: nn.Module
    data: Data
    loss: Loss
    initial: Mapping[str, Tensor] = field(default_factory=dict)
    alive: Masks | None = None
    sparsity: float = 0.0
    seed: int = 0
    biases: bool = False

    def weights(self) -> dict[str, Tensor]:
        """Copies of the prunable weights by name, zero where they are not alive."""
        found = {name: weight.detach().clone() for name, weight in prunable_weights(self.model, self.biases).items()}
        if self.alive is not None:
            for name, weight in found.items():
                weight.masked_fill_(~self.alive[name].to(weight.device), 0)
        return found

    def logits(self, weights: Mapping[str, Tensor], plain: bool = False) -> Tensor:
        """Logits [nodes, classes] in evaluation mode with ``weights`` for the model's own, differentiable in them.

        Args:
            weights: as of :meth:`weights`.
            plain: on PyG's own layers, as :class:`glt.forward.Forward` says.
        """
        return Functional(self.model, self.data, plain, self.seed).logits(weights)

    def gradients(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The weights, and the loss's gradients there, both by name; zero for a weight that is not used."""
        weights = self.weights()
        with torch.enable_grad():
            leaves = [weight.requires_grad_() for weight in weights.values()]
            slopes = derivative(self.loss(self.logits(weights)), leaves)
        return {name: weight.detach() for name, weight in weights.items()}, dict(zip(weights, slopes, strict=True))


def derivative(value: Tensor, leaves: list[Tensor], again: bool = False) -> tuple[Tensor, ...]:
    """Gradients of ``value`` (0-d) by ``leaves``, zero where it does not depend on one; ``again``: differentiable."""
    return torch.autograd.grad(value, leaves, create_graph=again, allow_unused=True, materialize_grads=True)


class WeightPruner(Protocol):
    """One number per prunable weight; higher = more worth keeping. Selecting is not its business."""

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """Score every entry of ``prunable_weights(state.model)``, by name, in that order.

        Float tensors of the weights' shapes: finite, detached, deterministic, dropout off. The model and the global
        random state are left as found. Numbers of entries that are not alive mean nothing.
        """
        ...


@checked("pruner")
class Grouping:
    """The option that every pruner has: what is pruned as a whole. A pruner without it prunes single weights."""

    _: KW_ONLY
    granularity: Granularity = "element"

    pool: ClassVar[Pool] = "mean"
    """How a group's number comes from its weights': the mean of saliencies, which add up, unless a pruner says so."""

    def __post_init__(self) -> None:
        """Build the granularity now, so that a bad one is an error before anything runs."""
        object.__setattr__(self, "granularity", build("granularities", self.granularity))
