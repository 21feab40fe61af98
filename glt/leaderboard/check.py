"""An entry measured ticket by ticket, its records held to what is found."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from glt.datasets.splits import of_seed
from glt.errors import GltError
from glt.kernels.choice import AUTO, use
from glt.leaderboard.entry import SEEDS, Entry, read, sha256_of
from glt.leaderboard.limits import LIMITS, Limits, NotVerified
from glt.leaderboard.measure import Point, hold, measure
from glt.leaderboard.rules import Measured, Verdict, verdicts
from glt.leaderboard.setting import header_of, setting_of
from glt.results import Record

Known = Callable[[str], Point | None]
"""A point that was measured before, by the sha256 of its file."""


def measured(
    entry: Entry,
    root: Path | None = None,
    limits: Limits = LIMITS,
    costs: bool = False,
    latency: bool = False,
    known: Known | None = None,
    on_point: Callable[[Point], None] | None = None,
) -> Measured:
    """Measure every ticket of an entry whose seed counts, in an order that nobody can foresee.

    Args:
        entry: the entry.
        root: where dataset files are.
        limits: what it may ask for.
        costs: see :func:`glt.leaderboard.measure.measure`.
        latency: likewise.
        known: points that need not be measured again.
        on_point: told of each point.

    Raises:
        GltError: what cannot be read or built.
        NotVerified: what is not as it says, or took too long.
    """
    start = time.monotonic()
    headers = [header_of(path, limits) for path in entry.tickets]
    headers = [header for header in headers if header.seed in SEEDS]
    if not headers:
        raise GltError("the entry has no ticket of seeds 0 to 9: these are the ones that count")
    setting = setting_of(headers, root, limits)
    said = _said(entry)
    points: list[Point] = []
    records: dict[tuple[int, int], Record] = {}
    random.Random().shuffle(headers)
    with use(AUTO):
        for header in headers:
            if limits.seconds and time.monotonic() - start > limits.seconds:
                raise NotVerified(
                    f"{len(points)} of {len(headers)} tickets were measured in {limits.seconds:g} s, all without a "
                    "fault; give more with --seconds"
                )
            point = (known(sha256_of(header.path)) if known else None) or measure(header, setting, costs, latency)
            record = said.get((header.seed, header.level))
            where = f"the record of seed {header.seed}, level {header.level}"
            if record is None:
                raise NotVerified(f"{where} is missing")
            if record.get("ticket_sha256") != header.digest:
                raise NotVerified(f"{where} is of another ticket: its ticket_sha256 differs")
            data = of_seed(setting.data, header.seed)
            hold({**record, "weight_sparsity": point.weight_sparsity}, point.tree(), data, where)
            records[header.seed, header.level] = record
            points.append(point)
            if on_point:
                on_point(point)
    points.sort(key=lambda point: (point.seed, point.level))
    return Measured(entry, setting, tuple(points), records)


def _said(entry: Entry) -> dict[tuple[int, int], Record]:
    """The last finished record of every point."""
    found: dict[tuple[int, int], Record] = {}
    for record in entry.records:
        seed, level = record.get("seed"), record.get("level")
        if record.get("status") == "ok" and type(seed) is int and type(level) is int:
            found[seed, level] = record
    return found


def verify(path: Path, root: Path | None = None, limits: Limits = LIMITS) -> tuple[Measured, list[Verdict]]:
    """An entry, whoever made it: what was found, and what the rules say.

    Raises:
        GltError: bad input; see :mod:`glt.leaderboard.unpack` and :mod:`glt.leaderboard.setting`.
        NotVerified: it does not hold what it says, or a rule rejects it.
    """
    with read(path, limits) as entry:
        found = measured(entry, root, limits)
    said = verdicts(found)
    if out := [verdict for verdict in said if verdict.status == "rejected"]:
        raise NotVerified(out[0].reason)
    return found, said
