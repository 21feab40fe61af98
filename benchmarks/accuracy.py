"""Accuracy of TEDDY and of what it has to beat: ``python benchmarks/accuracy.py [NAME ...]``.

Four groups: the published setting (``teddy-DATASET-BACKBONE``); every method by what the teacher may say
(``ugs-held-out-cora-gcn``, ...; ``alone`` is without one), all at the same sparsities; what searches cost besides
those (``gebt-alone-cora-gcn``, ...); and TEDDY with hidden units, features or blocks that go as a whole
(``teddy-unit-held-out-cora-gcn``, ...). ``random-edges`` is TEDDY's own training on random edges, ``random`` has random
weights too, ``imp`` has TEDDY's edges.

Every configuration appends its records to ``benchmarks/results/accuracy.jsonl`` and its tickets to
``runs/benchmarks``; finished points are not repeated, so the command may be interrupted and given again. The test
metric is read at the best validation epoch; nothing is tuned here.
"""

from __future__ import annotations

import functools
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
METHODS = {
    "teddy": ("teddy", ()),
    "random-edges": ("teddy", ("strategy.scorer=random",)),
    "ugs": ("ugs", ()),
    "imp": ("teddy", ("strategy=imp",)),
    "random": ("teddy", ("strategy=random",)),
}
"""Of every method: whose files of configs/ it starts from, and what is different."""
TEACHERS = {
    "alone": ("strategy.weight=0",),
    "held-out": ("strategy.weight=10", "strategy.distil=held_out"),
    "all": ("strategy.weight=10", "strategy.distil=all"),
}
PLACES = [("cora", "gcn"), ("citeseer", "gcn"), ("pubmed", "gcn"), ("cora", "gin"), ("cora", "gat")]
SAME = ("schedule.weight_rate=0.1", "schedule.levels=[5,10,15,20]")
COMPARED = {
    f"{method}-{teacher}-{dataset}-{backbone}": (f"{base}-{dataset}-{backbone}", *changes, *overrides, *SAME)
    for dataset, backbone in PLACES
    for teacher, overrides in TEACHERS.items()
    for method, (base, changes) in METHODS.items()
    if not (method == "teddy" and teacher == "all" and f"teddy-{dataset}-{backbone}" in TABLE)
}
"""Without TEDDY taught by all nodes, which the table has."""
SEARCHES = {
    "gebt-alone-cora-gcn": ("gebt-cora-gcn", *SAME),
    "wd_glt_joint-alone-cora-gcn": ("wd-glt-joint-cora-gcn", *SAME, "schedule.levels=[5]"),
    "wd_glt-alone-cora-gcn": ("wd-glt-cora-gcn", *SAME, "schedule.levels=[5]"),
}
"""WD-GLT to level 5 alone: an epoch of it compares all pairs of nodes."""

STRUCTURED = {
    f"teddy-{granularity}-{teacher}-cora-gcn": (
        "teddy-cora-gcn",
        *TEACHERS[teacher],
        f"strategy.granularity={spec}",
        *SAME,
    )
    for teacher in ("held-out", "alone")
    for granularity, spec in {
        "unit": "unit",
        "feature": "feature",
        "block": "{name: block, size: 16}",
    }.items()
}
"""What goes as a whole; beside single weights, which are ``teddy-held-out-cora-gcn`` and ``teddy-alone-cora-gcn``."""


def compared(method: str, teacher: str, dataset: str, backbone: str) -> str:
    """Name of the configuration."""
    name = f"{method}-{teacher}-{dataset}-{backbone}"
    return name if name in COMPARED or name in SEARCHES else f"{method}-{dataset}-{backbone}"


@functools.cache
def experiments() -> dict[str, Config]:
    """Every configuration of the benchmark by name; most are files of configs/ with single options changed."""
    named = {name: (name,) for name in TABLE} | COMPARED | SEARCHES | STRUCTURED
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
