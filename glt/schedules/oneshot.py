"""One level, reached at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from glt.registry import register
from glt.schedules.level import Level


@register("schedules", "oneshot")
class OneShot:
    """One level."""

    graph: Annotated[float, Field(ge=0, lt=1, description="fraction of edges removed")] = 0.4
    weight: Annotated[float, Field(ge=0, lt=1, description="fraction of weights removed")] = 0.6

    def __iter__(self) -> Iterator[Level]:
        """Yield the one level."""
        yield Level(1, self.graph, self.weight)
