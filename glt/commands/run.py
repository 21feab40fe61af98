"""glt run."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glt.commands import options

if TYPE_CHECKING:
    from glt.pipeline import Run
    from glt.results import Record


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="e.g. strategy.weight=10")
@click.option("--dataset", help="A registered dataset.")
@click.option("--backbone", help="A registered backbone.")
@click.option("--strategy", help="A registered strategy.")
@click.option(
    "--graph-sparsity", type=float, help="One level instead of the schedule: fraction of edges removed (default 0)."
)
@click.option(
    "--weight-sparsity", type=float, help="One level instead of the schedule: fraction of weights removed (default 0)."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Rounds of imp, ugs and the like to that level (default: 5 % of edges and 20 % of weights in each).",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds, 0 to n-1.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Results go here."
)
@options.training("Records as JSON lines on stdout instead of the table.")
def run(
    config: Path | None,
    overrides: tuple[str, ...],
    dataset: str | None,
    backbone: str | None,
    strategy: str | None,
    graph_sparsity: float | None,
    weight_sparsity: float | None,
    rounds: int | None,
    seeds: int | None,
    out: Path,
    root: Path | None,
    device: str,
    threads: int | None,
    kernel: str | None,
    deterministic: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find tickets: from a CONFIG file, from options, or from both (options win).

    Every finished seed and level is kept, and of a strategy that goes in rounds every round: an interrupted run
    goes on where it stopped when the same command is given again.

    \b
    glt run configs/demo.yaml
    glt run configs/demo.yaml -o strategy.weight=0 -o seeds=5
    glt run configs/demo.yaml -o initial=false   (small tickets: initial weights are made again by their seed)
    glt run --dataset cora --backbone gcn --graph-sparsity 0.4 --weight-sparsity 0.67
    glt run --strategy ugs --graph-sparsity 0.64 --weight-sparsity 0.88   (in 20 rounds; --rounds 10: in ten)
    """  # noqa: D301 - click reads the backspace
    from glt.commands import device as machine
    from glt.config import Config
    from glt.errors import GltError
    from glt.kernels.choice import asked, use
    from glt.pipeline import Run

    sections: dict[str, Any] = {"dataset": dataset, "backbone": backbone, "strategy": strategy, "seeds": seeds}
    if graph_sparsity is not None or weight_sparsity is not None:
        level = {"graph": graph_sparsity or 0.0, "weight": weight_sparsity or 0.0}
        sections["schedule"] = {"name": "oneshot", **level} | ({"rounds": rounds} if rounds else {})
    elif rounds:
        raise GltError("--rounds goes with --graph-sparsity and --weight-sparsity: a schedule's levels say how many")
    chosen = {key: value for key, value in sections.items() if value is not None}
    experiment = Run.under(Config.load(config, overrides, chosen), out)

    machine.use(device, threads, deterministic)
    with use(kernel or asked()):
        records = run_with_progress(experiment, root, device, as_json, quiet)
    if not as_json:
        _report(experiment, records, root)
    sys.exit(1 if any(record["status"] == "failed" for record in records) else 0)


def run_with_progress(
    experiment: Run, root: Path | None, device: str = "cpu", as_json: bool = False, quiet: bool = False
) -> list[Record]:
    """Run with live progress on stderr; with ``as_json`` each record is printed as it comes."""
    from glt.commands.progress import progress_bar
    from glt.pipeline import run

    config = experiment.config
    epochs = config.train.epochs
    points = len(config.seeds) * (1 + len(config.levels) * (1 + len(config.controls)))
    records: list[Record] = []
    with progress_bar(quiet) as progress:
        task = progress.add_task(f"{config.dataset.name}, {config.backbone.name}", total=points * epochs)

        def on_epoch(seed: int, phase: str, epoch: int, val: float) -> None:
            done = len(records) * epochs + epoch
            text = f"{config.dataset.name} {config.backbone.name} seed {seed} {phase}: val {val:.3f}"
            progress.update(task, completed=done, description=text)
            progress.start()

        for record in run(experiment, root, device, on_epoch):
            records.append(record)
            progress.update(task, completed=len(records) * epochs)
            if as_json:
                click.echo(json.dumps(record))
    return records


def _report(experiment: Run, records: list[Record], root: Path | None) -> None:
    """The table on stdout, the plot as a file, and what to do next."""
    from rich.console import Console

    from glt.paired import compare_levels, summarise_controls
    from glt.plot import plot_accuracy
    from glt.summary import summarise
    from glt.tables import density_lines, summary_table

    config = experiment.config
    title = f"{config.strategy.name} on {config.dataset.name}, {config.backbone.name}"
    rows = summarise(records)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for record in records:
        if record["status"] == "failed":
            what = f"level {record['level']}" + (f" control {record['control']}" if "control" in record else "")
            click.echo(f"seed {record['seed']} {what} failed: {record['error']}", err=True)
    if not rows:
        return
    finished = [r for r in records if r["status"] == "ok" and "control" not in r]
    console.print(summary_table(rows, title, finished[0]["metric"], summarise_controls(records)))
    for line in density_lines((f"level {row.level}", row.densities) for row in rows if row.level):
        click.echo(line)
    for level, comparison in compare_levels(records).items():
        for name, why in comparison.left_out.items():
            click.echo(f"level {level} left out  {name}: {why}")
        click.echo(f"level {level}  {comparison.sentence}")
    last = max(finished, key=lambda r: (r["level"], -r["seed"]))
    ticket = experiment.path(last["seed"], last["level"])
    click.echo(f"records  {experiment.results.path}")
    click.echo(f"tickets  {experiment.folder}{os.sep}seed*{os.sep}level*.safetensors")
    if any(row.level for row in rows):
        plot = experiment.folder.with_suffix(".png")
        plot_accuracy(plot, {config.strategy.name: rows}, f"{title}, {len(config.seeds)} seeds", last["metric"])
        click.echo(f"plot     {plot}")
    where = [] if root is None else ["--root", str(root)]
    click.echo(f"next     {shlex.join(['glt', 'verify', str(ticket), *where])}")
