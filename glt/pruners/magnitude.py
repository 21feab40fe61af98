"""Absolute values."""

from __future__ import annotations

from torch import Tensor

from glt.pruners.base import Pruning
from glt.registry import register


@register("pruners", "magnitude")
class Magnitude:
    """Absolute value of the weight, the largest kept (Han et al., NeurIPS 2015; Frankle and Carbin, ICLR 2019)."""

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """|theta|."""
        return {name: weight.abs() for name, weight in state.weights().items()}
