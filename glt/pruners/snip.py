"""Connection sensitivity."""

from __future__ import annotations

from torch import Tensor

from glt.pruners.base import Grouping, Pruning
from glt.registry import register


@register("pruners", "snip")
class Snip(Grouping):
    """How much the loss feels a weight's mask, |dL/dm| at m = 1 (Lee et al., "SNIP", ICLR 2019); for any weights.

    The paper divides by the sum over all weights, which changes no order.
    """

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """|theta * dL/dtheta|; one forward and one backward pass."""
        weights, slopes = state.gradients()
        return {name: (weight * slopes[name]).abs() for name, weight in weights.items()}
