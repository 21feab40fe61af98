"""Tune: of the candidates of an experiment the one that validates best, on seeds that are no experiment's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from glt.config import Config
from glt.files import atomic
from glt.number import number
from glt.pipeline import Run
from glt.results import CANDIDATES, TUNING, Results
from glt.shared import Shared
from glt.sweeps.grid import Grid
from glt.sweeps.points import Point, merged
from glt.sweeps.units import Unit

CHOSEN = "chosen.json"


@dataclass(frozen=True)
class Choice:
    """What is known of the candidates of an experiment; of one without candidates there is nothing to choose.

    Attributes:
        point: the experiment as the grid has it.
        vals: of every candidate the mean validation metric over levels (but dense, 0) and seeds; None where one of them
            is missing. The test metric is not looked at.
        over: whether every candidate was tried to its end, a good one or a bad one.
    """

    point: Point
    vals: tuple[float | None, ...] = ()
    over: bool = True

    @property
    def best(self) -> Point | None:
        """The candidate that validates best, of equal ones the first; None where not all were tried, or all failed."""
        done = [i for i, val in enumerate(self.vals) if val is not None]
        return self.point.candidates[max(done, key=lambda i: (self.vals[i], -i))] if self.over and done else None

    @property
    def config(self) -> Config | None:
        """The experiment with its own seeds and controls; None where nothing is chosen."""
        if not self.vals:
            return self.point.config
        own = self.point.config
        return replace(self.best.config, seeds=own.seeds, controls=own.controls) if self.best else None

    @property
    def said(self) -> str:
        """``train.lr=0.01, of 4``; ``none of 4 (4 failed)``; ``one of 4`` before it is known."""
        if not self.vals:
            return ""
        failed = f" ({self.vals.count(None)} failed)" if self.over and None in self.vals else ""
        name = f"{self.best.label}, of" if self.best else "none of" if self.over else "one of"
        return f"{name} {len(self.vals)}{failed}"


def trials(grid: Grid, out: Path) -> list[Unit]:
    """One unit per candidate and seed of the choice, in the grid's order: the levels of the experiment, no controls.

    What several experiments have among their candidates is tried once.
    """
    folder = out / grid.name
    results, shared = _results(grid, out), Shared(folder / "shared")
    found: dict[str, Unit] = {}
    for point in grid.points:
        for candidate in point.candidates:
            for seed in grid.tune_seeds:
                config = replace(candidate.config, seeds=(seed,), controls=())
                run = Run(config, results, folder / TUNING / config.id, shared)
                unit = Unit(f"{point.label} {candidate.label}", run)
                found.setdefault(unit.name, unit)
    return list(found.values())


def choices(grid: Grid, out: Path) -> list[Choice]:
    """What the records say of every experiment of the grid, in its order."""
    vals: dict[tuple[Any, ...], float | None] = {}
    bad = set()
    for record in _results(grid, out):
        val = number(record.get("val"))
        if record.get("status") == "ok" and val is not None:
            vals[record.get("config_id"), record.get("seed"), record.get("level")] = val
        else:
            bad.add(record.get("config_id"))
    made = []
    for point in grid.points:
        means: list[float | None] = []
        for config in (candidate.config for candidate in point.candidates):
            levels = [0, *(level.number for level in config.levels)]
            of = {(seed, level): vals.get((config.id, seed, level)) for seed in grid.tune_seeds for level in levels}
            pruned = [val for (_, level), val in of.items() if level and val is not None]
            means.append(None if None in of.values() else fmean(pruned))
        ids = [candidate.config.id for candidate in point.candidates]
        over = all(mean is not None or id_ in bad for mean, id_ in zip(means, ids, strict=True))
        made.append(Choice(point, tuple(means), over))
    return made


def chosen(grid: Grid, found: Sequence[Choice], planned: bool = False) -> Grid:
    """The grid of what was chosen, without experiments of which nothing was; ``planned``: the first candidate, then."""
    points = []
    for choice in found:
        config = choice.config or (choice.point.config if planned else None)
        if config:
            points.append(replace(choice.point, config=config, candidates=()))
    return replace(grid, points=tuple(merged(points)))


def write(grid: Grid, found: Sequence[Choice], out: Path) -> None:
    """Note what was chosen, for people: it is computed from the records each time, and never read.

    Raises:
        GltError: the folder cannot be written.
    """
    experiments = [dict(_told(choice)) for choice in found if choice.vals]
    if experiments:
        with atomic(out / grid.name / CHOSEN) as file:
            file.write_text(json.dumps({"seeds": grid.tune_seeds, "experiments": experiments}, indent=1) + "\n")


def _told(choice: Choice) -> Iterator[tuple[str, Any]]:
    best = choice.best
    yield "experiment", choice.point.label
    yield "chosen", best and best.label
    yield "config_id", best and best.config.id
    yield "n_configs", choice.point.n_configs
    pairs = zip(choice.point.candidates, choice.vals, strict=True)
    yield "candidates", [{"candidate": one.label, "config_id": one.config.id, "val": val} for one, val in pairs]


def _results(grid: Grid, out: Path) -> Results:
    return Results(out / grid.name / TUNING / CANDIDATES)
