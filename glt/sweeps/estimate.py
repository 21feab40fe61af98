"""Estimate: what units will cost, from what similar ones did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from glt.errors import TrainingError
from glt.number import number
from glt.problem import Problem
from glt.results import Record
from glt.schedules.level import Level
from glt.sweeps.units import Unit

TRIED = 20
"""Epochs of a training that is a measurement; in fewer, what is made once per training would weigh too much."""


class Estimate:
    """Seconds per epoch of finished trainings; of a unit's search, and of its other trainings, the most similar ones'.

    Similar is: the same data, backbone and method (of what is not the search, the method ``dense``); the same data and
    backbone; anything at all.

    Args:
        records: of any experiments, whoever wrote them; those of another number of threads or kind of device are
            passed over, and those that do not say what was trained and how long it took.
        device: kind of device.
        threads: CPU threads of a worker.
    """

    def __init__(self, records: Iterable[Record] = (), device: str = "cpu", threads: int = 1) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        for record in records:
            alike = record.get("threads") == threads and str(record.get("device", "")).startswith(device.split(":")[0])
            if alike and record.get("status") == "ok" and not record.get("control"):
                spec: Any = record.get("config")
                method: Any = record.get("method")
                seconds, epochs = number(record.get("search_s")), number(record.get("search_epochs"))
                named = isinstance(spec, dict) and {"dataset", "backbone"} <= spec.keys() and isinstance(method, str)
                if named and seconds is not None and seconds >= 0 and epochs and epochs > 0:
                    self.add(spec, method, seconds, epochs)

    def add(self, spec: dict[str, Any], method: str | None, seconds: float, epochs: float) -> None:
        """Take in that so many epochs took so long."""
        for key in _keys(spec, method):
            before = self._sums.get(key, (0.0, 0.0))
            self._sums[key] = (before[0] + seconds, before[1] + epochs)

    def known(self, unit: Unit) -> bool:
        """Whether anything of its data, backbone and method was measured."""
        return _keys(unit.run.config.spec(), unit.run.config.strategy.name)[0] in self._sums

    def seconds(self, unit: Unit) -> float | None:
        """What a unit takes on one worker; None where nothing was ever measured."""
        search, other = (self._epoch(unit, method) for method in (unit.run.config.strategy.name, "dense"))
        return None if search is None or other is None else unit.search_epochs * search + unit.other_epochs * other

    def _epoch(self, unit: Unit, method: str) -> float | None:
        for key in _keys(unit.run.config.spec(), method):
            if key in self._sums:
                seconds, epochs = self._sums[key]
                return seconds / epochs
        return None

    def cost(self, unit: Unit) -> float:
        """For comparisons within a sweep: seconds, or where there are none epochs."""
        seconds = self.seconds(unit)
        return unit.epochs if seconds is None else seconds

    def calibrate(self, units: Iterable[Unit], root: Path | None, device: str, prepare: Callable[[], None]) -> None:
        """Train a few epochs of every dataset, backbone and method that nothing is known of, and of its dense model."""
        prepare()
        for unit in units:
            if not self.known(unit):
                config = unit.run.config
                recipe = replace(config.train, epochs=TRIED)
                data, setting = config.dataset(root).to(device), config.spec()
                problem = Problem(data, config.backbone, recipe, unit.seed, config=setting)
                self.add(config.spec(), "dense", problem.dense.seconds, problem.dense.epochs)
                strategy = config.strategy
                if hasattr(strategy, "mask_epochs"):
                    strategy = replace(strategy, mask_epochs=TRIED)
                with suppress(TrainingError):  # too few epochs for it, perhaps
                    for ticket in strategy.tickets(problem, _tried(unit)):
                        self.add(config.spec(), strategy.name, ticket.seconds, ticket.metrics["search_epochs"])


def _tried(unit: Unit) -> list[Level]:
    """One level, with as many rounds before it as there are to a level in the unit's search."""
    levels = unit.run.config.levels
    number = max(1, levels[-1].number // len(levels)) if levels and unit.run.config.strategy.iterative else 1
    return [replace(level, number=number) for level in levels[:1]]


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
