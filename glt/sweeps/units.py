"""Units: what one worker does at a time, which of them are done, and in what order they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from glt.controlled import teaching_of
from glt.controls.base import reads_of
from glt.pipeline import Run
from glt.registry import spec_of
from glt.results import Results
from glt.shared import Shared
from glt.sweeps.grid import Grid


@dataclass(frozen=True)
class Unit:
    """All levels of one seed of an experiment, with their controls: iterative searches need them together.

    Attributes:
        label: what the experiment is called.
        run: the experiment with this seed alone, and where its results live.
        found: keys of the trainings that others make first, of all that it shares.
    """

    label: str
    run: Run
    found: frozenset[str] = frozenset()

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.run.config.seeds[0]

    @property
    def name(self) -> str:
        """Tells it from every other unit; fit for a file."""
        return f"{self.run.config.id}-seed{self.seed}"

    @property
    def levels(self) -> list[int]:
        """Numbers of its levels, dense (0) first."""
        return [0, *(level.number for level in self.run.config.levels)]

    @property
    def controls(self) -> list[dict[str, Any]]:
        """Specifications of its controls."""
        return [spec_of(piece) for piece in self.run.config.controls]

    @property
    def dense_key(self) -> str:
        """The same for units that share a dense training."""
        spec = self.run.config.spec()
        return json.dumps([spec["dataset"], spec["backbone"], spec["train"], self.seed])

    @property
    def trains_dense(self) -> bool:
        """Whether it is the first that needs its dense training; the others find it."""
        return self.dense_key not in self.found

    @cached_property
    def shares(self) -> frozenset[str]:
        """A key for each training that other units may need too: the dense one, and controls that are no ticket's own.

        Of a control it is made of the config alone, where :func:`glt.controls.base.shared_key` looks at the ticket:
        good enough for an estimate.
        """
        return frozenset({self.dense_key, *(key for key in self._controls if key)})

    @cached_property
    def _controls(self) -> list[str | None]:
        """A key for each control of each level, the same for the same training; None for a ticket's own.

        That of the control ``dense`` is the dense training's, which there is anyway.
        """
        strategy, dense = self.run.config.strategy, self.dense_key
        own, biases, start = (getattr(strategy, name, False) for name in ("reweight", "biases", "rewind_to"))
        own = own or self.run.config.train.inductive
        teaching = teaching_of(strategy)
        taught = [teaching.weight, teaching.temperature, teaching.distil] if teaching.weight else None
        keys: list[str | None] = []
        for level in self.run.config.levels:
            parts = {
                "edges": level.graph_sparsity,
                "weights": level.weight_sparsity,
                "initial": self.name if start == "none" else float(start),
            }
            for piece in self.run.config.controls:
                if piece.name == "dense":
                    keys.append(dense)
                    continue
                reads = reads_of(piece)
                about = [spec_of(piece), biases, piece.taught and taught, [parts[part] for part in reads or ()]]
                keys.append(None if reads is None or own else json.dumps([dense, *about]))
        return keys

    @property
    def search_epochs(self) -> int:
        """How many epochs its tickets take, about: searches that stop early, or train in other ways, take others."""
        config = self.run.config
        each, strategy, levels = config.train.epochs, config.strategy, self.levels[1:]
        rounds = levels[-1] if levels and strategy.iterative else len(levels)
        if getattr(strategy, "soft_masks", False):
            return len(levels) * each + rounds * (getattr(strategy, "mask_epochs", None) or each)
        return rounds * each

    @property
    def other_epochs(self) -> int:
        """How many epochs its dense training and controls take, those left out that others make first."""
        own = sum(key is None for key in self._controls)
        return (own + len(self.shares - self.found)) * self.run.config.train.epochs

    @property
    def epochs(self) -> int:
        """How many epochs it takes, about."""
        return self.search_epochs + self.other_epochs


def units_of(grid: Grid, out: Path) -> list[Unit]:
    """One unit per experiment and seed, in the grid's order."""
    folder = out / grid.name
    results, shared = Results(folder / "results.jsonl"), Shared(folder / "shared")
    units = []
    for point in grid.points:
        whole = Run(point.config, results, folder / point.config.id, shared, point.n_configs)
        for seed in point.config.seeds:
            units.append(Unit(point.label, replace(whole, config=replace(point.config, seeds=(seed,)))))
    return units


def finished(units: Sequence[Unit], ends: Results) -> set[str]:
    """Names of the units of which nothing is left to do.

    Args:
        units: of one sweep.
        ends: its :func:`end` lines: a control that is not possible has no record, so records alone do not say that a
            unit with controls is done.
    """
    if not units:
        return set()
    there = {
        tuple(json.dumps(record.get(key)) for key in ("config_id", "seed", "level"))
        for record in units[0].run.results
        if record.get("status") == "ok" and not record.get("control")
    }
    said = {
        (end.get("unit"), json.dumps(spec))
        for end in ends
        if end.get("status") == "ok" and isinstance(end.get("controls"), list)
        for spec in end["controls"]
    }
    return {
        unit.name
        for unit in units
        if all((json.dumps(unit.run.config.id), str(unit.seed), str(level)) in there for level in unit.levels)
        and all(unit.run.path(unit.seed, level).exists() for level in unit.levels)
        and all((unit.name, json.dumps(spec)) in said for spec in unit.controls)
    }


def in_order(units: Iterable[Unit], cost: Callable[[Unit], float]) -> list[Unit]:
    """First a unit of every dense training, then those that find theirs; of each, the longest first.

    What several share is counted in the first of them. The order decides when the last worker ends, never what is
    found.
    """
    longest = sorted(units, key=cost, reverse=True)
    seen: set[str] = set()
    ordered = []
    for unit in longest:
        ordered.append(replace(unit, found=unit.shares & seen))
        seen |= unit.shares
    return sorted(ordered, key=lambda unit: not unit.trains_dense)
