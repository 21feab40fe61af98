"""Estimate: what units will cost, from what similar ones did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from glt.problem import Problem
from glt.results import Record
from glt.sweeps.units import Unit

TRIED = 5
"""Epochs of a measurement."""


class Estimate:
    """Seconds per epoch of finished trainings; of a unit, those of the most similar ones.

    Similar is: the same data, backbone and method; the same data and backbone; anything at all.

    Args:
        records: of any experiments; those of another number of threads or kind of device are passed over.
        device: kind of device.
        threads: CPU threads of a worker.
    """

    def __init__(self, records: Iterable[Record] = (), device: str = "cpu", threads: int = 1) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        for record in records:
            alike = record.get("threads") == threads and str(record.get("device", "")).startswith(device.split(":")[0])
            if alike and record.get("status") == "ok" and not record.get("control"):
                self.add(record["config"], record["method"], record["search_s"], record["search_epochs"])

    def add(self, spec: dict[str, Any], method: str | None, seconds: float, epochs: float) -> None:
        """Take in that so many epochs took so long."""
        for key in _keys(spec, method):
            before = self._sums.get(key, (0.0, 0.0))
            self._sums[key] = (before[0] + seconds, before[1] + epochs)

    def known(self, unit: Unit) -> bool:
        """Whether anything of its data and backbone was measured."""
        return any(key in self._sums for key in _keys(unit.run.config.spec(), None)[:1])

    def seconds(self, unit: Unit) -> float | None:
        """What a unit takes on one worker; None where nothing was ever measured."""
        for key in _keys(unit.run.config.spec(), unit.run.config.strategy.name):
            if key in self._sums:
                seconds, epochs = self._sums[key]
                return unit.epochs * seconds / epochs
        return None

    def cost(self, unit: Unit) -> float:
        """For comparisons within a sweep: seconds, or where there are none epochs."""
        seconds = self.seconds(unit)
        return unit.epochs if seconds is None else seconds

    def calibrate(self, units: Iterable[Unit], root: Path | None, device: str, prepare: Callable[[], None]) -> None:
        """Train a few epochs of the dense model of every dataset and backbone that nothing is known of."""
        prepare()
        for unit in units:
            if not self.known(unit):
                config = unit.run.config
                recipe = replace(config.train, epochs=TRIED)
                result = Problem(config.dataset(root).to(device), config.backbone, recipe, unit.seed).dense
                self.add(config.spec(), None, result.seconds, result.epochs)


def _keys(spec: dict[str, Any], method: str | None) -> list[str]:
    """From the most similar to anything."""
    place = json.dumps([spec["dataset"], spec["backbone"]])
    return [*([f"{place} {method}"] if method else []), place, ""]


def fitting(costs: Iterable[float], workers: int, budget: float) -> Iterator[bool]:
    """Whether each of some units, begun in this order by so many workers, ends within ``budget`` seconds."""
    free = [0.0] * workers
    for cost in costs:
        first = min(range(workers), key=free.__getitem__)
        free[first] += cost
        yield free[first] <= budget
