"""Speed of glt beside other implementations, measured on this machine.

    python benchmarks/speed.py                  # all five; 40 minutes on two cores
    python benchmarks/speed.py scoring          # TEDDY scoring and pruning of large graphs; speed_scoring.py
    python benchmarks/speed.py epoch            # training epochs; speed_epoch.py
    python benchmarks/speed.py epoch --device cuda --dataset cora --dataset csbm-arxiv --hidden 256
    python benchmarks/speed.py search           # UGS, the whole search, and its memory; speed_search.py
    python benchmarks/speed.py batches          # memory of a training, whole or in parts; speed_batches.py
    python benchmarks/speed.py together --device cuda     # several seeds at once; speed_together.py; not part of all
    python benchmarks/speed.py levels           # an epoch against the level of its ticket; speed_levels.py
    python benchmarks/speed.py --quick          # does it run? Small, and nothing is written

What is measured, against what, and how to read it is said at the top of those files.
Records go to benchmarks/results/speed.jsonl, in the place of earlier ones of the same parameters, device and number
of threads. Fields of every record: ``benchmark``, ``parameters``, ``unit``, ``ours`` and ``peer`` (medians),
``ours_iqr`` and ``peer_iqr`` (lower and upper quartile), ``ratio`` (peer / ours: above 1, glt is faster),
``repetitions`` and ``peer_repetitions``, then details of the benchmark and what :mod:`glt.provenance` adds. torch
uses its default number of threads (set OMP_NUM_THREADS to change it). Let nothing else run meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import machine
import speed_batches
import speed_epoch
import speed_levels
import speed_scoring
import speed_search
import speed_together
from command import Command
from rich.console import Console
from rich.table import Table

from glt.provenance import provenance
from glt.results import Record

BENCHMARKS = ("scoring", "epoch", "search", "batches", "levels")
OUTPUT = Path(__file__).resolve().parent / "results" / "speed.jsonl"


@click.command(cls=Command, help=__doc__.split("\n")[0])
@click.argument("benchmark", type=click.Choice([*BENCHMARKS, "together", "all"]), default="all")
@click.option("--quick", is_flag=True, help="A smoke run: small sizes, few epochs, nothing is written.")
@click.option("--arcs", type=int, multiple=True, help="scoring: sizes instead of 1, 10 and 50 million.")
@click.option("--dataset", multiple=True, help="epoch, levels, together: these datasets instead of the usual ones.")
@click.option(
    "--backbone", type=click.Choice(list(speed_epoch.BACKBONES)), multiple=True, help="The same: these alone."
)
@click.option("--hidden", type=click.IntRange(min=1), default=512, show_default=True, help="The same: hidden units.")
@click.option("--device", default="cpu", show_default=True, help="epoch, together: cpu, cuda or cuda:N")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, help="The file of records.")
def main(
    benchmark: str,
    quick: bool,
    arcs: tuple[int, ...],
    dataset: tuple[str, ...],
    backbone: tuple[str, ...],
    hidden: int,
    device: str,
    output: Path,
) -> None:
    if device != "cpu" and benchmark not in ("epoch", "together"):
        raise click.UsageError(f"--device {device} is for the benchmarks 'epoch' and 'together' alone")
    console = Console(width=None if Console().is_terminal else 120)
    console.print(", ".join(f"{key} {value}" for key, value in provenance(device).items()))
    output = None if quick else output
    if benchmark in ("scoring", "all"):
        records = _finished(_scoring(console, quick, arcs), output)
        console.print(_scoring_table(records), _peer_table(records))
    if benchmark in ("epoch", "all"):
        records = _finished(_epoch(console, quick, dataset, backbone, device, hidden), output, device)
        console.print(_epoch_table(records, hidden))
    if benchmark in ("search", "all"):
        console.print(*_search_tables(_finished(_search(console, quick), output)))
    if benchmark in ("batches", "all"):
        console.print(_batches_table(_finished(_batches(console, quick), output)))
    if benchmark == "together":
        groups = _together(console, quick, dataset, backbone, device, hidden)
        console.print(_together_table(_finished(groups, output, device)))
    if benchmark in ("levels", "all"):
        console.print(_levels_table(_finished(_levels(console, quick, dataset), output)))


def _finished(groups: Iterable[list[Record]], output: Path | None, device: str = "cpu") -> list[Record]:
    """All records, each group written as soon as it is there."""
    done: list[Record] = []
    for group in groups:
        records = [{**record, **provenance(device)} for record in group]
        if output:
            machine.replace_records(output, records)
        done += records
    return done


def _scoring(console: Console, quick: bool, arcs: tuple[int, ...]) -> Iterator[list[Record]]:
    if speed_scoring.networkit() is None:
        console.print("networkit is not installed: scoring has no peer (pip install networkit)")
    speeds = machine.bandwidth(64 if quick else 512)
    for size in arcs or ((100_000,) if quick else speed_scoring.ARCS):
        console.print(f"scoring: {size:,} arcs")
        repetitions = 3 if quick else 20 if size <= 1_000_000 else 9 if size <= 10_000_000 else 5
        yield speed_scoring.run(size, repetitions, speeds)


def _epoch(
    console: Console, quick: bool, dataset: tuple[str, ...], backbone: tuple[str, ...], device: str, hidden: int
) -> Iterator[list[Record]]:
    rounds, warm_up, epochs = (1, 1, 2) if quick else (5, 5, 10)
    for name in dataset or (speed_epoch.DATASETS[:1] if quick else speed_epoch.DATASETS):
        for kind in backbone or tuple(speed_epoch.BACKBONES):
            console.print(f"epoch: {kind} on {name}")
            yield [speed_epoch.run(name, kind, rounds, warm_up, epochs, device, hidden)]


def _search(console: Console, quick: bool) -> Iterator[list[Record]]:
    console.print("search: ugs on cora")
    yield [speed_search.run("cora", *((2, 1, 2) if quick else (10, 3, speed_search.EPOCHS)))]
    for nodes in speed_search.NODES[:1] if quick else speed_search.NODES:
        console.print(f"search memory: {nodes:,} nodes")
        yield [speed_search.memory(nodes)]


def _batches(console: Console, quick: bool) -> Iterator[list[Record]]:
    for backbone in speed_batches.BACKBONES:
        console.print(f"batches: {backbone}")
        yield speed_batches.run(5_000 if quick else speed_batches.NODES, backbone)


def _together(
    console: Console, quick: bool, dataset: tuple[str, ...], backbone: tuple[str, ...], device: str, hidden: int
) -> Iterator[list[Record]]:
    rounds, epochs, seeds = (1, 2, 2) if quick else (5, 200, speed_together.SEEDS)
    for name in dataset or ("cora",):
        for kind in backbone or ("gcn",):
            console.print(f"together: {kind} on {name}")
            yield [speed_together.run(name, kind, hidden, rounds, epochs, device, seeds)]


def _levels(console: Console, quick: bool, dataset: tuple[str, ...]) -> Iterator[list[Record]]:
    places = [place for place in speed_levels.DATASETS if place[0] in (dataset or [place[0]])]
    for name, kind, hidden in places[:1] if quick else places:
        console.print(f"levels: {kind} on {name}")
        large = name in speed_epoch.GENERATED
        sizes = (1, 1, 2, 3) if quick else (3, 2, 5, 20) if large else (5, 5, 10, 200)
        yield speed_levels.run(name, kind, hidden, *sizes)


def _scoring_table(records: list[Record]) -> Table:
    speeds = records[0]
    table = _table(
        f"TEDDY: score, select, remove; times in ms (copy {speeds['copy_gb_s']}, clone {speeds['clone_gb_s']} GB/s)",
        ["arcs", "median (IQR)", "M arcs/s", "score", "select", "remove", "of floor", "extra bytes per arc"],
    )
    for r in {r["parameters"]["arcs"]: r for r in records}.values():
        table.add_row(
            f"{r['parameters']['arcs']:,}",
            _spread(r["ours"], r["ours_iqr"]),
            f"{r['arcs_per_s'] / 1e6:.1f}",
            *(f"{r[f'{stage}_ms']:.1f}" for stage in ("score", "select", "remove")),
            f"{r['of_floor']:.1%}",
            f"{r['extra_bytes_per_arc']:.1f}",
        )
    return table


def _peer_table(records: list[Record]) -> Table:
    table = _table(
        "networkit's sparsifiers on the same graph; times in ms, ratio: networkit / glt",
        ["arcs", "sparsifier", "median (IQR)", "ratio", "convert", "score", "filter", "sparsity"],
    )
    for r in records:
        cells = [f"{r['parameters']['arcs']:,}"]
        if r["peer"] is not None:
            stages = (f"{r[f'peer_{stage}_ms']:.0f}" for stage in ("convert", "score", "filter"))
            name, spread = r["peer_name"].removeprefix("networkit "), _spread(r["peer"], r["peer_iqr"])
            cells += [name, spread, f"{r['ratio']:.1f}", *stages, f"{r['peer_graph_sparsity']:.3f}"]
        table.add_row(*cells)
    return table


def _epoch_table(records: list[Record], hidden: int) -> Table:
    table = _table(
        f"One training epoch of a TEDDY level, 2 x {hidden}; times in ms, ratio: stock PyG / glt",
        ["dataset", "backbone", "glt (IQR)", "stock PyG (IQR)", "ratio", "prepare", "times floor", "CUDA graph"],
    )
    for r in records:
        table.add_row(
            r["parameters"]["dataset"],
            r["parameters"]["backbone"],
            _spread(r["ours"], r["ours_iqr"]),
            _spread(r["peer"], r["peer_iqr"]),
            f"{r['ratio']:.2f}",
            f"{r['prepare_ms']:.1f}",
            f"{r['times_floor']:.1f}" if "times_floor" in r else "",
            r["cuda_graph"],
        )
    return table


def _search_tables(records: list[Record]) -> tuple[Table, Table]:
    times = _table(
        "UGS, ten rounds of 2 x 20 epochs; times in s, ratio: stock PyG / glt",
        ["dataset", "glt (IQR)", "stock PyG (IQR)", "ratio"],
    )
    memory = _table("Peak memory of UGS on csbm beyond the graph", ["nodes", "edges", "MB", "bytes per edge"])
    for r in records:
        if r["benchmark"] == "search":
            spreads = (_spread(r[who], r[f"{who}_iqr"]) for who in ("ours", "peer"))
            times.add_row(r["parameters"]["dataset"], *spreads, f"{r['ratio']:.2f}")
        else:
            sizes = (f"{n:,}" for n in (r["parameters"]["nodes"], r["edges"]))
            memory.add_row(*sizes, f"{r['ours']:.0f}", f"{r['bytes_per_edge']}")
    return times, memory


def _batches_table(records: list[Record]) -> Table:
    table = _table("Peak memory of a training beyond the graph", ["backbone", "nodes", "way", "MB", "s per epoch"])
    for r in records:
        p = r["parameters"]
        table.add_row(p["backbone"], f"{p['nodes']:,}", r["way"], f"{r['ours']:.0f}", f"{r['epoch_s']:.1f}")
    return table


def _together_table(records: list[Record]) -> Table:
    table = _table(
        "Dense trainings per second", ["dataset", "backbone", "seeds", "together (IQR)", "one by one (IQR)", "ratio"]
    )
    for r in records:
        p = r["parameters"]
        spreads = (f"{r[who]:.3f} ({r[f'{who}_iqr'][0]:.3f}-{r[f'{who}_iqr'][1]:.3f})" for who in ("ours", "peer"))
        table.add_row(p["dataset"], p["backbone"], str(p["seeds"]), *spreads, f"{r['ratio']:.2f}")
    return table


def _levels_table(records: list[Record]) -> Table:
    kinds = ("largest", "random", "largest units", "random units")
    table = _table(
        "One training epoch against the level; times in ms, ratio: level 0 / level; frozen masks, all / live (units)",
        ["dataset", "level", "TEDDY (IQR)", "ratio", *kinds],
    )
    for r in records:
        p = r["parameters"]
        times = [_spread(r["ours"], r["ours_iqr"]), f"{r['ratio']:.2f}"]
        for granularity in ("", "_unit"):
            for whole, live in (("frozen", "live"), ("random", "random_live")):
                pair = f"{r[whole + granularity]:.1f} / {r[live + granularity]:.1f}"
                times.append(f"{pair} ({r[live.replace('live', 'live_units') + granularity]})")
        table.add_row(p["dataset"], str(p["level"]), *times)
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in ("dataset", "backbone", "sparsifier") else "right")
    return table


def _spread(median: float, iqr: list[float]) -> str:
    return f"{median:.1f} ({iqr[0]:.1f}-{iqr[1]:.1f})"


if __name__ == "__main__":
    main()
