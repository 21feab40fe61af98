"""WD-GLT: edge masks against weights, with classes kept apart in Wasserstein distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from glt.registry import register
from glt.strategies.wd_glt_joint import WDGLTJoint


@register("strategies", "wd_glt")
class WDGLT(WDGLTJoint):
    """The min-max of Hui et al. (ICLR 2023): edge masks ascend the loss, weights and their masks descend it.

    Pruning is taken as a perturbation of the graph that the weights learn to withstand: in every epoch edge masks make
    one projected step up (into [0, 1]) on the loss of ``wd_glt_joint``, everything else one step down on it, both by
    the recipe's optimiser and from the same point (simultaneous descent and ascent). Rounds as ``ugs``.

    The paper's implicit term, the trade-off alpha times the gradient through the edge masks that answer the weights, is
    not computed (alpha = 0): it takes second derivatives, which the fast layers here do not have.
    """

    edge_lr: Annotated[float, Field(gt=0, description="learning rate of the edge masks' ascent")] = 0.01

    @property
    def edge_options(self) -> Mapping[str, Any]:
        """Up, not down."""
        return {"maximize": True, "lr": self.edge_lr}
