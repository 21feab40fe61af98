"""The path of the literature: a fixed fraction of what is left goes at every level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from glt.errors import GltError
from glt.registry import register
from glt.schedules.level import Level


@register("schedules", "geometric")
class Geometric:
    """Level i removes 1 - (1 - rate)^i (Chen et al., ICML 2021: 5 % and 20 %; TEDDY: 5 % and 10 %)."""

    graph_rate: Annotated[float, Field(ge=0, lt=1, description="fraction of remaining edges per level")] = 0.05
    weight_rate: Annotated[float, Field(ge=0, lt=1, description="fraction of remaining weights per level")] = 0.1
    levels: Annotated[
        int | tuple[int, ...], Field(description="how many levels (1 to n), or the numbers of the levels wanted")
    ] = 20

    def __post_init__(self) -> None:
        """Check that there is a level, and that levels ascend."""
        numbers = self._numbers()
        if not numbers or numbers[0] < 0 or sorted(set(numbers)) != list(numbers):
            raise GltError(f"levels = {self.levels!r}: give a count of at least 1, or ascending numbers, e.g. [5, 10]")

        for _ in self:  # every level checks its own sparsities
            pass

    def _numbers(self) -> tuple[int, ...]:
        return tuple(range(1, self.levels + 1)) if isinstance(self.levels, int) else self.levels

    def __iter__(self) -> Iterator[Level]:
        """Yield the levels, sparser and sparser."""
        for i in self._numbers():
            yield Level(i, 1 - (1 - self.graph_rate) ** i, 1 - (1 - self.weight_rate) ** i)
