"""Absolute values."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from glt.groups import Pool
from glt.pruners.base import Grouping, Pruning
from glt.registry import register


@register("pruners", "magnitude")
class Magnitude(Grouping):
    """Absolute value of the weight, the largest kept (Han et al., NeurIPS 2015; Frankle and Carbin, ICLR 2019)."""

    pool: ClassVar[Pool] = "rms"

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """|theta|."""
        return {name: weight.abs() for name, weight in state.weights().items()}
