"""The board: every entry measured anew and judged."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from glt.errors import DataUnavailable, GltError
from glt.leaderboard.check import measured
from glt.leaderboard.claims import Claim, claims, wanted
from glt.leaderboard.entry import Entry, is_entry, of_run, read, runs_under
from glt.leaderboard.limits import LIMITS, Limits
from glt.leaderboard.measure import Point
from glt.leaderboard.ranking import AXES, Board, Row, one_each, ranked, weak_dense
from glt.leaderboard.rules import Measured, Verdict, verdicts
from glt.leaderboard.scalars import Mark, scalars
from glt.registry import spec_of
from glt.results import Record, Results
from glt.version import __version__


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
    on_entry: Callable[[Path], None] | None = None,
) -> Board:
    """Measure, judge and rank.

    Args:
        paths: entries, or folders of runs; see :func:`sources`.
        root: where dataset files are.
        limits: what each entry may ask for; its seconds are of one entry.
        latency: also time forward passes.
        run_missing: train mandatory controls that have no record; those of runs are kept beside their tickets.
        memory: where points that were measured are kept, so that the next build need not measure them again.
        on_entry: told of each source as it comes.

    Raises:
        GltError: no entry at all.
        DataUnavailable: a dataset is not there; that is no fault of the entry.
    """
    rows: list[Row] = []
    rejected: list[tuple[str, str]] = []
    found = sources(paths)
    if not found:
        raise GltError("there is no entry and no run to build a leaderboard of: glt run makes them")
    known = _Memory(memory, latency)
    for path in found:
        if on_entry:
            on_entry(path)
        try:
            with _entry(path, limits) as entry:
                m = measured(entry, root, limits, costs=True, latency=latency, known=known.get, on_point=known.keep)
                said = verdicts(m)
                if out := [v.reason for v in said if v.status == "rejected"]:
                    rejected.append((str(path), out[0]))
                    continue
                controls = [*entry.controls, *(_missing(m, entry) if run_missing else ())]
                rows.append(_row(m, said, claims(m, controls)))
        except DataUnavailable:
            raise
        except GltError as error:
            rejected.append((str(path), str(error)))
    return Board(tuple(ranked(one_each(weak_dense(rows)))), tuple(rejected))


@contextmanager
def _entry(path: Path, limits: Limits) -> Iterator[Entry]:
    if is_entry(path):
        with read(path, limits) as entry:
            yield entry
    else:
        yield of_run(path)


class _Memory:
    """Points by the sha256 of their files, of this version of glt."""

    def __init__(self, results: Results | None, latency: bool) -> None:
        self.results = results
        self.points: dict[str, Point] = {}
        for record in results or ():
            point = record.get("point")
            if record.get("glt") == __version__ and isinstance(point, dict) and (point["latency_ms"] or not latency):
                self.points[point["file_sha256"]] = Point(**point)

    def get(self, file_sha256: str) -> Point | None:
        return self.points.get(file_sha256)

    def keep(self, point: Point) -> None:
        if point.file_sha256 not in self.points and self.results:
            self.results.append({"glt": __version__, "point": point.tree()})
        self.points[point.file_sha256] = point


def _missing(m: Measured, entry: Entry) -> Iterator[Record]:
    """Train the controls that have no record."""
    from glt.config import controls_of
    from glt.controlled import run_controls
    from glt.subject import Subject

    for path in entry.tickets:
        subject = Subject.of(path)
        if not subject.level or (subject.seed, subject.level) not in m.records:
            continue
        if entry.foreign:  # its folder is not ours to write to
            subject = replace(subject, results=None)
        done = {
            r.get("control")
            for r in entry.controls
            if r.get("status") == "ok" and r.get("ticket_sha256") == subject.sha256
        }
        if names := [name for name in wanted(m) if name not in done]:
            yield from run_controls([subject], controls_of(names), m.setting.data)


def _row(m: Measured, said: Sequence[Verdict], found: Sequence[Claim]) -> Row:
    config, data = m.setting.config, m.setting.data
    levels = m.levels()
    dense = [p.test for p in levels[0].values()]
    curves: dict[str, list[Mark]] = {axis: [] for axis in AXES}
    for claim in found:
        points = levels[claim.level].values()
        gaps = tuple(p.test - levels[0][p.seed].test for p in points)
        pair = (claim.graph_sparsity, claim.weight_sparsity)
        curves["graph"].append(Mark(*pair, claim.test, gaps))
        curves["weight"].append(Mark(*pair[::-1], claim.test, gaps))
    base = statistics.fmean(dense)
    return Row(
        name=m.entry.name,
        source=m.entry.source,
        author=m.entry.author,
        foreign=m.entry.foreign,
        n_configs=m.entry.n_configs,
        track=m.track,
        dataset=_label(spec_of(config.dataset)),
        backbone=_label(spec_of(config.backbone)),
        method=_label(
            {k: v for k, v in spec_of(config.strategy).items() if k not in ("weight", "temperature", "distil")}
        ),
        split=str(data.get("split")),
        metric=str(data.get("metric", "accuracy")),
        config_id=config.id,
        seeds=len(m.seeds),
        val=statistics.fmean([p.val for p in m.points if p.level] or [0.0]),
        dense=base,
        dense_spread=statistics.stdev(dense) if len(dense) > 1 else 0.0,
        scalars={axis: scalars(marks, base) for axis, marks in curves.items()},
        claims=tuple(found),
        verdicts=tuple(said),
    )


def _label(spec: Any) -> str:
    """``teddy``, ``csbm (nodes 200)``."""
    if not isinstance(spec, dict):
        return str(spec)
    options = ", ".join(f"{k} {_label(v)}" for k, v in spec.items() if k != "name")
    return f"{spec['name']} ({options})" if options else str(spec["name"])
