"""glt run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds, 0 to n-1.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Results go here."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's choice).")
@click.option("--json", "as_json", is_flag=True, help="Records as JSON lines on stdout instead of the table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def run(
    config: Path | None,
    overrides: tuple[str, ...],
    dataset: str | None,
    backbone: str | None,
    strategy: str | None,
    graph_sparsity: float | None,
    weight_sparsity: float | None,
    seeds: int | None,
    out: Path,
    root: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find tickets: from a CONFIG file, from options, or from both (options win).

    Every finished seed and level is kept: an interrupted run goes on where it stopped when the same command
    is given again.

    \b
    glt run configs/demo.yaml
    glt run configs/demo.yaml -o strategy.weight=0 -o seeds=5
    glt run --dataset cora --backbone gcn --graph-sparsity 0.4 --weight-sparsity 0.67
    """  # noqa: D301 - click reads the backspace
    from glt.allocator import keep_freed_memory
    from glt.config import Config
    from glt.errors import GltError
    from glt.pipeline import Run

    sections: dict[str, Any] = {"dataset": dataset, "backbone": backbone, "strategy": strategy, "seeds": seeds}
    if graph_sparsity is not None or weight_sparsity is not None:
        level = {"graph": graph_sparsity or 0.0, "weight": weight_sparsity or 0.0}
        sections["schedule"] = {"name": "oneshot", **level}
    chosen = {key: value for key, value in sections.items() if value is not None}
    experiment = Run.under(Config.load(config, overrides, chosen), out)

    import torch

    keep_freed_memory()
    devices = ["cpu", "cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in devices or (device != "cpu" and not torch.cuda.is_available()):
        raise GltError(f"device {device!r} is not available here; use cpu")
    if threads:
        torch.set_num_threads(threads)
    records = run_with_progress(experiment, root, device, as_json, quiet)
    if not as_json:
        _report(experiment, records)
    sys.exit(1 if any(record["status"] == "failed" for record in records) else 0)


def run_with_progress(
    experiment: Run, root: Path | None, device: str = "cpu", as_json: bool = False, quiet: bool = False
) -> list[Record]:
    """Run with live progress on stderr; with ``as_json`` each record is printed as it comes."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from glt.pipeline import levels_of, run

    config = experiment.config
    epochs = config.train.epochs
    points = len(config.seeds) * (1 + len(levels_of(config)))
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    records: list[Record] = []
    progress = Progress(*columns, console=Console(stderr=True), disable=quiet)
    try:
        task = progress.add_task(f"{config.dataset.name}, {config.backbone.name}", total=points * epochs)

        def on_epoch(seed: int, phase: str, epoch: int, val: float) -> None:
            done = len(records) * epochs + epoch
            text = f"{config.dataset.name} {config.backbone.name} seed {seed} {phase}: val {val:.3f}"
            progress.update(task, completed=done, description=text)
            progress.start()  # not before there is progress: an error in the data stands alone

        for record in run(experiment, root, device, on_epoch):
            records.append(record)
            progress.update(task, completed=len(records) * epochs)
            if as_json:
                click.echo(json.dumps(record))
    finally:
        progress.stop()
    return records


def _report(experiment: Run, records: list[Record]) -> None:
    """The table on stdout, the plot as a file, and what to do next."""
    from rich.console import Console

    from glt.plot import plot_accuracy
    from glt.summary import summarise
    from glt.tables import summary_table

    config = experiment.config
    title = f"{config.strategy.name} on {config.dataset.name}, {config.backbone.name}"
    rows = summarise(records)
    console = Console(soft_wrap=not sys.stdout.isatty())
    for record in records:
        if record["status"] == "failed":
            click.echo(f"seed {record['seed']} level {record['level']} failed: {record['error']}", err=True)
    if not rows:
        return
    console.print(summary_table(rows, title, next(r["metric"] for r in records if r["status"] == "ok")))
    last = max((r for r in records if r["status"] == "ok"), key=lambda r: (r["level"], -r["seed"]))
    ticket = experiment.path(last["seed"], last["level"])
    click.echo(f"records  {experiment.results.path}")
    click.echo(f"tickets  {experiment.folder}{os.sep}seed*{os.sep}level*.safetensors")
    if any(row.level for row in rows):
        plot = experiment.folder.with_suffix(".png")
        plot_accuracy(plot, {config.strategy.name: rows}, f"{title}, {len(config.seeds)} seeds", last["metric"])
        click.echo(f"plot     {plot}")
    click.echo(f"next     glt verify {ticket}")
