"""Records of several seeds as one row per level."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from glt.intervals import bootstrap
from glt.results import Record


@dataclass(frozen=True)
class Row:
    """One level over all seeds; metrics are fractions.

    Attributes:
        level: its number; 0 is dense.
        graph_sparsity, weight_sparsity: measured, mean over seeds.
        seeds: number of seeds.
        val, test: means; the test metric is read at the best validation epoch.
        spread: unbiased standard deviation of the test metric (0 for one seed).
        difference: mean of (ticket - dense) over paired seeds.
        low, high: its 95 % interval over seeds (:func:`glt.intervals.bootstrap`).
        last: mean test metric after the last epoch.
        densities: fraction of each layer's weights that is kept, mean over the seeds whose records say it.
    """

    level: int
    graph_sparsity: float
    weight_sparsity: float
    seeds: int
    val: float
    test: float
    spread: float
    difference: float
    low: float
    high: float
    last: float
    densities: dict[str, float] = field(default_factory=dict)


def summarise(records: Iterable[Record]) -> list[Row]:
    """One row per level, in order, of the finished records of one config; controls are left out."""
    levels: dict[int, dict[int, Record]] = defaultdict(dict)
    for record in records:
        if record["status"] == "ok" and not record.get("control"):
            levels[record["level"]][record["seed"]] = record
    return [_row(level, list(levels[level].values())) for level in sorted(levels)]


def _row(level: int, records: list[Record]) -> Row:
    def mean(key: str) -> float:
        return statistics.fmean(r[key] for r in records)

    test = [r["test"] for r in records]
    gap = np.array([r["test"] - r["dense_test"] for r in records])
    low, high = bootstrap(gap)
    return Row(
        level=level,
        graph_sparsity=mean("graph_sparsity"),
        weight_sparsity=mean("weight_sparsity"),
        seeds=len(records),
        val=mean("val"),
        test=mean("test"),
        spread=statistics.stdev(test) if len(test) > 1 else 0.0,
        difference=float(gap.mean()),
        low=low,
        high=high,
        last=mean("last_test"),
        densities=mean_densities(records),
    )


def mean_densities(records: Iterable[Record], key: str = "densities") -> dict[str, float]:
    """Density of each layer's weights, mean over the records that have ``key``; older ones have not."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for name, density in record.get(key, {}).items():
            found[name].append(density)
    return {name: statistics.fmean(values) for name, values in found.items()}
