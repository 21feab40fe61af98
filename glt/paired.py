"""A ticket beside its controls: one row each, paired differences, one sentence."""

from __future__ import annotations

import base64
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from glt.errors import GltError
from glt.intervals import bootstrap
from glt.results import Record
from glt.summary import Row, mean_densities, summarise

LEAST_SEEDS = 3
"""With fewer seeds, differences are paired over test nodes."""


@dataclass(frozen=True)
class ControlRow:
    """The ticket, or one control, over all seeds; metrics are fractions.

    Attributes:
        name: ``"ticket"``, or the control with its options.
        graph_sparsity, weight_sparsity: of its own graph and network, mean over seeds.
        edges, weights: how many it keeps, mean over seeds.
        seeds: number of seeds.
        val, test: means; spread: unbiased standard deviation of the test metric (0 for one seed).
        difference: mean of (ticket - control) in the test metric over its seeds; 0 for the ticket itself.
        low, high: its 95 % interval, see :func:`interval`; None where there is none.
        paired: ``"5 seeds"`` or ``"1000 test nodes"``, over which the interval is; empty where there is none.
        densities: fraction of each layer's weights that is kept, mean over seeds.
    """

    name: str
    graph_sparsity: float
    weight_sparsity: float
    edges: float
    weights: float
    seeds: int
    val: float
    test: float
    spread: float
    difference: float = 0.0
    low: float | None = None
    high: float | None = None
    paired: str = ""
    densities: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A ticket of one level, over its seeds, and its controls.

    Attributes:
        ticket: its row.
        controls: a row per control, the best test metric first; those that lack seeds of the ticket come after the
            others, since a mean over fewer seeds is no fair one.
        left_out: why a control is not there, or not of every seed, by its name.
        metric: name of the metric.
    """

    ticket: ControlRow
    controls: tuple[ControlRow, ...]
    left_out: dict[str, str]
    metric: str

    @property
    def whole(self) -> list[ControlRow]:
        """The controls that have every seed of the ticket, the best first."""
        return [row for row in self.controls if row.seeds == self.ticket.seeds]

    @property
    def sentence(self) -> str:
        """Whether the ticket beats the best control, and the best of those that keep no more than it does."""
        whole = self.whole
        if not whole:
            why = "No control was possible" if not self.controls else "No control has every seed of the ticket"
            return f"{why}, so nothing is known of the ticket's worth."
        best = whole[0]
        said = _verdict(best, "the best control")
        sparse = [row for row in whole if row.edges <= self.ticket.edges and row.weights <= self.ticket.weights]
        if sparse and sparse[0] is not best:
            said += "; of those with no more edges and weights, " + _verdict(sparse[0], "the best", again=True)
        return f"{said}."


def compare(records: Iterable[Record]) -> Comparison:
    """One comparison of the control records of one experiment and level; of each control and seed the last counts.

    Intervals are of each control by itself: that the best of several was chosen by its test metric makes it look
    better, never the ticket.
    """
    latest: dict[str, dict[int, Record]] = defaultdict(dict)
    tickets: dict[int, Record] = {}
    for record in records:
        tickets[record["seed"]] = latest[label(record)][record["seed"]] = record
    if not tickets:
        raise GltError("there are no controls to compare with")
    found = {name: [r for r in by_seed.values() if r["status"] == "ok"] for name, by_seed in latest.items()}
    left_out = {
        name: next(r["error"] for r in by_seed.values() if r["status"] != "ok")
        for name, by_seed in latest.items()
        if len(found[name]) < len(by_seed)
    }
    rows = [_row(name, ok) for name, ok in found.items() if ok]
    rows.sort(key=lambda row: (-row.seeds, -row.test, row.name))
    every = list(tickets.values())
    return Comparison(_row("ticket", every, "ticket_"), tuple(rows), left_out, every[0]["metric"])


def compare_levels(records: Iterable[Record]) -> dict[int, Comparison]:
    """:func:`compare` by level, in order, of the control records among ``records``."""
    levels: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        if record.get("control"):
            levels[record["level"]].append(record)
    return {level: compare(levels[level]) for level in sorted(levels)}


def summarise_controls(records: Iterable[Record]) -> dict[str, list[Row]]:
    """A row per level, against dense as the tickets' own, of every control among ``records``."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.get("control") and record["status"] == "ok":
            groups[label(record)].append({**record, "control": None})
    return {name: summarise(group) for name, group in groups.items()}


def label(record: Record) -> str:
    """The control's name with its options."""
    options = ", ".join(f"{k} {v}" for k, v in record["control_spec"].items() if k != "name")
    return f"{record['control']} ({options})" if options else record["control"]


def _row(name: str, records: Sequence[Record], prefix: str = "") -> ControlRow:
    keys = ("graph_sparsity", "weight_sparsity", "edges", "weights", "val", "test")
    means: dict[str, Any] = {key: statistics.fmean(r[prefix + key] for r in records) for key in keys}
    tests = [r[prefix + "test"] for r in records]
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    layers = mean_densities(records, prefix + "densities")
    row = ControlRow(name=name, seeds=len(records), spread=spread, densities=layers, **means)
    if prefix:
        return row
    gaps = np.array([r["ticket_test"] - r["test"] for r in records])
    low, high, paired = interval(gaps, [r["right"] for r in records], [r["ticket_right"] for r in records])
    return replace(row, difference=float(gaps.mean()), low=low, high=high, paired=paired)


def interval(
    gaps: np.ndarray, control: Sequence[str | None], ticket: Sequence[str | None]
) -> tuple[float | None, float | None, str]:
    """(low, high, what it is paired over) of the 95 % interval of mean (ticket - control).

    With at least :data:`LEAST_SEEDS` seeds, seeds are resampled; otherwise test nodes, for all seeds together, which
    says nothing about other seeds. 10,000 resamples, the same every time.

    Args:
        gaps: float [seeds], ticket - control.
        control: per seed which test nodes it has right, as :func:`pack` writes it; None where the metric is not a mean
            over nodes.
        ticket: the same of the ticket.
    """
    if len(gaps) >= LEAST_SEEDS:
        return *bootstrap(gaps), f"{len(gaps)} seeds"
    pairs = [(unpack(t), unpack(c)) for t, c in zip(ticket, control, strict=True) if t is not None and c is not None]
    if len(pairs) < len(gaps) or len({len(right) for pair in pairs for right in pair}) != 1:
        return None, None, ""
    nodes = np.mean([t.astype(float) - c for t, c in pairs], axis=0)
    return *bootstrap_few(nodes), f"{len(nodes)} test nodes"


def bootstrap_few(values: np.ndarray, resamples: int = 10_000) -> tuple[float, float]:
    """95 % percentile interval of the mean of ``values`` [n] that take few different values; deterministic.

    How often each value is drawn is multinomial, so memory does not grow with ``n``.
    """
    found, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(0).multinomial(len(values), counts / len(values), size=resamples)
    low, high = np.percentile(draws @ found / len(values), [2.5, 97.5])
    return float(low), float(high)


def pack(right: np.ndarray) -> str:
    """A bool vector as text: its length, then its bits (lowest first) in base64."""
    return f"{len(right)}:{base64.b64encode(np.packbits(right, bitorder='little').tobytes()).decode()}"


def unpack(text: str) -> np.ndarray:
    """The bool vector that was packed."""
    length, _, bits = text.partition(":")
    packed = np.frombuffer(base64.b64decode(bits), dtype=np.uint8)
    return np.unpackbits(packed, count=int(length), bitorder="little").astype(bool)


def _verdict(row: ControlRow, what: str, again: bool = False) -> str:
    """Whether the ticket beats a control, in words that the interval allows."""
    points = f"{100 * row.difference:+.1f} points"
    name = f"{what}, {row.name} (test {100 * row.test:.1f} %)"
    ticket = "it" if again else "The ticket"
    if row.low is None or row.high is None:
        return f"{ticket} differs from {name} by {points}, with too few seeds for an interval"
    where = f"95 % interval {100 * row.low:+.1f} to {100 * row.high:+.1f}, paired over {row.paired}"
    if row.low > 0:
        return f"{ticket} beats {name}, by {points} ({where})"
    if row.high < 0:
        return f"{ticket} does not beat {name}, but falls behind it: {points} ({where})"
    return f"{ticket} is not shown to beat {name}: {points}, and the interval includes 0 ({where})"
