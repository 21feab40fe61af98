"""Accuracy of TEDDY and of what it has to beat: ``python benchmarks/accuracy.py [NAME ...]``.

Four groups: the published setting (``teddy-DATASET-BACKBONE``); every method by what the teacher may say
(``ugs-held-out-cora-gcn``, ...; ``alone`` is without one), all at the same sparsities; what searches cost besides
those (``gebt-alone-cora-gcn``, ...); and TEDDY with hidden units, features or blocks that go as a whole
(``teddy-unit-held-out-cora-gcn``, ...). ``random-edges`` is TEDDY's own training on random edges, ``random`` has random
weights too, ``imp`` has TEDDY's edges.

Every configuration appends its records to ``benchmarks/results/accuracy.jsonl`` and its tickets to
``runs/benchmarks``; finished points are not repeated, so the command may be interrupted and given again. It is a
sweep: dense trainings are shared, what fails or is killed is recorded and the others go on. The test metric is read at
the best validation epoch; nothing is tuned here.
"""

from __future__ import annotations

import functools
import sys
import uuid
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
from command import Command

from glt.commands.device import use
from glt.commands.sweep import alone, work_on
from glt.config import Config
from glt.kernels.choice import asked
from glt.pipeline import Run
from glt.results import Results
from glt.shared import Shared
from glt.sweeps.units import Unit, finished, in_order
from glt.sweeps.work import Place

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "accuracy.jsonl"
RUNS = HERE.parent / "runs" / "benchmarks"
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
BACKBONES = {
    "gcn": ("gcn", ()),
    "gcn-16": ("gcn", ("backbone.hidden=16",)),
    "gin-64": ("gin", ("backbone.hidden=64",)),
    "gat-64": ("gat", ("backbone.hidden=64",)),
}
"""Whose files of configs/, and how wide; 512 unless said."""
PLACES = [
    ("cora", "gcn"),
    ("citeseer", "gcn"),
    ("citeseer", "gcn-16"),
    ("pubmed", "gcn-16"),
    ("cora", "gin-64"),
    ("cora", "gat-64"),
]
"""Some as narrow as their authors have them (Kipf and Welling: 16 units; Velickovic et al.: 8 heads of 8), or as on the
board: of 512 units the last level leaves as many weights as 62 dense ones have, and thirty searches of 21 trainings
each take eight times as long."""
SAME = ("schedule.weight_rate=0.1", "schedule.levels=[5,10,15,20]")
COMPARED = {
    f"{method}-{teacher}-{dataset}-{backbone}": (f"{base}-{dataset}-{kind}", *width, *changes, *overrides, *SAME)
    for dataset, backbone in PLACES
    for kind, width in [BACKBONES[backbone]]
    for teacher, overrides in TEACHERS.items()
    for method, (base, changes) in METHODS.items()
    if not (method == "teddy" and teacher == "all" and f"teddy-{dataset}-{backbone}" in TABLE)
}
"""Without TEDDY taught by all nodes, which the table has."""
DRAWN = ("schedule.levels=[5]", "strategy.nodes=512")
"""WD-GLT compares 512 nodes, drawn by the seed; all pairs of nodes take thirty times as long."""
SEARCHES = {
    "gebt-alone-cora-gcn": ("gebt-cora-gcn", *SAME),
    "wd_glt_joint-alone-cora-gcn": ("wd-glt-joint-cora-gcn", *SAME, *DRAWN),
    "wd_glt-alone-cora-gcn": ("wd-glt-cora-gcn", *SAME, *DRAWN),
}
"""WD-GLT to level 5 alone."""

GRANULARITIES = {"unit": "unit", "feature": "feature", "block": "{name: block, size: 16}"}
STRUCTURED = {
    f"teddy-{granularity}-{teacher}-cora-gcn": (
        "teddy-cora-gcn",
        *TEACHERS[teacher],
        f"strategy.granularity={spec}",
        *SAME,
    )
    for teacher in ("held-out", "alone")
    for granularity, spec in GRANULARITIES.items()
}
"""What goes as a whole; beside single weights, which are ``teddy-held-out-cora-gcn`` and ``teddy-alone-cora-gcn``."""


def compared(method: str, teacher: str, dataset: str, backbone: str) -> str:
    """Name of the configuration."""
    name = f"{method}-{teacher}-{dataset}-{backbone}"
    return name if name in COMPARED | SEARCHES | STRUCTURED else f"{method}-{dataset}-{backbone}"


@functools.cache
def experiments() -> dict[str, Config]:
    """Every configuration of the benchmark by name; most are files of configs/ with single options changed."""
    named = {name: (name,) for name in TABLE} | COMPARED | SEARCHES | STRUCTURED
    return {
        name: Config.load(HERE.parent / "configs" / f"{base}.yaml", overrides)
        for name, (base, *overrides) in named.items()
    }


def units(names: Iterable[str], results: Path, runs: Path) -> list[Unit]:
    """What a worker does at a time, of the configurations of these names."""
    known, file, shared = experiments(), Results(results), Shared(runs / "shared")
    return [
        Unit(name, Run(replace(known[name], seeds=(seed,)), file, runs / known[name].id, shared))
        for name in names
        for seed in known[name].seeds
    ]


@click.command(cls=Command)
@click.argument("names", nargs=-1)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Seeds at once.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each (default: torch's choice).")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
def main(names: tuple[str, ...], workers: int, threads: int | None, root: Path | None) -> None:
    """Run the configurations NAMES, or all of them."""
    known = experiments()
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"unknown {unknown[0]!r}; known: {', '.join(known)}")
    every = units(names or known, RESULTS, RUNS)
    place = Place(RUNS, uuid.uuid4().hex, root, kernel=asked(), prepare=partial(use, "cpu", threads))
    done = finished(every, place.ends)
    left = in_order((unit for unit in every if unit.name not in done), lambda unit: unit.epochs)
    with alone(RUNS):
        bad = work_on(every, left, place, "loky" if workers > 1 else "sequential", workers, threads)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
