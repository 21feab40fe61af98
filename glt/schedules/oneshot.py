"""One level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from glt.errors import GltError
from glt.registry import register
from glt.schedules.level import Level


@register("schedules", "oneshot")
class OneShot:
    """One level; an iterative strategy gets there in ``rounds``, and the level has their number.

    As many by default as 5 % of the remaining edges or 20 % of the remaining weights a round need, whichever is more
    (Chen et al., ICML 2021): 20 for 0.64 and 0.88. Other strategies have no rounds.
    """

    graph: Annotated[float, Field(ge=0, lt=1, description="fraction of edges removed")] = 0.4
    weight: Annotated[float, Field(ge=0, lt=1, description="fraction of weights removed")] = 0.6
    rounds: Annotated[
        int | None,
        Field(ge=1, description="rounds of an iterative strategy (default: 5 % of edges and 20 % of weights in each)"),
    ] = None

    def __iter__(self) -> Iterator[Level]:
        """Yield the one level."""
        yield Level(1, self.graph, self.weight)

    def levels(self, strategy: Any) -> list[Level]:
        """The one level as the strategy gets there.

        Raises:
            GltError: rounds for a strategy that has none.
        """
        if getattr(strategy, "iterative", False):
            return [Level(self.rounds or rounds_to(self.graph, self.weight), self.graph, self.weight)]
        if self.rounds is not None:
            name = getattr(strategy, "name", type(strategy).__name__)
            raise GltError(f"rounds = {self.rounds}: strategy {name!r} finds a level at once; leave rounds out")
        return list(self)


def rounds_to(graph: float, weight: float) -> int:
    """Rounds that 5 % of the edges and 20 % of the weights that are left need to get to two sparsities, at least 1."""
    needed = (math.log1p(-goal) / math.log1p(-rate) for goal, rate in ((graph, 0.05), (weight, 0.2)))
    return max(1, *(math.ceil(round(each, 6)) for each in needed))
