"""WD-GLT: edge masks against weights, with classes kept apart in Wasserstein distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from glt.implicit import answered
from glt.losses import Loss
from glt.masks import SoftMasked
from glt.problem import Problem
from glt.registry import register
from glt.strategies.wd_glt_joint import WDGLTJoint


@register("strategies", "wd_glt")
class WDGLT(WDGLTJoint):
    """The min-max of Hui et al. (ICLR 2023): edge masks ascend the loss, weights and their masks descend it.

    Pruning is taken as a perturbation of the graph that the weights learn to withstand: in every epoch edge masks make
    one projected step up (into [0, 1]) on the loss of ``wd_glt_joint``, everything else one step down on it, both by
    the recipe's optimiser and from the same point (simultaneous descent and ascent). Rounds as ``ugs``.

    ``alpha`` weighs the paper's implicit term, the gradient through the edge masks that answer the weights by a
    projected step of ``edge_lr`` (:func:`glt.implicit.answered`). It takes second derivatives, so above 0 masks are
    trained on PyG's own layers: slower, and with features gathered per arc.
    """

    edge_lr: Annotated[float, Field(gt=0, description="learning rate of the edge masks' ascent")] = 0.01
    alpha: Annotated[float, Field(ge=0, description="weight of the gradient through the edge masks' answer")] = 0.0

    @property
    def twice(self) -> bool:
        """For the implicit term."""
        return self.alpha > 0

    def objective(self, problem: Problem, loss: Loss | None, soft: SoftMasked) -> Loss:
        """The loss minus the distance of the classes; with the answer of the edge masks."""
        apart = super().objective(problem, loss, soft)
        return answered(apart, soft, self.alpha, self.edge_lr) if self.alpha else apart

    @property
    def edge_options(self) -> Mapping[str, Any]:
        """Up, not down."""
        return {"maximize": True, "lr": self.edge_lr}
