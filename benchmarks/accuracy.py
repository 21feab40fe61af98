"""Accuracy of TEDDY and of what it has to beat: ``python benchmarks/accuracy.py [NAME ...]``.

Every configuration appends its records to ``benchmarks/results/accuracy.jsonl`` and its tickets to
``runs/benchmarks``; finished points are not repeated, so the command may be interrupted and given again. The test
metric is read at the best validation epoch; nothing is tuned here.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from glt.allocator import keep_freed_memory
from glt.commands.run import run_with_progress
from glt.config import Config
from glt.pipeline import Run
from glt.results import Results

HERE = Path(__file__).resolve().parent
TABLE = [f"teddy-{dataset}-{backbone}" for dataset in ("cora", "citeseer", "pubmed") for backbone in ("gcn", "gin")]
FEW = "schedule.levels=[10,20]"
CONTROLS = {
    f"{name}-{dataset}": (f"teddy-{dataset}-gcn", *overrides, FEW)
    for dataset in ("cora", "citeseer")
    for name, overrides in {
        "random": ("strategy.scorer=random",),
        "teddy-held-out": ("strategy.distil=held_out",),
        "random-held-out": ("strategy.distil=held_out", "strategy.scorer=random"),
        "teddy-alone": ("strategy.weight=0",),
        "random-alone": ("strategy.weight=0", "strategy.scorer=random"),
    }.items()
}


def experiments() -> dict[str, Config]:
    """Every configuration of the benchmark by name; the controls are the table's with single options changed."""
    named = {name: (name,) for name in TABLE} | CONTROLS
    return {
        name: Config.load(HERE.parent / "configs" / f"{base}.yaml", overrides)
        for name, (base, *overrides) in named.items()
    }


@click.command()
@click.argument("names", nargs=-1)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's choice).")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
def main(names: tuple[str, ...], threads: int | None, root: Path | None) -> None:
    """Run the configurations NAMES, or all of them."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    known = experiments()
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"unknown {unknown[0]!r}; known: {', '.join(known)}")
    results = Results(HERE / "results" / "accuracy.jsonl")
    for name in names or known:
        config = known[name]
        folder = HERE.parent / "runs" / "benchmarks" / config.id
        run_with_progress(Run(config, results, folder), root)


if __name__ == "__main__":
    main()
