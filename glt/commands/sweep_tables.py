"""What a sweep shows before it runs, and after: the plan and its cost; what was chosen and what it scores."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from glt.commands.sweep_progress import duration
from glt.sweeps.estimate import Estimate, fitting
from glt.sweeps.tune import Choice
from glt.sweeps.units import Unit

if TYPE_CHECKING:
    from glt.results import Record, Results


@dataclass(frozen=True)
class Phase:
    """Units in the order of the grid, and those left to do in the order in which they are begun."""

    units: list[Unit]
    left: list[Unit]


def plan(
    name: str,
    choices: Sequence[Choice],
    trials: Phase,
    points: Phase,
    estimate: Estimate,
    workers: int,
    limit: float | None,
    as_json: bool,
) -> None:
    """Print what would be done, in the order of the grid, and what it costs: candidates first, then experiments.

    An experiment that is not chosen yet costs what its first candidate would.
    """
    left = [*trials.left, *points.left]
    seconds = {unit.name: estimate.seconds(unit) for unit in left}
    timed = [cost for cost in seconds.values() if cost is not None]
    total = sum(timed) if len(timed) == len(left) else None
    fits: dict[str, bool] = {}
    if limit is not None and total is not None:
        fits = dict(zip(seconds, fitting(timed, workers, limit), strict=True))
    tried, rows = _rows(trials, seconds, fits), _rows(points, seconds, fits)
    said = {(choice.config or choice.point.config).id: choice for choice in reversed(choices) if choice.vals}
    for row in rows if said else ():
        choice = said.get(row["config_id"])
        row["chosen"] = choice and choice.best and choice.best.label
        row["candidates"] = len(choice.vals) if choice else 1
    if as_json:
        whole = {"sweep": name, "workers": workers, "units": len(trials.units) + len(points.units), "left": len(left)}
        whole |= {"seconds": total, "wall": None if total is None else total / workers, "fits": sum(fits.values())}
        click.echo(json.dumps({**whole, **({"tuning": tried} if tried else {}), "points": rows}))
        return
    if tried:
        seeds = ", ".join(map(str, dict.fromkeys(unit.seed for unit in trials.units)))
        _print_plan(f"{name}, to choose on seeds {seeds}", trials, tried, bool(fits))
    _print_plan(name, points, rows, bool(fits), {id_: choice.said for id_, choice in said.items()})
    epochs = sum(unit.epochs for unit in left)
    if total is None:
        click.echo(f"{epochs:,} epochs; nothing is known of their cost: --calibrate measures a few")
    else:
        click.echo(f"{epochs:,} epochs, about {duration(total)}; with {workers} workers {duration(total / workers)}")
    if fits:
        click.echo(f"{sum(fits.values())} of {len(left)} points fit in the budget of {duration(limit)}")


def _rows(phase: Phase, seconds: Mapping[str, float | None], fits: Mapping[str, bool]) -> list[dict[str, Any]]:
    """One per experiment."""
    waiting = {unit.name: unit for unit in phase.left}
    groups: dict[str, list[Unit]] = {}
    for unit in phase.units:
        groups.setdefault(unit.run.config.id, []).append(unit)
    rows = []
    for id_, mine in groups.items():
        todo = [waiting[unit.name] for unit in mine if unit.name in waiting]
        costs = [seconds[unit.name] for unit in todo]
        rows.append(
            {
                "point": mine[0].label,
                "config_id": id_,
                "levels": len(mine[0].levels),
                "controls": len(mine[0].controls),
                "seeds": len(mine),
                "done": len(mine) - len(todo),
                "shared": sum(len(unit.found) for unit in todo),
                "epochs": sum(unit.epochs for unit in todo),
                "seconds": None if None in costs else sum(cost for cost in costs if cost is not None),
                "fits": sum(fits[unit.name] for unit in todo) if fits else None,
            }
        )
    return rows


def _print_plan(
    title: str, phase: Phase, rows: Iterable[Mapping[str, Any]], budget: bool, chosen: Mapping[str, str] | None = None
) -> None:
    whole = f"{title}: {len(phase.left)} of {len(phase.units)} points to do"
    cells = []
    for row in rows:
        said = (row["levels"], row["controls"], f"{row['done']}/{row['seeds']}", row["shared"], row["epochs"])
        fits = [f"{row['fits']}/{row['seeds'] - row['done']}"] if budget else []
        what = [chosen.get(row["config_id"], "")] if chosen else []
        cells.append([row["point"], *what, *map(str, said), duration(row["seconds"]), *fits])
    names = ("levels", "controls", "done", "shared", "epochs", "about", *(["fits"] if budget else []))
    _print(whole, ["experiment", *(["chosen"] if chosen else [])], names, cells)


def table(name: str, choices: Sequence[Choice], results: Results) -> None:
    """Print one row per experiment: what was chosen, where there was a choice, and what it scores."""
    from glt.summary import summarise

    configs = [choice.config for choice in choices]
    records: dict[str, list[Record]] = {config.id: [] for config in configs if config}
    for record in results:
        if record.get("config_id") in records:
            records[record["config_id"]].append(record)
    rows: dict[str, dict[int, Any]] = {id_: {row.level: row for row in summarise(r)} for id_, r in records.items()}
    levels = sorted({level for found in rows.values() for level in found})
    tuned = any(choice.vals for choice in choices)
    cells = []
    for choice, config in zip(choices, configs, strict=True):
        found = rows[config.id] if config else {}
        tests = (f"{100 * found[i].test:.1f} ± {100 * found[i].spread:.1f}" if i in found else "" for i in levels)
        seeds = str(max((row.seeds for row in found.values()), default=0))
        cells.append([choice.point.label, *([choice.said] if tuned else []), seeds, *tests])
    names = ("seeds", *("dense" if level == 0 else f"level {level}" for level in levels))
    _print(f"{name}: test metric, %", ["experiment", *(["chosen"] if tuned else [])], names, cells)
    shown = os.path.relpath(results.path.parent)
    click.echo(f"records  {shown}{os.sep}results.jsonl")
    click.echo(f"tickets  {shown}{os.sep}*{os.sep}seed*{os.sep}level*.safetensors")


def _print(title: str, texts: Iterable[str], numbers: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    for name in texts:
        made.add_column(name, overflow="fold")
    for name in numbers:
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 140).print(made)
