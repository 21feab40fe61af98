"""Every operating point as a claim, held to the best mandatory control at its sparsity."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from glt.datasets.splits import of_seed
from glt.errors import GltError
from glt.leaderboard.measure import Point
from glt.leaderboard.rules import Measured
from glt.leaderboard.scalars import bound_of
from glt.number import number
from glt.paired import Comparison, ControlRow, compare
from glt.results import Record
from glt.verify import tolerance

MANDATORY = ("mlp", "mlp_distilled", "random", "degree", "shuffled", "reinitialised", "width_matched")
"""Rule 10, beside the dense ticket of every seed; ``mlp_distilled`` of tickets that have a teacher."""
COUNTED = ("graph_sparsity", "weight_sparsity", "avg_degree", "isolated", "params", "bytes", "edges", "weights")
"""Means over seeds of what was counted in a ticket."""
NARROW = "width_matched"
"""Above this one a weight sparsity is interesting, whatever becomes of the graph."""

Mark = Literal["beats", "ties", "loses", ""]
_NUMBERS = ("val", "test", "graph_sparsity", "weight_sparsity", "edges", "weights")


@dataclass(frozen=True)
class Claim:
    """One level over its seeds.

    Attributes:
        level: its number.
        graph_sparsity, weight_sparsity, avg_degree, isolated, params, bytes: means of what was counted.
        seeds: how many.
        test, spread: mean and unbiased standard deviation.
        last: mean after the last epoch, as recorded.
        difference, bound: mean of (ticket - dense) over paired seeds, its lower one-sided 95 % bound.
        macs: mean multiply-adds, weights and propagation apart, of ``ticket``, ``dense`` and ``compact``, which
            multiplies by dense kernels and leaves out the zeros of sparse features; ``dense_compact`` is of dense,
            counted as compact is.
        latency_ms: (median, lower, upper quartile) of compact and dense, means over seeds, where they were measured.
        search: epochs of the search as a multiple of one dense training, as recorded.
        search_s, peak_mb: as recorded.
        mark: whether it beats, ties or loses against ``best``; empty where that cannot be said.
        best: the best mandatory control that keeps no more edges and no more weights.
        against: (difference, low, high) from it.
        missing: mandatory controls that are not there, with why where that is known.
        controls: (test, edges, weights, seeds) of each control.
        as_recorded: whether the controls are what somebody else says; then there is no mark.
        edges, weights: how many the ticket keeps, means, as controls count them.
        narrow_mark: whether it beats, ties or loses against the narrower dense network of no more weights
            (``width_matched``), which keeps all edges; empty where that cannot be said.
        narrow_against: (difference, low, high) from it.
    """

    level: int
    graph_sparsity: float
    weight_sparsity: float
    avg_degree: float
    isolated: float
    params: float
    bytes: float
    seeds: int
    test: float
    spread: float
    last: float | None
    difference: float
    bound: float | None
    macs: dict[str, dict[str, float]]
    latency_ms: dict[str, tuple[float, float, float]]
    search: float | None
    search_s: float | None
    peak_mb: float | None
    mark: Mark = ""
    best: str = ""
    against: tuple[float, float, float] | None = None
    missing: tuple[str, ...] = ()
    controls: dict[str, tuple[float, float, float, int]] = field(default_factory=dict)
    as_recorded: bool = False
    edges: float = 0.0
    weights: float = 0.0
    narrow_mark: Mark = ""
    narrow_against: tuple[float, float, float] | None = None


def claims(m: Measured, controls: Iterable[Record], believed: bool = True) -> list[Claim]:
    """The claims of an entry, level by level.

    Args:
        m: the entry.
        controls: records of its tickets' controls; what is not of one of these very tickets is passed over.
        believed: whether they were trained here; what somebody else says of them is shown and gives no mark.
    """
    levels = m.levels()
    dense = levels.get(0, {})
    usable = _usable(m, controls)
    return [
        _claim(m, list(points.values()), dense, [r for r in usable if r["level"] == level], believed)
        for level, points in levels.items()
        if level
    ]


def wanted(m: Measured) -> tuple[str, ...]:
    """Mandatory controls of this entry."""
    return tuple(name for name in MANDATORY if name != "mlp_distilled" or m.taught != "none")


def _claim(
    m: Measured, points: list[Point], dense: Mapping[int, Point], controls: list[Record], believed: bool
) -> Claim:
    def mean(key: str) -> float:
        return statistics.fmean(getattr(p, key) for p in points)

    def recorded(key: str) -> float | None:
        return _mean([m.records[p.seed, p.level].get(key) for p in points])

    tests = [p.test for p in points]
    gaps = [p.test - dense[p.seed].test for p in points if p.seed in dense]
    epochs = recorded("search_epochs")
    base = _mean([m.records[p.seed, 0].get("search_epochs") for p in points if (p.seed, 0) in m.records])
    claim = Claim(
        level=points[0].level,
        seeds=len(points),
        **{key: mean(key) for key in COUNTED},  # type: ignore[arg-type]
        test=mean("test"),
        spread=statistics.stdev(tests) if len(tests) > 1 else 0.0,
        last=recorded("last_test"),
        difference=statistics.fmean(gaps) if gaps else 0.0,
        bound=bound_of(gaps),
        macs=_macs(points, list(dense.values())),
        latency_ms={
            form: _means(p.latency_ms[form] for p in points)
            for form in ("compact", "dense")
            if all(p.latency_ms for p in points)
        },
        search=epochs / base if epochs and base else None,
        search_s=recorded("search_s"),
        peak_mb=recorded("peak_mb"),
    )
    return _marked(claim, points, wanted(m), controls, believed)


def _marked(claim: Claim, points: list[Point], names: tuple[str, ...], controls: list[Record], believed: bool) -> Claim:
    said = {**vars(claim), "as_recorded": not believed}
    ok = [r for r in controls if r["status"] == "ok"]
    seeds = {name: {r["seed"] for r in ok if r["control"] == name} for name in names}
    why = {r["control"]: str(r.get("error")) for r in controls if r["status"] != "ok"}
    mine = {p.seed for p in points}
    missing = [name for name in names if seeds[name] != mine]
    said["missing"] = tuple(f"{name} ({why[name]})" if name in why else name for name in missing)
    if not ok:
        return Claim(**said)
    comparison: Comparison = compare(ok)
    said["controls"] = {row.name: (row.test, row.edges, row.weights, row.seeds) for row in comparison.controls}
    edges, weights = claim.edges + 1e-6, claim.weights + 1e-6
    narrow = next((row for row in comparison.controls if row.name.partition(" ")[0] == NARROW), None)
    if narrow and NARROW not in missing and narrow.weights <= weights:
        if narrow.low is not None and narrow.high is not None:
            said["narrow_against"] = (narrow.difference, narrow.low, narrow.high)
        said["narrow_mark"] = _mark(narrow) if believed else ""
    mandatory = [row for row in comparison.controls if row.name.partition(" ")[0] in names]
    rivals = [row for row in mandatory if row.edges <= edges and row.weights <= weights]
    if rivals and rivals[0].low is not None and rivals[0].high is not None:
        best = rivals[0]
        said["best"], said["against"] = best.name, (best.difference, best.low, best.high)
        if not missing and believed:
            said["mark"] = _mark(best)
    elif rivals:
        said["best"] = rivals[0].name
    return Claim(**said)


def _mark(row: ControlRow) -> Mark:
    """By the interval of (ticket - control); empty where there is none."""
    if row.low is None or row.high is None:
        return ""
    return "beats" if row.low > 0 else "loses" if row.high < 0 else "ties"


def _usable(m: Measured, controls: Iterable[Record]) -> list[Record]:
    """Control records of these tickets, made plain: numbers are numbers, and the ticket scores what it was found to."""
    points = {(p.seed, p.level): p for p in m.points}
    found: dict[Any, Record] = {}
    for record in controls:
        spec, seed, level = record.get("control_spec"), record.get("seed"), record.get("level")
        point = points.get((seed, level)) if type(seed) is int and type(level) is int else None
        plain = isinstance(spec, dict) and isinstance(record.get("control"), str)
        if point is None or not plain or record.get("ticket_sha256") != point.sha256:
            continue
        nodes = int(of_seed(m.setting.data, point.seed).test_mask.sum())
        status = record.get("status")
        same = {k: record[k] for k in ("control", "control_spec", "seed", "level", "status")} if status else {}
        if status != "ok":
            found.setdefault((record["control"], seed, level), {**same, "error": record.get("error")})
            continue
        if any(number(record.get(key)) is None for key in (*_NUMBERS, "ticket_test")):
            continue
        if abs(record["ticket_test"] - point.test) > tolerance(nodes):
            continue
        found[record["control"], seed, level] = {
            **same,
            **{key: record[key] for key in _NUMBERS},
            **{f"ticket_{key}": getattr(point, key) for key in _NUMBERS},
            "right": _bits(record.get("right"), nodes),
            "ticket_right": _bits(record.get("ticket_right"), nodes),
            "metric": record.get("metric"),
        }
    return list(found.values())


def _bits(text: Any, nodes: int) -> str | None:
    """What :func:`glt.paired.pack` wrote, if it is of so many nodes."""
    from glt.paired import unpack

    if not isinstance(text, str) or len(text) > 2 * nodes + 64 or not text.startswith(f"{nodes}:"):
        return None
    try:
        return text if len(unpack(text)) == nodes else None
    except (ValueError, GltError):
        return None


def _macs(points: list[Point], dense: list[Point]) -> dict[str, dict[str, float]]:
    """By form; ``dense_compact`` is what the compact form of the dense tickets multiplies."""
    found = _mean_macs(points)
    whole = _mean_macs(dense)
    return {**found, "dense_compact": whole["compact"]} if found and whole else found


def _mean_macs(points: list[Point]) -> dict[str, dict[str, float]]:
    if not all(p.macs for p in points):
        return {}
    kinds = ("weights", "propagation")
    return {
        form: {kind: statistics.fmean(p.macs[form][kind] for p in points) for kind in kinds} for form in points[0].macs
    }


def _means(times: Iterable[tuple[float, float, float]]) -> tuple[float, float, float]:
    median, low, high = (statistics.fmean(column) for column in zip(*times, strict=True))
    return median, low, high


def _mean(values: list[Any]) -> float | None:
    """Of numbers; None unless all are."""
    known = [one for value in values if (one := number(value)) is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
