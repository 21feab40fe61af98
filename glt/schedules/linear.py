"""Equal steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from glt.registry import register
from glt.schedules.level import Level


@register("schedules", "linear")
class Linear:
    """Equal steps from dense to the last level."""

    graph: Annotated[float, Field(ge=0, lt=1, description="fraction of edges removed at the last level")] = 0.6
    weight: Annotated[float, Field(ge=0, lt=1, description="fraction of weights removed at the last level")] = 0.9
    levels: Annotated[int, Field(ge=1, description="number of levels")] = 5

    def __iter__(self) -> Iterator[Level]:
        """Yield the levels, sparser and sparser."""
        for i in range(1, self.levels + 1):
            yield Level(i, self.graph * i / self.levels, self.weight * i / self.levels)
