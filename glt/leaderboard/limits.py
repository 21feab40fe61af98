"""What an entry may ask for, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from glt.errors import GltError


class NotVerified(GltError):
    """An entry that can be read, and does not hold what it says."""

    exit_code = 1


@dataclass(frozen=True)
class Limits:
    """What an entry is allowed; more is refused before it is read.

    Attributes:
        files: how many files.
        bytes: of all files together, unpacked.
        text: bytes of a JSON file, and of the header of a ticket.
        memory: bytes that its dataset, its model or a layer's outputs may need.
        seconds: for all of a verification; 0 is no limit.
    """

    files: int = 2_000
    bytes: int = 4 * 2**30
    text: int = 32 * 2**20
    memory: int = 8 * 2**30
    seconds: float = 60.0


LIMITS = Limits()


def shown(value: object, most: int = 80) -> str:
    """A value in a message: one line, not too long."""
    text = repr(value)
    return text if len(text) <= most else text[:most] + "..."
