"""No pruning at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from glt.problem import Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.ticket import Ticket


@register("strategies", "dense")
class Dense:
    """The full graph and all weights, trained by the recipe: the reference. Levels are not used."""

    iterative: ClassVar[bool] = False

    def check(self, problem: Problem, levels: Sequence[Level]) -> None:
        """Nothing can be wrong."""

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Nothing beyond the dense ticket, which every run has as its level 0."""
        yield from ()
