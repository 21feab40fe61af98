"""Every combination of graph and weight sparsities."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated

from pydantic import Field

from glt.registry import register
from glt.schedules.level import Level

Fraction = Annotated[float, Field(ge=0, lt=1)]


@register("schedules", "grid")
class Grid:
    """Every graph sparsity with every weight sparsity, the weights varying fastest."""

    graph: Annotated[tuple[Fraction, ...], Field(min_length=1, description="fractions of edges removed")] = (
        0.0,
        0.2,
        0.4,
        0.6,
        0.8,
    )
    weight: Annotated[tuple[Fraction, ...], Field(min_length=1, description="fractions of weights removed")] = (
        0.0,
        0.5,
        0.8,
        0.9,
        0.95,
        0.98,
    )

    def __iter__(self) -> Iterator[Level]:
        """Yield the levels in rows of equal graph sparsity."""
        for i, (graph, weight) in enumerate(product(sorted(set(self.graph)), sorted(set(self.weight))), start=1):
            yield Level(i, graph, weight)
