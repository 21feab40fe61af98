"""Rows of an earlier board, so that a board can grow: what was measured elsewhere, or before, need not be here.

The file is not trusted: it may have been edited, and what cannot be a row ends in one clear line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from glt.errors import GltError
from glt.leaderboard.entry import MOST_CONFIGS, SEEDS, parse
from glt.leaderboard.ranking import AXES, TRACKS, Board, Row, one_each, ranked, weak_dense
from glt.leaderboard.render import render
from glt.leaderboard.scalars import LOSSES
from glt.number import number
from glt.version import __version__

COMPUTED = ("path", "tried", "unranked")
"""What follows from the rest of a row."""
TIMED = ("compact", "dense")
LONGEST = 4_000


def rows_of(file: Path) -> list[Row]:
    """The rows of a ``leaderboard.json``, without what it says of one beside the other; none where there is no file.

    Of rows of one source the last counts.

    Raises:
        GltError: it is no board, one of another release, or holds what no board does.
    """
    if not file.exists():
        return []
    try:
        tree = parse(file.read_bytes(), file.name)
        if tree["glt"] != __version__:
            raise GltError(f"it was made by glt {str(tree['glt'])[:20]}, this is {__version__}")
        rows = [{key: value for key, value in row.items() if key not in COMPUTED} for row in tree["rows"]]
        found = {row.source: row for row in map(_plain, TypeAdapter(list[Row]).validate_python(rows))}
        render(Board(tuple(ranked(one_each(weak_dense(found.values())))), ()))  # what cannot be shown is said now
    except Exception as error:  # whatever somebody has done to it
        why = " ".join(str(error).split())[:120]
        raise GltError(f"{file} is no board whose rows can be kept ({why}): leave out --update") from None
    return list(found.values())


def _plain(row: Row) -> Row:
    """The row by itself.

    Raises:
        GltError: a number, a text or a name in it that no board writes.
    """
    known = row.track in TRACKS and 1 <= row.seeds <= len(SEEDS) and set(row.scalars) == set(AXES)
    known = known and all(set(curve.s) == set(LOSSES) for curve in row.scalars.values())
    known = known and all(not claim.latency_ms or set(claim.latency_ms) == set(TIMED) for claim in row.claims)
    if not known or not 1 <= (row.n_configs or 1) <= MOST_CONFIGS:
        raise GltError(f"the row of {row.source[:60]!r} is not as a board writes it")
    for value in _leaves(asdict(row)):
        if isinstance(value, str) and len(value) > LONGEST:
            raise GltError(f"a text of {len(value):,} characters")
        if isinstance(value, (int, float)) and not isinstance(value, bool) and number(value) is None:
            raise GltError(f"{str(value)[:20]} is not a number that can be computed with")
    return replace(row, alike=1, ranks={}, verdicts=tuple(v for v in row.verdicts if not v.beside))


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from (key, *_leaves(value))
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _leaves(value)
    else:
        yield tree


def others(earlier: Iterable[Row], rows: Iterable[Row], sources: Iterable[str]) -> list[Row]:
    """Those of ``earlier`` that are not measured anew: of another source, and of our own of another experiment."""
    anew, experiments = set(sources), {row.config_id for row in rows if not row.foreign}
    return [row for row in earlier if row.source not in anew and (row.foreign or row.config_id not in experiments)]
