"""glt sweep."""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glt.commands import options
from glt.errors import GltError

if TYPE_CHECKING:
    from glt.results import Record
    from glt.sweeps.backends import Backend
    from glt.sweeps.estimate import Estimate
    from glt.sweeps.grid import Grid
    from glt.sweeps.units import Unit
    from glt.sweeps.work import Place


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="For all, e.g. seeds=2")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Results go here."
)
@click.option("--workers", type=click.IntRange(min=1), help="Points at once (default: cores / threads).")
@click.option("--backend", default="loky", show_default=True, metavar="NAME", help="loky, ray, dask or sequential.")
@click.option("--address", help="Of a Ray or Dask cluster that sees the same files (default: one is started here).")
@click.option("--dry-run", is_flag=True, help="Print the plan and what it costs; train nothing.")
@click.option("--calibrate", is_flag=True, help="Measure a few epochs of what nothing is known of.")
@click.option("--budget", metavar="TIME", help="Of the dry run: mark what fits in 90s, 30m, 2h or 1d.")
@options.training("Records as JSON lines on stdout instead of the table.")
def sweep(
    config: Path,
    overrides: tuple[str, ...],
    out: Path,
    workers: int | None,
    backend: str,
    address: str | None,
    dry_run: bool,
    calibrate: bool,
    budget: str | None,
    root: Path | None,
    device: str,
    threads: int | None,
    kernel: str | None,
    deterministic: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run every point of a grid: CONFIG has base (as of glt run), grid, include and exclude.

    One point is one seed of one experiment with all its levels and controls. Every finished one is kept: an interrupted
    sweep goes on where it stopped when the same command is given again; what failed or was killed is recorded, and then
    tried again. Records do not depend on the number of workers; each has one thread unless --threads says otherwise.

    \b
    glt sweep configs/sweep-demo.yaml
    glt sweep configs/board-cora.yaml --dry-run --calibrate --budget 2h
    glt sweep configs/board-cora.yaml --backend dask --address tcp://head:8786 --workers 64
    """  # noqa: D301 - click reads the backspace
    from glt.commands import device as machine
    from glt.errors import unknown
    from glt.kernels.choice import asked, use
    from glt.results import Results
    from glt.sweeps.backends import BACKENDS
    from glt.sweeps.estimate import Estimate
    from glt.sweeps.grid import Grid
    from glt.sweeps.units import finished, in_order, units_of
    from glt.sweeps.work import Place

    if backend not in BACKENDS:
        raise GltError(unknown("backend", backend, BACKENDS))
    limit = _seconds(budget) if budget else None
    threads = threads or 1
    workers = 1 if backend == "sequential" else workers or max(1, (_cores() if device == "cpu" else 1) // threads)
    grid = Grid.load(config, overrides)
    units = units_of(grid, out.absolute())
    prepare = partial(machine.use, device, threads, deterministic)
    place = Place(
        out.absolute() / grid.name, uuid.uuid4().hex, root and root.absolute(), device, kernel or asked(), prepare
    )
    with use(kernel):  # an unknown one is said now
        known = (record for path in sorted(out.glob("*/results.jsonl")) for record in Results(path))
        estimate = Estimate(known, device, threads)
        done = finished(units, place.ends)
        left = in_order((unit for unit in units if unit.name not in done), estimate.cost)
        if calibrate:
            estimate.calibrate(left, root, device, prepare)
            left = in_order(left, estimate.cost)
    if dry_run:
        _plan(grid, units, left, estimate, workers, limit, as_json)
        return
    for unit in {json.dumps(unit.run.config.spec()["dataset"]): unit for unit in left}.values():
        unit.run.config.dataset(root)  # downloads once, and what is not there is said before anything is trained
    bad = work_on(units, left, place, backend, workers, threads, address, estimate, as_json, quiet)
    if not as_json:
        _report(grid, units, place.folder)
    sys.exit(1 if bad else 0)


def work_on(
    units: Sequence[Unit],
    left: Sequence[Unit],
    place: Place,
    backend: Backend = "loky",
    workers: int = 1,
    threads: int | None = None,
    address: str | None = None,
    estimate: Estimate | None = None,
    as_json: bool = False,
    quiet: bool = False,
) -> list[Unit]:
    """Do what is ``left`` of ``units``, with live progress on stderr; those that failed or were killed.

    Raises:
        GltError: somebody else works in that folder, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    from glt.commands.sweep_progress import watching
    from glt.sweeps.backends import run_units
    from glt.sweeps.estimate import Estimate

    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        with (
            FileLock(place.folder / "sweep.lock", timeout=0),
            watching(units, left, place, workers, estimate or Estimate(), as_json, quiet) as say,
        ):
            run_units(left, place, backend, workers, threads, address, say)
    except Timeout:
        raise GltError(
            f"{place.folder} is being worked on by another glt sweep: wait for it, or use another --out"
        ) from None
    except OSError as error:
        raise GltError(f"cannot write {place.folder}: {error.strerror or error}") from None
    states = {line["unit"]: line["status"] for line in place.ends.holding(place.invocation)}
    return [unit for unit in units if states.get(unit.name, "ok") != "ok"]


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not match:
        raise GltError(f"--budget {text!r} is not a time: write 90s, 30m, 2h or 1d")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def _plan(
    grid: Grid,
    units: list[Unit],
    left: list[Unit],
    estimate: Estimate,
    workers: int,
    limit: float | None,
    as_json: bool,
) -> None:
    """What would be done, in the order of the grid, and what it costs."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from glt.commands.sweep_progress import duration
    from glt.sweeps.estimate import fitting

    seconds = {unit.name: estimate.seconds(unit) for unit in left}
    timed = [cost for cost in seconds.values() if cost is not None]
    fits: dict[str, bool] = {}
    if limit is not None and len(timed) == len(left):
        fits = dict(zip(seconds, fitting(timed, workers, limit), strict=True))
    total = sum(timed) if len(timed) == len(left) else None
    waiting = {unit.name: unit for unit in left}
    rows: list[dict[str, Any]] = []
    for point in grid.points:
        mine = [unit for unit in units if unit.run.config.id == point.config.id]
        todo = [waiting[unit.name] for unit in mine if unit.name in waiting]
        costs = [seconds[unit.name] for unit in todo]
        rows.append(
            {
                "point": point.label,
                "config_id": point.config.id,
                "levels": len(mine[0].levels),
                "controls": len(point.config.controls),
                "seeds": len(mine),
                "done": len(mine) - len(todo),
                "shared": sum(len(unit.found) for unit in todo),
                "epochs": sum(unit.epochs for unit in todo),
                "seconds": None if None in costs else sum(cost for cost in costs if cost is not None),
                "fits": sum(fits[unit.name] for unit in todo) if fits else None,
            }
        )
    if as_json:
        whole = {"sweep": grid.name, "workers": workers, "units": len(units), "left": len(left)}
        whole |= {"seconds": total, "wall": None if total is None else total / workers, "fits": sum(fits.values())}
        click.echo(json.dumps({**whole, "points": rows}))
        return
    table = Table(title=f"{grid.name}: {len(left)} of {len(units)} points to do", title_justify="left", box=SIMPLE_HEAD)
    names = ("levels", "controls", "done", "shared", "epochs", "about", *(["fits"] if fits else []))
    table.add_column("experiment", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        said = (row["levels"], row["controls"], f"{row['done']}/{row['seeds']}", row["shared"], row["epochs"])
        more = [f"{row['fits']}/{row['seeds'] - row['done']}"] if fits else []
        table.add_row(row["point"], *map(str, said), duration(row["seconds"]), *more)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    epochs = sum(row["epochs"] for row in rows)
    if total is None:
        click.echo(f"{epochs:,} epochs; nothing is known of their cost: --calibrate measures a few")
    else:
        click.echo(f"{epochs:,} epochs, about {duration(total)}; with {workers} workers {duration(total / workers)}")
    if fits:
        click.echo(f"{sum(fits.values())} of {len(left)} points fit in the budget of {duration(limit)}")


def _report(grid: Grid, units: list[Unit], folder: Path) -> None:
    """One row per experiment."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from glt.summary import summarise

    records: dict[str, list[Record]] = {point.config.id: [] for point in grid.points}
    for record in units[0].run.results:
        if record.get("config_id") in records:
            records[record["config_id"]].append(record)
    rows: dict[str, dict[int, Any]] = {id_: {row.level: row for row in summarise(r)} for id_, r in records.items()}
    levels = sorted({level for found in rows.values() for level in found})
    table = Table(title=f"{grid.name}: test metric, %", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("experiment", overflow="fold")
    for name in ("seeds", *("dense" if level == 0 else f"level {level}" for level in levels)):
        table.add_column(name, justify="right")
    for point in grid.points:
        found = rows[point.config.id]
        cells = (f"{100 * found[i].test:.1f} ± {100 * found[i].spread:.1f}" if i in found else "" for i in levels)
        table.add_row(point.label, str(max((row.seeds for row in found.values()), default=0)), *cells)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    shown = os.path.relpath(folder)
    click.echo(f"records  {shown}{os.sep}results.jsonl")
    click.echo(f"tickets  {shown}{os.sep}*{os.sep}seed*{os.sep}level*.safetensors")
