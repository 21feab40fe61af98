"""What every strategy is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from glt.problem import Problem
from glt.schedules.level import Level
from glt.ticket import Ticket


class Strategy(Protocol):
    """How tickets are found."""

    def tickets(self, problem: Problem, levels: Iterable[Level]) -> Iterator[Ticket]:
        """Yield one ticket per level, lazily, in the order of the levels."""
        ...
