"""Single weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from glt.allocate import allocate
from glt.constraints import Masks
from glt.groups import Pool
from glt.registry import register


@register("granularities", "element")
class Element:
    """Every weight by itself, exact to the weight; zeros anywhere, which no product skips."""

    whole: ClassVar[bool] = False

    def masks(
        self,
        scores: Mapping[str, Tensor],
        sparsity: float,
        how: str = "global",
        floor: float | None = None,
        alive: Mapping[str, Tensor] | None = None,
        pool: Pool = "mean",
    ) -> Masks:
        """:func:`glt.allocate.allocate`; there is nothing to pool."""
        return allocate(scores, sparsity, how, floor, alive)
