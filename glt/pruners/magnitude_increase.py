"""How far training has moved weights away from zero."""

from __future__ import annotations

from torch import Tensor

from glt.errors import GltError
from glt.pruners.base import Grouping, Pruning
from glt.registry import register


@register("pruners", "magnitude_increase")
class MagnitudeIncrease(Grouping):
    """How much a weight's absolute value grew from the initial one (Zhou et al., NeurIPS 2019)."""

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """|theta| - |theta_0|.

        Raises:
            GltError: an initial weight is missing or has another shape.
        """
        scores = {}
        for name, weight in state.weights().items():
            before = state.initial.get(name)
            if before is None or before.shape != weight.shape:
                have = "nothing" if before is None else f"one of shape {list(before.shape)}"
                raise GltError(
                    f"magnitude_increase needs the initial weight {name!r} {list(weight.shape)}, got {have}; "
                    "pass the state before training as initial"
                )
            scores[name] = weight.abs() - before.detach().to(weight).abs()
        return scores
