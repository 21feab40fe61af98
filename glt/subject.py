"""Tickets that are to be controlled, and whether they belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glt import ticket_file
from glt.errors import GltError
from glt.inductive import is_inductive
from glt.results import Results
from glt.ticket import Ticket


@dataclass(frozen=True)
class Subject:
    """A ticket that is to be controlled.

    Attributes:
        ticket: it.
        name: how it is called in messages.
        sha256: content digest of its file; None for one that has none.
        results: where its controls are recorded, if anywhere.
    """

    ticket: Ticket
    name: str
    sha256: str | None = None
    results: Results | None = None

    @classmethod
    def of(cls, ticket: Ticket | str | Path) -> Subject:
        """Of a ticket, or of its file: then recorded in ``controls.jsonl`` in the folder that holds the seeds'."""
        if isinstance(ticket, Ticket):
            return cls(ticket, f"the ticket of seed {ticket.config.get('seed', 0)}")
        path, loaded = Path(ticket), Ticket.load(ticket)
        folder = path.absolute().parent
        if folder.name == f"seed{loaded.config.get('seed')}":
            folder = folder.parent
        return cls(loaded, str(ticket), str(ticket_file.read(path)[0]["digest"]), Results(folder / "controls.jsonl"))

    @property
    def seed(self) -> int:
        """The ticket's."""
        return int(self.ticket.config.get("seed", 0))

    @property
    def level(self) -> int:
        """The ticket's."""
        return int(self.ticket.config.get("level", 0))


def check_same(subjects: Sequence[Subject]) -> None:
    """GltError unless these are tickets of one experiment at one level, of different seeds."""
    if not subjects:
        raise GltError("there is no ticket to control")
    first = subjects[0]
    for subject in subjects:
        if not subject.level:
            raise GltError(f"{subject.name} is dense (level 0), which is a control itself: give a ticket of a level")
        if subject.ticket.trained is None:
            raise GltError(f"{subject.name} was saved without trained weights: what it scores cannot be measured")
        graphs = [each.ticket.fingerprint[:12] for each in (first, subject)]
        if is_inductive(first.ticket.config):  # every split leaves another one
            graphs = ["", ""]
        for what, one, other in (
            ("graph", *graphs),
            ("level", first.level, subject.level),
            *_settings(first.ticket, subject.ticket),
        ):
            if one != other:
                raise GltError(
                    f"{first.name} and {subject.name} are not of one experiment: {what} {one!r} there, {other!r} here; "
                    "give tickets of one level that differ in their seed alone"
                )
        if twins := [s.name for s in subjects if s.seed == subject.seed and s is not subject]:
            raise GltError(f"{subject.name} and {twins[0]} have the same seed {subject.seed}: give one ticket per seed")


def _settings(one: Ticket, other: Ticket) -> Iterator[tuple[str, Any, Any]]:
    """Every part of two configs beside the seed, the identity last: what differs is told by its name."""
    for key in sorted((one.config.keys() | other.config.keys()) - {"seed"}, key=lambda key: (key == "config_id", key)):
        yield key, one.config.get(key), other.config.get(key)
