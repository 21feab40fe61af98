"""Records as rows of the report: a row per experiment, level and control."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glt.errors import GltError
from glt.number import number
from glt.paired import compare_levels, label
from glt.report.describe import NAMES, asked, describe, experiment_of
from glt.report.latency import is_latency, latencies, with_latencies
from glt.results import CANDIDATES, Record, Results
from glt.summary import Row, summarise

NEEDED = ("test", "graph_sparsity", "weight_sparsity")
"""Without these a record says nothing here; what is missing of the others is left empty."""

SPENT = (
    "params",
    "macs",
    "macs_dense",
    "ticket_bytes",
    "latency_ms",
    "latency_dense_ms",
    "search_s",
    "search_epochs",
    "peak_mb",
    "avg_degree",
    "isolated",
)
"""Numbers of a record whose mean over seeds a row carries, where they are there."""


@dataclass
class Collected:
    """What the report is about.

    Attributes:
        rows: JSON-able mappings, see :func:`rows_of`.
        verdicts: (what, sentence) of every level that has controls.
        files: the record files and how many finished records each has.
        records: the finished records, with the folder of each under ``folder``.
        passed_over: how many lines were no record of a point.
    """

    rows: list[dict[str, Any]]
    verdicts: list[tuple[str, str]]
    files: dict[str, int]
    records: list[tuple[Path, Record]] = field(repr=False)
    passed_over: int = 0


def collect(paths: Sequence[Path]) -> Collected:
    """Read the records of JSONL files, and of those in folders however deep; glt bench's go to the tickets they are of.

    Candidates of a choice (:data:`glt.results.CANDIDATES`) are read where their file is given, not in folders.

    Raises:
        GltError: a path that is not there, or no finished record in any of them.
    """
    found: list[tuple[Path, Record]] = []
    files: dict[str, int] = {}
    timed: list[Record] = []
    passed_over = 0
    for path in _files(paths):
        usable = 0
        for record in Results(path):
            if _usable(record):
                found.append((path.parent, record))
                usable += record["status"] == "ok"
            elif is_latency(record):
                timed.append(record)
            else:
                passed_over += 1
        if usable:
            files[str(path)] = usable
    if not files:
        where = ", ".join(map(str, paths))
        raise GltError(f"there are no finished records in {where}: glt run makes some (runs/<name>/results.jsonl)")
    found = with_latencies(found, latencies(timed))
    rows, verdicts = rows_of(record for _, record in found)
    finished = [(folder, record) for folder, record in found if record["status"] == "ok"]
    return Collected(rows, verdicts, files, finished, passed_over)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        if not path.exists():
            raise GltError(f"there is no {path}: give a file of records (*.jsonl) or a folder that holds some")
        inside = sorted(file for file in path.rglob("*.jsonl") if file.name != CANDIDATES) if path.is_dir() else [path]
        for file in inside:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _usable(record: Record) -> bool:
    """Whether it is of a point: named, and measured, failed or killed."""
    if not all(isinstance(record.get(name), str) for name in NAMES):
        return False
    if not all(_whole(record.get(key)) for key in ("seed", "level")):
        return False
    if not isinstance(record.get("config", {}), dict) or not isinstance(record.get("control_spec", {}), dict):
        return False
    if record.get("control") is not None and not isinstance(record["control"], str):
        return False
    if record.get("status") == "ok":
        return all(number(record.get(key)) is not None for key in NEEDED)
    return record.get("status") in ("failed", "killed")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def rows_of(records: Iterable[Record]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """A row per experiment, level and control, and a verdict per level that has controls.

    A row has ``kind`` (``dense``, ``ticket``, ``control``), what :func:`describe` says, ``experiment`` (equal for the
    rows of one), ``control``, ``level``, ``metric``, ``seeds``, ``failed`` (seeds that failed or were killed), means as
    fractions (``graph``, ``weight``, ``val``, ``test``, ``last``), ``spread``, the difference from dense with its
    interval (of three seeds or more), the difference from the best control, the cost of the search in dense trainings
    (``search_x`` by epochs, ``seconds_x`` by time), ``densities``, ``grid`` (the sparsities asked for, of a grid),
    ``at_graph`` and ``at_weight`` (of a control: its ticket's) and the means of :data:`SPENT`. What is not known is
    None.
    """
    groups: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    controlled: dict[str, list[Record]] = defaultdict(list)
    dense: dict[tuple[str, int], Record] = {}
    for record in records:
        key = experiment_of(record)
        control = _label(record)
        groups[key, control, record["level"]].append(record)
        if control:
            controlled[key].append(record)
        elif record["status"] == "ok" and not record["level"]:
            dense[key, record["seed"]] = record
    rows, verdicts = [], []
    for (key, control, level), group in groups.items():
        if row := _row(key, control, level, group, dense):
            rows.append(row)
    places = {(row["experiment"], row["level"]): row for row in rows if row["kind"] == "ticket"}
    for row in rows:
        if row["kind"] == "control" and (ticket := places.get((row["experiment"], row["level"]))):
            row |= {"at_graph": ticket["graph"], "at_weight": ticket["weight"]}
    for key, group in controlled.items():
        for level, best, sentence in _verdicts(group):
            if ticket := places.get((key, level)):
                ticket["best"] = best
                about = [*(ticket[part] for part in (*NAMES, "scorer")), *ticket["options"], f"level {level}"]
                verdicts.append((", ".join(filter(None, about)), sentence))
    rows.sort(key=_place)
    return rows, verdicts


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a row stands: dense first, a ticket's controls below it, the best first."""
    where = (row["dataset"], row["backbone"], row["kind"] != "dense")
    which = (row["method"], row["scorer"], row["track"], row["options"], row["experiment"])
    return (*where, *which, row["level"], row["kind"] == "control", -row["test"])


def _label(record: Record) -> str:
    """The control's name with its options; empty for a ticket."""
    if not record.get("control"):
        return ""
    return label({"control_spec": {}, **record})


def _row(key: str, control: str, level: int, group: list[Record], dense: Mapping[Any, Record]) -> dict[str, Any] | None:
    """One row; None where no seed has finished."""
    finished = {r["seed"]: r for r in group if r["status"] == "ok"}
    if not finished:
        return None
    made: Row = summarise([_complete(record) for record in finished.values()])[0]
    last = group[-1]
    row: dict[str, Any] = {
        "kind": "control" if control else "ticket" if level else "dense",
        "experiment": key,
        **describe(last),
        "control": control,
        "level": level,
        "metric": str(last.get("metric") or next(iter(finished.values())).get("metric") or "accuracy"),
        "seeds": made.seeds,
        "failed": len({r["seed"] for r in group if r["status"] != "ok"} - finished.keys()),
        "graph": made.graph_sparsity,
        "weight": made.weight_sparsity,
        "val": made.val,
        "test": made.test,
        "spread": made.spread if made.seeds > 1 else None,
        "last": made.last,
        "difference": made.difference if level else None,
        "low": made.low if level and made.seeds > 2 else None,
        "high": made.high if level and made.seeds > 2 else None,
        "densities": made.densities,
        "grid": None if control else asked(last, level),
        "best": None,
        "at_graph": made.graph_sparsity,
        "at_weight": made.weight_sparsity,
        **{name: _mean(number(r.get(name)) for r in finished.values()) for name in SPENT},
        "search_x": None,
        "seconds_x": None,
    }
    if not control:
        for name, of in (("search_x", "search_epochs"), ("seconds_x", "search_s")):
            ratios = (_ratio(r, dense.get((_dense_key(r), seed)), of) for seed, r in finished.items())
            row[name] = _mean(ratios)
    return row


def _complete(record: Record) -> Record:
    """The record as :func:`glt.summary.summarise` reads it: NaN for what it does not say."""
    numbers = {key: number(record.get(key)) for key in ("val", "last_test", "dense_test")}
    known = {key: math.nan if value is None else value for key, value in numbers.items()}
    return {**record, **known, "control": None, "densities": _densities(record)}


def _dense_key(record: Record) -> str:
    return experiment_of({**record, "level": 0, "method": "dense"})


def _ratio(record: Record, dense: Record | None, key: str) -> float | None:
    one, other = number(record.get(key)), number((dense or {}).get(key))
    return one / other if one is not None and other else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _densities(record: Record) -> dict[str, float]:
    given = record.get("densities")
    numbers = {str(k): number(v) for k, v in given.items()} if isinstance(given, dict) else {}
    return {name: value for name, value in numbers.items() if value is not None}


def _possible(record: Record) -> bool:
    """Whether none of its numbers is more than any can be."""
    numbers = (value for value in record.values() if isinstance(value, (int, float)) and not isinstance(value, bool))
    return all(value != value or number(value) is not None for value in numbers)


def _verdicts(records: Sequence[Record]) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(level, the best control and how far the ticket is from it, the sentence)."""
    try:
        levels = compare_levels(record for record in records if record["status"] == "ok" and _possible(record))
    except (KeyError, TypeError, ValueError):  # controls that another program wrote, without what a pairing needs
        return
    for level, comparison in levels.items():
        best = (comparison.whole or comparison.controls)[0]
        shown = {"name": best.name, "difference": best.difference, "low": best.low, "high": best.high}
        yield level, shown, comparison.sentence
