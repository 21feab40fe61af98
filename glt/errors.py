"""The one exception that users are meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GltError(ValueError):
    """A mistake that the user can mend.

    The message is one line: what was wrong (with the value), what is allowed, how to fix it. The command
    line prints it and exits with :attr:`exit_code`; a traceback is never shown for it.
    """

    exit_code = 2


class DataUnavailable(GltError):
    """A dataset has no local copy and could not be downloaded."""

    exit_code = 3


class TrainingError(GltError):
    """A training that cannot go on, such as one whose loss became NaN."""

    exit_code = 1


def unknown(kind: str, value: object, allowed: Iterable[str]) -> str:
    """``unknown scorer 'tedy'; did you mean 'teddy'? Known: degree, random, teddy``."""
    options = sorted(allowed)
    close = difflib.get_close_matches(str(value), options, n=1)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {value!r};{hint} known: {', '.join(options) or 'none'}"
