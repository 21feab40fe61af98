"""glt controls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glt.commands import options

if TYPE_CHECKING:
    from glt.results import Record
    from glt.subject import Subject


@click.command()
@click.argument("tickets", nargs=-1, required=True, metavar="TICKET...", type=click.Path(path_type=Path))
@click.option("--control", "wanted", multiple=True, metavar="NAME", help="Run this one alone; may be repeated.")
@options.training("One JSON object on stdout instead of the table.")
def controls(
    tickets: tuple[Path, ...],
    wanted: tuple[str, ...],
    root: Path | None,
    device: str,
    threads: int | None,
    kernel: str | None,
    deterministic: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run what could make a TICKET look trivial: at its own sparsities, trained as it was.

    Several TICKETs are one experiment's, of one level and different seeds; a control is paired with its ticket by
    seed. With at least 3 seeds the 95 % intervals are over seeds, otherwise over test nodes. Every finished control is
    kept in controls.jsonl beside the tickets: an interrupted command goes on where it stopped.

    \b
    glt controls runs/demo/*/seed*/level10.safetensors
    glt controls level10.safetensors --control random --control mlp
    """  # noqa: D301 - click reads the backspace
    from glt.commands import device as machine
    from glt.config import controls_of
    from glt.kernels.choice import asked, use
    from glt.paired import compare
    from glt.subject import Subject
    from glt.tables import control_table, density_lines

    pieces = controls_of(wanted or "all")
    subjects = [Subject.of(path) for path in tickets]
    machine.use(device, threads, deterministic)
    with use(kernel or asked()):
        records = _run(subjects, pieces, root, device, quiet)
    for record in records:
        if record["status"] == "failed":
            click.echo(f"seed {record['seed']} control {record['control']} failed: {record['error']}", err=True)
    comparison = compare(records)
    if as_json:
        rows = [vars(row) for row in comparison.controls]
        said = {"ticket": vars(comparison.ticket), "controls": rows, "left_out": comparison.left_out}
        shown = {"tickets": [str(path) for path in tickets], "metric": comparison.metric, **said}
        click.echo(json.dumps({**shown, "sentence": comparison.sentence}))
    else:
        from rich.console import Console

        setting = ", ".join(str(records[0][key]) for key in ("dataset", "backbone", "method"))
        title = f"{setting}, level {records[0]['level']} and its controls"
        Console(width=None if sys.stdout.isatty() else 120).print(control_table(comparison, title))
        every = (comparison.ticket, *comparison.controls)
        pruned = (row for row in every if any(density < 1 for density in row.densities.values()))
        for line in density_lines((row.name, row.densities) for row in pruned):
            click.echo(line)
        for name, why in comparison.left_out.items():
            click.echo(f"left out  {name}: {why}")
        click.echo(comparison.sentence)
        click.echo("records  " + ", ".join(dict.fromkeys(str(s.results.path) for s in subjects if s.results)))
    sys.exit(1 if any(record["status"] == "failed" for record in records) else 0)


def _run(subjects: list[Subject], pieces: tuple[Any, ...], root: Path | None, device: str, quiet: bool) -> list[Record]:
    """All records, with live progress on stderr."""
    from glt.commands.progress import progress_bar
    from glt.controlled import recipe_of, run_controls

    epochs = recipe_of(subjects[0].ticket).epochs
    records: list[Record] = []
    with progress_bar(quiet) as progress:
        task = progress.add_task("controls", total=len(subjects) * len(pieces) * epochs)

        def on_epoch(seed: int, phase: str, epoch: int, val: float) -> None:
            text = f"seed {seed} {phase}: val {val:.3f}"
            progress.update(task, completed=len(records) * epochs + epoch, description=text)
            progress.start()

        for record in run_controls(subjects, pieces, root=root, device=device, on_epoch=on_epoch):
            records.append(record)
            progress.update(task, completed=len(records) * epochs)
    return records
