"""Controls of the tickets of ``accuracy.py``: ``python benchmarks/controls.py [NAME ...]``.

Run with what could make a ticket look trivial (see ``glt controls``), but once each: a narrower dense network for
every level and teacher of a place, an MLP for every teacher of a place (taught where the ticket is), both by the recipe
of TEDDY's tickets; and, for every method that chooses weights, its last ticket with the weights shuffled in every layer
and with other initial weights. Random edges and weights are a method of ``accuracy.py``, and every run has its dense
model.

Tickets are read from ``runs/benchmarks``. Records are appended to ``benchmarks/results/controls.jsonl``; finished ones
are not repeated, so the command may be interrupted and given again. NAME is a configuration of ``accuracy.py``; without
one, all that are compared. The exit code is 1 where tickets are missing or a control failed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch
from accuracy import HERE, PLACES, TEACHERS, compared, experiments
from command import Command
from found import CONTROLLED, wanted

from glt.allocator import keep_freed_memory
from glt.config import Config, controls_of
from glt.controlled import Progress, run_controls
from glt.results import Record, Results
from glt.subject import Subject

RUNS = HERE.parent / "runs" / "benchmarks"
RESULTS = HERE / "results" / "controls.jsonl"
ASKED = {
    compared(method, teacher, *place): wanted(method, teacher)
    for place in PLACES
    for teacher in TEACHERS
    for method in CONTROLLED
}
"""Controls by configuration and level."""


def tickets(config: Config, level: int, runs: Path) -> tuple[list[Path], list[Path]]:
    """(files of the tickets of a level, those of them that are missing), in the order of the seeds."""
    files = [runs / config.id / f"seed{seed}" / f"level{level:02d}.safetensors" for seed in config.seeds]
    return files, [file for file in files if not file.exists()]


def run(
    config: Config,
    level: int,
    which: Sequence[str],
    runs: Path = RUNS,
    results: Path = RESULTS,
    root: Path | None = None,
    on_epoch: Progress | None = None,
) -> Iterator[Record]:
    """Yield the records of the controls ``which`` of a configuration's tickets of one level."""
    files, _ = tickets(config, level, runs)
    subjects = [replace(Subject.of(file), results=Results(results)) for file in files]
    yield from run_controls(subjects, controls_of(list(which)), root=root, on_epoch=on_epoch)


@click.command(cls=Command)
@click.argument("names", nargs=-1)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's choice).")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
def main(names: tuple[str, ...], threads: int | None, root: Path | None) -> None:
    """Run the controls of the configurations NAMES, or of all that are compared."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    known, bad = experiments(), 0
    if unknown := [name for name in names if name not in ASKED]:
        raise click.UsageError(f"{unknown[0]!r} has no controls; known: {', '.join(ASKED)}")
    for name in names or ASKED:
        for level, which in ASKED[name].items():
            files, missing = tickets(known[name], level, RUNS)
            if missing:
                click.echo(
                    f"{name}, level {level}: {len(missing)} of {len(files)} tickets are missing, e.g. {missing[0]}; "
                    f"python benchmarks/accuracy.py {name} makes them",
                    err=True,
                )
                bad += 1
                continue
            for record in run(known[name], level, which, root=root):
                said = f"test {record['test']:.3f}" if record["status"] == "ok" else record["error"]
                click.echo(f"{name} level {level} seed {record['seed']} {record['control']}: {said}")
                bad += record["status"] != "ok"
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
