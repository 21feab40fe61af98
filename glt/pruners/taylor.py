"""First-order Taylor importance."""

from __future__ import annotations

from torch import Tensor

from glt.pruners.base import Grouping, Pruning
from glt.registry import register


@register("pruners", "taylor")
class Taylor(Grouping):
    """Squared change of the loss when a weight goes, to first order (Molchanov et al., CVPR 2019).

    The square of SNIP's number, so the same order at the same weights: it is meant for trained ones.
    """

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """(theta * dL/dtheta)^2, float64, where small squares do not vanish; one forward and one backward pass."""
        weights, slopes = state.gradients()
        return {name: (weight.double() * slopes[name].double()).square() for name, weight in weights.items()}
