"""Rows of an earlier board, so that a board can grow: what was measured elsewhere, or before, need not be here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from glt.errors import GltError
from glt.leaderboard.ranking import Row


def rows_of(file: Path) -> list[Row]:
    """The rows of a ``leaderboard.json``, without what it says of one beside the other; none where there is no file.

    Raises:
        GltError: it is no board, or one of another version.
    """
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
        rows = [{key: value for key, value in row.items() if key != "unranked"} for row in tree["rows"]]
        found = TypeAdapter(list[Row]).validate_python(rows)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        why = " ".join(str(error).split())[:120]
        raise GltError(f"{file} is no board whose rows can be kept ({why}): leave out --update") from None
    return [replace(row, ranks={}, verdicts=tuple(v for v in row.verdicts if not v.beside)) for row in found]


def others(earlier: Iterable[Row], rows: Iterable[Row], sources: Iterable[str]) -> list[Row]:
    """Those of ``earlier`` that are not measured anew: of another source, and of our own of another experiment."""
    anew, experiments = set(sources), {row.config_id for row in rows if not row.foreign}
    return [row for row in earlier if row.source not in anew and (row.foreign or row.config_id not in experiments)]
