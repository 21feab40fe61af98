"""The one exception that users are meant to read, and the one warning."""

from __future__ import annotations

import difflib
import functools
import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any


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


class GltWarning(UserWarning):
    """What is done as asked, though the user may not have meant it; the command line shows it as one line."""


@functools.cache
def warn_plainly() -> None:
    """Show a :class:`GltWarning` as ``warning: ...`` on stderr, each text once; other warnings stay as they are."""
    usual, said = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, GltWarning):
            usual(message, category, *where, **more)
        elif str(message) not in said:
            said.add(str(message))
            print(f"warning: {message}", file=sys.stderr)

    warnings.showwarning = show


def in_a_line(error: Exception) -> str:
    """The message; of what users are not meant to see also its kind and where it came from."""
    text = " ".join(str(error).split())
    if isinstance(error, GltError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"


def unknown(kind: str, value: object, allowed: Iterable[str]) -> str:
    """``unknown scorer 'tedy'; did you mean 'teddy'? Known: degree, random, teddy``."""
    options = sorted(allowed)
    close = difflib.get_close_matches(str(value), options, n=1)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {value!r};{hint} known: {', '.join(options) or 'none'}"
