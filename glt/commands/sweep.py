"""glt sweep."""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glt.commands import options
from glt.errors import GltError

if TYPE_CHECKING:
    from glt.sweeps.backends import Backend
    from glt.sweeps.estimate import Estimate
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
    """Run every point of a grid: CONFIG has base (as of glt run), grid, include, exclude and tune.

    One point is one seed of one experiment with all its levels and controls. Every finished one is kept: an interrupted
    sweep goes on where it stopped when the same command is given again; what failed or was killed is recorded, and then
    tried again. Records do not depend on the number of workers; each has one thread unless --threads says otherwise.

    Where CONFIG says under tune what is to be chosen, every experiment is first that: of all combinations the one with
    the best validation metric on seeds 100 to 104. The test metric is not looked at.

    \b
    glt sweep configs/sweep-demo.yaml
    glt sweep configs/board-cora.yaml --dry-run --calibrate --budget 2h
    glt sweep configs/board-cora.yaml --backend dask --address tcp://head:8786 --workers 64
    """  # noqa: D301 - click reads the backspace
    from glt.commands import device as machine
    from glt.commands.sweep_tables import Phase, plan, table
    from glt.errors import unknown
    from glt.kernels.choice import asked, use
    from glt.results import CANDIDATES, TUNING, Results
    from glt.sweeps import tune
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
    grid, out = Grid.load(config, overrides), out.absolute()
    prepare = partial(machine.use, device, threads, deterministic)
    place = Place(out / grid.name, "", root and root.absolute(), device, kernel or asked(), prepare)

    def phase(units: list[Unit]) -> Phase:
        done = finished(units, place.ends)
        return Phase(units, in_order((unit for unit in units if unit.name not in done), estimate.cost))

    def work(phase: Phase, as_json: bool) -> list[Unit]:
        now = replace(place, invocation=uuid.uuid4().hex)
        return work_on(phase.units, phase.left, now, backend, workers, threads, address, estimate, as_json, quiet)

    with use(kernel):  # an unknown one is said now
        files = [*sorted(out.glob("*/results.jsonl")), *sorted(out.glob(f"*/{TUNING}/{CANDIDATES}"))]
        estimate = Estimate((record for path in files for record in Results(path)), device, threads)
        choices = tune.choices(grid, out)
        planned = tune.chosen(grid, choices, planned=True)
        trials, points = phase(tune.trials(grid, out)), phase(units_of(planned, out))
        if calibrate:
            estimate.calibrate([*trials.left, *points.left], root, device, prepare)
            trials, points = (Phase(of.units, in_order(of.left, estimate.cost)) for of in (trials, points))
    if dry_run:
        plan(grid.name, choices, trials, points, estimate, workers, limit, as_json)
        return
    for unit in {json.dumps(unit.run.config.spec()["dataset"]): unit for unit in [*trials.left, *points.left]}.values():
        unit.run.config.dataset(root)  # downloads once, and what is not there is said before anything is trained
    with alone(place.folder):
        if trials.left:
            work(trials, as_json=False)
        choices = tune.choices(grid, out)
        tune.write(grid, choices, out)
        points = phase(units_of(tune.chosen(grid, choices), out))
        failed = [choice for choice in choices if not choice.config]
        for choice in choices:
            if not choice.config:
                why = os.path.relpath(place.folder / TUNING / CANDIDATES)
                said = f"all {len(choice.vals)} candidates failed" if choice.over else "not every candidate was tried"
                click.echo(f"{choice.point.label}: {said}, see {why}", err=True)
            elif choice.vals and not quiet:
                click.echo(f"{choice.point.label}: chosen is {choice.said}", err=True)
        bad = work(points, as_json) if points.units else []
    if not as_json:
        table(grid.name, choices, Results(place.folder / "results.jsonl"))
    sys.exit(1 if bad or failed else 0)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within the block no other sweep works in ``folder``, which is made where it is missing.

    Raises:
        GltError: somebody else works there, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "sweep.lock", timeout=0):
            yield
    except Timeout:
        raise GltError(f"{folder} is being worked on by another glt sweep: wait for it, or use another --out") from None
    except OSError as error:
        raise GltError(f"cannot write {folder}: {error.strerror or error}") from None


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

    Within :func:`alone` in the folder of ``place``.
    """
    from glt.commands.sweep_progress import watching
    from glt.sweeps.backends import run_units
    from glt.sweeps.estimate import Estimate

    with watching(units, left, place, workers, estimate or Estimate(), as_json, quiet) as say:
        run_units(left, place, backend, workers, threads, address, say)
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
