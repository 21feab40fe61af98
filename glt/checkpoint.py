"""Where an iterative search is between two levels: the ticket of its last round, until the next level is there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from glt.errors import GltError, GltWarning, in_a_line
from glt.problem import Problem
from glt.schedules.level import Level
from glt.strategies.rounds import untrained
from glt.ticket import Ticket
from glt.version import __version__

FORMAT = 1
KEY = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """A seed's file beside its tickets. Every round replaces the one before it: there is one at most, and never half.

    It is a ticket file whose metrics hold two things more: seconds and peak memory so far. Initial weights are in it
    whatever the config says of tickets, since it does not stay.

    Attributes:
        path: the file, whose name no pattern for tickets (``level*.safetensors``) takes.
    """

    path: Path

    def write(self, ticket: Ticket, peak_mb: float | None) -> None:
        """Put the ticket of a round there; where that cannot be, warn: the search itself can go on."""
        about = {"format": FORMAT, "seconds": ticket.seconds, "peak_mb": peak_mb}
        try:
            replace(ticket, metrics={**ticket.metrics, KEY: about}).save(self.path)
        except (GltError, OSError, SafetensorError) as error:
            text = f"a search that is stopped now repeats its rounds since the last level: {in_a_line(error)}"
            warnings.warn(text, GltWarning, stacklevel=2)

    def read(
        self, problem: Problem, finished: Sequence[Level], left: Sequence[Level]
    ) -> tuple[Ticket, float | None] | None:
        """(the ticket that the search goes on from, peak memory so far), or None: no round after ``finished`` is there.

        A file that is damaged, of another search or of another version is passed over with a warning.

        Args:
            problem: of the search, as the pipeline makes it.
            finished: the levels whose tickets and records are there, in their order.
            left: those after them, at least one.
        """
        if not self.path.exists():
            return None
        try:
            ticket = Ticket.load(self.path)
            about = ticket.metrics.pop(KEY)
            _check(ticket, about["format"], problem)
            number, ticket.seconds, peak_mb = int(ticket.config["level"]), float(about["seconds"]), about["peak_mb"]
            peak_mb = None if peak_mb is None else float(peak_mb)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # GltError is a ValueError
            why = str(error) if isinstance(error, GltError) else f"{type(error).__name__} {error}"
            text = f"passed over {self.path}, rounds since the last level are repeated: {why}"
            warnings.warn(text, GltWarning, stacklevel=2)
            return None
        after, before = finished[-1].number if finished else -1, left[0].number
        # a round after the next level leads past it: its ticket has been taken away since
        here = after < number < before or (number == before and untrained(ticket))
        return (ticket, peak_mb) if here else None

    def clear(self) -> None:
        """Remove it, if it is there and can be: no search is begun from one that a level has passed."""
        with suppress(OSError):
            self.path.unlink()


def _check(ticket: Ticket, written: object, problem: Problem) -> None:
    """Raise GltError unless the ticket is of a round of this search, and made by this version."""
    told = {
        "checkpoint format": (written, FORMAT),
        "glt version": (ticket.versions["glt"], __version__),
        "experiment": (ticket.config["config_id"], problem.config["config_id"]),
        "seed": (ticket.config["seed"], problem.seed),
        "graph": (ticket.fingerprint[:12], problem.edges.fingerprint()[:12]),
    }
    for what, (theirs, ours) in told.items():
        if theirs != ours:
            raise GltError(f"it is of another {what}, {theirs} instead of {ours}")
    if ticket.weight_masks.keys() != problem.masks()[1].keys():
        raise GltError("it masks other weights")
    model = problem.model()
    ticket.rewind(model)
    if ticket.trained is not None:
        ticket.restore(model)
