"""Rounds: how an iterative strategy gets from one level to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from glt.errors import GltError
from glt.problem import Cost
from glt.schedules.level import Level
from glt.ticket import Ticket


@dataclass(frozen=True)
class Round:
    """One step of an iterative search; ``wanted`` if a ticket is asked for at its level."""

    level: Level
    wanted: bool


@dataclass(frozen=True)
class Spent:
    """What a search has taken so far."""

    epochs: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Spent:
        return Spent(self.epochs + other.epochs, self.seconds + other.seconds)

    @classmethod
    def before(cls, start: Ticket | None, last: int, teacher: Iterable[Cost]) -> Spent:
        """The search up to ``start``, without the ``last`` epochs that its own training took, if it had one."""
        if start is None:
            return cls(sum(cost.epochs for cost in teacher), sum(cost.seconds for cost in teacher))
        epochs = int(start.metrics["search_epochs"])
        last = 0 if untrained(start) else last
        return cls(epochs - last, start.seconds * (1 - last / epochs))


def untrained(ticket: Ticket) -> bool:
    """Whether a ticket is what masks alone have left: it was handed on before it was trained itself."""
    return "val" not in ticket.metrics


def rounds(levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Round]:
    """One round per level number, from 1 to the last; a fixed fraction of what is left goes in each.

    Between two levels densities fall geometrically: of levels 5 and 10 of the usual path (5 % a round) the rounds in
    between are its levels 6 to 9.

    Args:
        levels: in ascending order of numbers and of both sparsities.
        start: the ticket of one of the rounds; those up to it are left out, its own only if it was trained.

    Raises:
        GltError: levels that do not get sparser, which an iterative search cannot visit in one path.
    """
    done = int(start.config["level"]) - untrained(start) if start else 0
    last = Level(0, 0.0, 0.0)
    for level in levels:
        if level.number <= last.number or any(
            getattr(level, part) < getattr(last, part) for part in ("graph_sparsity", "weight_sparsity")
        ):
            raise GltError(
                f"level {level.number} (graph {level.graph_sparsity:g}, weight {level.weight_sparsity:g}) is less "
                "sparse than the one before it: an iterative strategy needs ascending levels; use the geometric or "
                "linear schedule"
            )
        steps = level.number - last.number
        for step in range(1, steps + 1):
            wanted = step == steps
            now = level if wanted else _between(last, level, step, steps)
            if now.number > done:
                yield Round(now, wanted)
        last = level


def _between(last: Level, level: Level, step: int, steps: int) -> Level:
    sparsities = []
    for before, after in (
        (last.graph_sparsity, level.graph_sparsity),
        (last.weight_sparsity, level.weight_sparsity),
    ):
        sparsities.append(1 - (1 - before) * ((1 - after) / (1 - before)) ** (step / steps))
    return Level(last.number + step, *sparsities)
