"""The board: every entry measured anew and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from glt.errors import DataUnavailable, GltError
from glt.leaderboard import jail
from glt.leaderboard.entry import is_entry, of_run, runs_under
from glt.leaderboard.judge import judge
from glt.leaderboard.kept import others
from glt.leaderboard.limits import LIMITS, Limits
from glt.leaderboard.measure import Point
from glt.leaderboard.memory import Memory
from glt.leaderboard.ranking import Board, Row, one_each, ranked, weak_dense
from glt.results import Results


def sources(paths: Iterable[Path]) -> list[Path]:
    """Packed entries and runs' folders at or below ``paths``, sorted.

    Raises:
        GltError: a path that is not there.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise GltError(f"there is nothing at {path}: give entries, or folders that glt run wrote to")
        if is_entry(path):
            found[path] = None
            continue
        packed = sorted([*path.rglob("*.zip"), *(p.parent for p in path.rglob("entry.json"))])
        inside = {run for entry in packed if entry.is_dir() for run in runs_under(entry)}
        found |= dict.fromkeys([*packed, *(run for run in runs_under(path) if run not in inside)])
    return list(found)


def build(
    paths: Iterable[Path],
    root: Path | None = None,
    *,
    limits: Limits = LIMITS,
    latency: bool = False,
    run_missing: bool = False,
    memory: Results | None = None,
    earlier: Iterable[Row] = (),
    on_entry: Callable[[Path], None] | None = None,
) -> Board:
    """Measure, judge and rank; what goes wrong with one entry leaves the others alone.

    Packed entries are measured in a process of their own, see :mod:`glt.leaderboard.jail`.

    Args:
        paths: entries, or folders of runs; see :func:`sources`.
        root: where dataset files are.
        limits: what each packed entry may ask for; own runs may take their time.
        latency: also time forward passes.
        run_missing: train mandatory controls that have no record; those of runs are kept beside their tickets,
            and of packed entries all are trained.
        memory: where points that were measured are kept, so that the next build need not measure them again.
        earlier: rows of another board, kept as they are where nothing here is of their source or experiment.
        on_entry: told of each source as it comes.

    Raises:
        GltError: no entry at all.
        DataUnavailable: the dataset of a run is not there; that is no fault of the run.
    """
    rows: list[Row] = []
    rejected: list[tuple[str, str]] = []
    found = sources(paths)
    if not found:
        raise GltError("there is no entry and no run to build a leaderboard of: glt run makes them")
    known = Memory(memory, latency)
    asked = {"latency": latency, "run_missing": run_missing}
    for path in found:
        if on_entry:
            on_entry(path)
        try:
            if is_entry(path):
                said = jail.row_apart(path, root, limits, memory=None if memory is None else memory.path, **asked)
                for point in said["points"]:
                    known.keep(TypeAdapter(Point).validate_python(point))
                rows.append(replace(TypeAdapter(Row).validate_python(said["row"]), source=str(path)))
            else:
                rows.append(judge(of_run(path), root, replace(limits, seconds=0.0), memory=known, **asked))
        except DataUnavailable:
            raise
        except GltError as error:
            rejected.append((str(path), str(error)))
        except Exception as error:  # of records that no test has thought of: the others still get their board
            why = " ".join(str(error).split())[:200]
            rejected.append((str(path), f"it cannot be judged: {type(error).__name__} {why}"))
    rows += others(earlier, rows, map(str, found))
    return Board(tuple(ranked(one_each(weak_dense(rows)))), tuple(rejected))
