"""Latency of compact tickets, measured on this machine.

    python benchmarks/latency.py                 # both; an hour on two cores
    python benchmarks/latency.py aims            # graph 60 % / weight 90 %, beside stock PyG and others
    python benchmarks/latency.py accuracy        # tickets of runs/benchmarks beside narrower dense networks
    python benchmarks/latency.py --quick         # does it run? Small, and nothing is written

**aims.** Tickets at 60 % of the edges and 90 % of the weights removed, by TEDDY's scores and the magnitudes of a model
trained for :data:`EPOCHS` epochs: their latency matters here, not their accuracy. Weights go one by one (``element``)
or as whole hidden units (``unit``). All variants of ``glt bench`` run in turns, on the full graph, on one node and on
64; ``macs`` are those of ``glt cost``, ``promised`` is dense / ticket (kept weights, kept arcs), and ``share`` the part
of it that the compact ticket's ratio to stock PyG achieves. ``disk`` is the ticket file without initial weights.

**accuracy.** The tickets of :data:`METHODS` on Cora and CiteSeer as ``accuracy.py`` saved them (seed 0), compact,
beside the dense network and dense networks as narrow as the tickets' numbers of weights: those, too, as compact models,
on the full graph. The plot puts them against the test accuracy in accuracy.jsonl and controls.jsonl.

Records go to benchmarks/results/latency.jsonl, in the place of earlier ones of the same parameters, device and number
of threads; their fields are those of ``speed.py``, ``peer`` being stock PyG. Let nothing else run meanwhile.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accuracy
import click
import machine
import torch
from command import Command
from controls import RUNS, tickets
from rich.console import Console
from speed_epoch import graph_of

import glt
from glt.allocator import keep_freed_memory
from glt.bench.queries import some, whole
from glt.bench.run import bench
from glt.bench.table import table
from glt.bench.variants import Case
from glt.controls.width_matched import narrowed
from glt.cost import cost
from glt.results import Record
from glt.schedules.level import Level
from glt.ticket import Ticket

OUTPUT = Path(__file__).resolve().parent / "results" / "latency.jsonl"
AIMS = (
    ("cora", "gcn", 512),
    ("citeseer", "gcn", 512),
    ("photo", "gcn", 256),
    ("computers", "gcn", 256),
    ("csbm-arxiv", "sage", 256),
    ("csbm-arxiv", "gcn", 256),
)
QUICK = {"name": "csbm", "nodes": 500, "features": 100}
GRANULARITIES = ("element", "unit")
LEVEL = Level(1, 0.6, 0.9)
EPOCHS = {"csbm-arxiv": 5}
USUAL_EPOCHS = 50
PLACES = (("cora", "gcn"), ("citeseer", "gcn"))
METHODS = ("teddy", "teddy-unit", "ugs")
"""Whole units on Cora alone, where their accuracy is measured."""
TEACHERS = ("held-out", "alone")
LEVELS = (5, 10, 15, 20)
DENSE = "dense"
NARROW = "width_matched"


@click.command(cls=Command, help=__doc__.split("\n")[0])
@click.argument("part", type=click.Choice(["aims", "accuracy", "all"]), default="all")
@click.option("--quick", is_flag=True, help="A smoke run: a small graph, few passes, nothing is written.")
@click.option("--dataset", multiple=True, help="aims: these datasets alone.")
@click.option("--backbone", multiple=True, help="aims: these backbones alone.")
@click.option("--granularity", type=click.Choice(GRANULARITIES), multiple=True, help="aims: these alone.")
@click.option("--passes", type=click.IntRange(min=1), default=100, show_default=True, help="Measured rounds.")
@click.option("--warm-up", type=click.IntRange(min=0), default=20, show_default=True, help="Rounds before them.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, help="The file of records.")
def main(
    part: str,
    quick: bool,
    dataset: tuple[str, ...],
    backbone: tuple[str, ...],
    granularity: tuple[str, ...],
    passes: int,
    warm_up: int,
    device: str,
    output: Path,
) -> None:
    keep_freed_memory()
    console = Console(width=None if Console().is_terminal else 120)
    passes, warm_up = (2, 1) if quick else (passes, warm_up)
    if part in ("aims", "all"):
        places = [a for a in AIMS if a[0] in (dataset or [a[0]]) and a[1] in (backbone or [a[1]])]
        for place in [("csbm", "gcn", 16)] if quick else places:
            for choice in granularity or GRANULARITIES:
                console.print(f"aims: {' '.join(map(str, place))}, {choice}")
                records = aims(*place, choice, passes, warm_up, device)
                _written(records, None if quick else output)
                console.print(table(records), markup=False, highlight=False)
    if part in ("accuracy", "all") and not quick:
        for place in PLACES:
            for record in points(place, passes, warm_up, device):
                _written([record], output)
                console.print(f"{record['parameters']}: {record['ours']} ms")


def aims(
    dataset: str, backbone: str, hidden: int, granularity: str, passes: int, warm_up: int, device: str
) -> list[Record]:
    """Records of every variant and query at the aims' level."""
    named = QUICK if dataset == "csbm" else dataset
    data = (glt.load(named) if dataset == "csbm" else graph_of(dataset)).to(device)
    spec = {"name": backbone, "hidden": hidden}
    problem = glt.Problem(
        data,
        glt.build("backbones", spec),
        glt.Recipe(epochs=5 if dataset == "csbm" else EPOCHS.get(dataset, USUAL_EPOCHS)),
        config={"backbone": spec, "dataset": named},
    )
    pruner = {"name": "magnitude", "granularity": granularity}
    strategy = glt.build("strategies", {"name": "oneshot", "pruner": pruner})
    (ticket,) = strategy.tickets(problem, [LEVEL])
    case = Case(ticket, problem.model(), data, {})
    spent = cost(ticket, case.model, data)
    macs = {form: spent.total(form) for form in ("dense", "ticket", "compact")}  # type: ignore[arg-type]
    promised = macs["dense"] / macs["ticket"]
    shared = {
        "macs": macs,
        "promised": round(promised, 3),
        "disk": _bytes_on_disk(ticket),
        "disk_compact": spent.sizes["compact"].disk,
    }
    parameters = {
        "dataset": dataset,
        "backbone": backbone,
        "hidden": hidden,
        "granularity": granularity,
        "graph_sparsity": LEVEL.graph_sparsity,
        "weight_sparsity": LEVEL.weight_sparsity,
    }
    records = []
    asked = [whole(case), some(case, 1), some(case, 64)]
    for record in bench(case, asked, warm_up, passes):
        known = {**parameters, "query": record["query"], "variant": record["variant"]}
        made = {**_as_speed("latency", known, record), **shared}
        if record["variant"] == "compact" and record["query"] == "full graph":
            made["share"] = round(record["ratio"] / promised, 3)
        records.append(made)
    return records


def _as_speed(benchmark: str, parameters: dict[str, Any], record: Record) -> Record:
    """The fields of ``speed.py``'s records, then those of ``glt bench``."""
    return {
        "benchmark": benchmark,
        "parameters": parameters,
        "ours": record.get("ms"),
        "ours_iqr": record.get("ms_iqr"),
        "peer_name": "stock PyG",
        "repetitions": record.get("passes"),
        **record,
    }


def points(place: tuple[str, str], passes: int, warm_up: int, device: str) -> Iterator[Record]:
    """Latency of saved tickets as compact models, of the dense network and of those as narrow as the tickets."""
    known = accuracy.experiments()
    dense = False
    for method in METHODS:
        for teacher in TEACHERS:
            config = known.get(accuracy.compared(method, teacher, *place))
            for level in LEVELS if config else ():
                files, _ = tickets(config, level, RUNS)
                if not files[0].exists():
                    continue
                ticket = Ticket.load(files[0])
                data = glt.load(place[0]).to(device)
                problem = glt.Problem(data, glt.build("backbones", config.backbone))
                where = {"dataset": place[0], "backbone": place[1], "method": method, "teacher": teacher}
                yield _point({**where, "level": level}, ticket, problem, passes, warm_up)
                if method == METHODS[0]:
                    kept = sum(int(mask.sum()) for mask in ticket.weight_masks.values())
                    narrow = narrowed(glt.build("backbones", config.backbone), kept, problem)
                    smaller = glt.Problem(data, narrow)
                    yield _point({**where, "method": NARROW, "level": level}, _whole(smaller), smaller, passes, warm_up)
                if not dense:
                    own = {**where, "method": DENSE, "teacher": "alone", "level": 0}
                    yield _point(own, _whole(problem), problem, passes, warm_up)
                    dense = True


def _point(parameters: dict[str, Any], ticket: Ticket, problem: glt.Problem, passes: int, warm_up: int) -> Record:
    case = Case(ticket, problem.model(), problem.data, {})
    stock, *_, compact = bench(case, [whole(case)], warm_up, passes, ["compact"])
    return _as_speed("latency of accuracy", parameters, {**compact, "peer": stock["ms"], "peer_iqr": stock["ms_iqr"]})


def _whole(problem: glt.Problem) -> Ticket:
    """The dense pair with initial weights in the place of trained ones: latency does not depend on which."""
    edges, masks = problem.masks()
    ticket = Ticket(edges, masks, problem.initial, problem.edges.fingerprint(), problem.undirected)
    ticket.trained = problem.initial
    return ticket


def _bytes_on_disk(ticket: Ticket) -> int:
    """Bytes of the ticket's file without initial weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticket.safetensors"
        ticket.save(path, initial=False)
        return path.stat().st_size


def _written(records: list[Record], output: Path | None) -> None:
    if output is not None:
        machine.replace_records(output, records)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
