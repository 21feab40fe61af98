"""The documents' tables and plots, made of the committed records: ``python benchmarks/tables.py [--check]``.

Text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` in README.md, RESULTS.md or SPEED.md is replaced by the table of
that name; each has one place. With ``--check`` nothing is written; the exit code is 1 when a document says anything
else than the records.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import board
import click
import compared
from accuracy import PLACES, TABLE, experiments
from collapse import collapse
from found import Found
from granularities import granularities
from large import batches, gpu
from latencies import latency, levels, plot_latency, tradeoff
from plots import plot_methods
from wording import BACKBONES, DATASETS, percent, provenance

from glt.files import atomic
from glt.results import Record, Results
from glt.summary import summarise
from glt.tables import COLUMNS, cells, markdown

HERE = Path(__file__).resolve().parent
LATENCY = "latency.png"
BOARD = "board.png"
DOCUMENTS = (HERE.parent / "README.md", HERE / "RESULTS.md", HERE / "SPEED.md")


def accuracy(records: Sequence[Record]) -> str:
    """The published setting on every dataset and backbone."""
    groups: dict[tuple[str, str], list[Record]] = {}
    published = {experiments()[name].id for name in TABLE}
    records = [r for r in records if r["config_id"] in published]
    for r in records:
        groups.setdefault((r["dataset"], r["backbone"]), []).append(r)
    found = {place: summarise(group) for place, group in groups.items()}
    levels = [1, 5, 10, 15, 20]
    sparsities = {row.level: row for rows in found.values() for row in rows}
    header = ["dataset, backbone", "dense"]
    for level in levels:
        row = sparsities[level]
        header.append(f"{level}: {100 * row.graph_sparsity:.0f} / {100 * row.weight_sparsity:.0f} %")
    lines = []
    for dataset in DATASETS:
        for backbone in ("gcn", "gin"):
            by_level = {row.level: row for row in found.get((dataset, backbone), [])}
            if by_level:
                shown = [by_level.get(n) for n in (0, *levels)]
                name = f"{DATASETS[dataset]}, {BACKBONES[backbone]}"
                lines.append([name, *(percent(row) if row else "" for row in shown)])
                lines.append(["&nbsp; last epoch", *(f"{100 * row.last:.1f}" if row else "" for row in shown)])
    return markdown(header, lines) + "\n\n" + provenance(records)


def epoch(records: Sequence[Record]) -> str:
    """Milliseconds per epoch beside stock PyG."""
    names = [(dataset, backbone) for dataset in DATASETS for backbone in BACKBONES]
    rows = [r for r in records if r["benchmark"] == "epoch" and _is_readme(r)]
    rows.sort(key=lambda r: names.index((r["parameters"]["dataset"], r["parameters"]["backbone"])))
    header = ["dataset, backbone (512 hidden)", "stock PyG, ms", "glt, ms", "ratio"]
    lines = [
        [
            f"{DATASETS[r['parameters']['dataset']]}, {BACKBONES[r['parameters']['backbone']]}",
            f"{r['peer']:.1f}",
            f"{r['ours']:.1f}",
            f"{r['ratio']:.1f}",
        ]
        for r in rows
    ]
    return markdown(header, lines) + "\n\n" + provenance(rows)


def _is_readme(r: Record) -> bool:
    asked = r["parameters"]
    return r["device"].startswith("cpu") and asked["hidden"] == 512 and asked["dataset"] in DATASETS


def kernels(records: Sequence[Record]) -> str:
    """The default kernel beside the fastest of the others, by size of the graph and width."""
    records = [r for r in records if r["benchmark"] == "kernel" and not r.get("provisional")]
    if not records:
        return "Not yet measured on a quiet machine: `python benchmarks/kernels.py`."
    groups: dict[tuple[str, int, str, int], list[Record]] = {}
    for r in records:
        asked = r["parameters"]
        groups.setdefault((asked["graph"], asked["width"], r["device"], r["threads"]), []).append(r)
    header = ["size of, width", "default", "ms", "of floor", "fastest other", "ms"]
    lines = []
    for (graph, width, device, _), rows in groups.items():
        default = next(r for r in rows if r["default"])
        other = min((r for r in rows if not r["default"]), key=lambda r: r["ours"])
        where = "" if device.startswith("cpu") else f", {device.split(':')[0]}"
        lines.append(
            [
                f"{graph}, {width}{where}",
                default["parameters"]["kernel"],
                f"{default['ours']:.2f}",
                f"{default['of_floor']:.0%}",
                other["parameters"]["kernel"],
                f"{other['ours']:.2f}",
            ]
        )
    cuda = (
        ""
        if any(r["device"].startswith("cuda") for r in records)
        else " CUDA: not yet measured (kernels.py --device cuda)."
    )
    return markdown(header, lines) + "\n\n" + provenance(records).replace("</sub>", f"{cuda}</sub>")


def together(records: Sequence[Record]) -> str:
    """Several seeds at once beside one after the other, on a GPU."""
    rows = [r for r in records if r["benchmark"] == "together" and r["device"].startswith("cuda")]
    if not rows:
        return "On a GPU not yet measured: `python benchmarks/speed.py together --device cuda`."
    header = ["dataset, backbone", "seeds at once", "seeds/s", "one after the other, seeds/s", "ratio"]
    lines = []
    for r in rows:
        p = r["parameters"]
        name = f"{DATASETS.get(p['dataset'], p['dataset'])}, {BACKBONES[p['backbone']]}, {p['hidden']} hidden"
        lines.append([name, str(p["seeds"]), f"{r['ours']:.2f}", f"{r['peer']:.2f}", f"{r['ratio']:.1f}"])
    return markdown(header, lines) + "\n\n" + provenance(rows)


def scoring(records: Sequence[Record]) -> str:
    """Arcs per second of scoring, exact selection and removal."""
    rows = {r["parameters"]["arcs"]: r for r in records if r["benchmark"] == "scoring"}
    header = [
        "arcs",
        "ms",
        "million arcs/s",
        "extra bytes per arc",
        "networkit, local degree, ms",
        "networkit, random, ms",
    ]
    lines = []
    for size, r in sorted(rows.items()):
        peers = {
            p["peer_name"]: p["peer"]
            for p in records
            if p["benchmark"] == "scoring" and p["parameters"]["arcs"] == size and p["peer"]
        }
        nk = [next((f"{v:.0f}" for k, v in peers.items() if name in k.lower()), "") for name in ("degree", "random")]
        lines.append(
            [f"{size:,}", f"{r['ours']:.0f}", f"{r['arcs_per_s'] / 1e6:.1f}", f"{r['extra_bytes_per_arc']:.0f}", *nk]
        )
    return markdown(header, lines) + "\n\n" + provenance(list(rows.values()))


def search(records: Sequence[Record]) -> str:
    """A whole UGS search beside stock PyG."""
    rows = [r for r in records if r["benchmark"] == "search"]
    header = ["UGS, Cora, GCN", "stock PyG, s", "glt, s", "ratio"]
    lines = []
    for r in rows:
        asked = r["parameters"]
        name = f"{asked['rounds']} rounds of {asked['epochs']} + {asked['epochs']} epochs"
        lines.append([name, f"{r['peer']:.0f}", f"{r['ours']:.0f}", f"{r['ratio']:.1f}"])
    return markdown(header, lines) + "\n\n" + provenance(rows)


def memory(records: Sequence[Record]) -> str:
    """What UGS needs beyond the graph."""
    rows = [r for r in records if r["benchmark"] == "search memory"]
    rows.sort(key=lambda r: r["parameters"]["nodes"])
    header = [
        "csbm: nodes",
        "edges",
        "peak beyond the graph, MB",
        "bytes per edge",
        "a nodes x nodes mask would be, MB",
    ]
    lines = [
        [
            f"{r['parameters']['nodes']:,}",
            f"{r['edges']:,}",
            f"{r['ours']:.0f}",
            f"{r['bytes_per_edge']}",
            f"{r['dense_mask_mb']:,}",
        ]
        for r in rows
    ]
    return markdown(header, lines) + "\n\n" + provenance(rows)


def demo(records: Sequence[Record]) -> str:
    """What ``make demo`` prints at its end."""
    lines = [COLUMNS, *(cells(row) for row in summarise(records))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    text = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return f"```\n{text}\n```\n\n" + provenance(records)


TABLES: dict[str, tuple[str, Callable[[Sequence[Record]], str]]] = {
    "accuracy": ("accuracy.jsonl", accuracy),
    "demo": ("demo.jsonl", demo),
    "epoch": ("speed.jsonl", epoch),
    "kernels": ("kernels.jsonl", kernels),
    "together": ("speed.jsonl", together),
    "gpu": ("speed.jsonl", gpu),
    "batches": ("speed.jsonl", batches),
    "latency": ("latency.jsonl", latency),
    "levels": ("speed.jsonl", levels),
    "scoring": ("speed.jsonl", scoring),
    "search": ("speed.jsonl", search),
    "memory": ("speed.jsonl", memory),
}
COMPARISONS: dict[str, Callable[[Found], str]] = {
    "methods": compared.summary,
    "gains": compared.gains,
    "searches": compared.searches,
    "granularities": granularities,
    "collapse": collapse,
    "board": lambda _: board.ranking(board.rows()),
    "board-counts": lambda _: board.counts(board.rows()),
    "tradeoff": lambda found: tradeoff(found, records_of("latency.jsonl"), f"benchmarks/results/{LATENCY}"),
}
DETAILS: dict[str, Callable[[Found], str]] = {
    f"{name}-{'-'.join(place)}": functools.partial(make, place=place)
    for place in PLACES
    for name, make in (("methods", compared.methods), ("parts", compared.parts))
}
"""Tables of one kind of records, of all methods, and of every place."""


def records_of(name: str) -> list[Record]:
    """Committed records of a file, controls of tickets left out; of points recorded twice the later ones."""
    latest: dict[object, Record] = {}
    for number, r in enumerate(r for r in Results(HERE / "results" / name) if not r.get("control")):
        latest[(r["config_id"], r["seed"], r["level"]) if "config_id" in r else number] = r
    return list(latest.values())


def documents(found: Found) -> dict[Path, str]:
    """Every document with its tables made anew."""
    made = {name: make(records_of(file)) for name, (file, make) in TABLES.items()}
    made |= {name: make(found) for name, make in (COMPARISONS | DETAILS).items()}
    return filled({path: path.read_text(encoding="utf-8") for path in DOCUMENTS}, made)


def filled(texts: Mapping[Path, str], tables: Mapping[str, str]) -> dict[Path, str]:
    """The texts of documents with every table in its place.

    Raises:
        click.ClickException: a table without a place, or with several.
    """
    texts = dict(texts)
    for name, table in tables.items():
        block, places = f"<!-- {name} -->\n{table}\n<!-- /{name} -->", 0
        for path, text in texts.items():
            place = rf"<!-- {name} -->.*?<!-- /{name} -->"
            texts[path], count = re.subn(place, lambda _, b=block: b, text, flags=re.DOTALL)
            places += count
        if places != 1:
            raise click.ClickException(f"the table {name!r} needs one place in the documents, it has {places}")
    return texts


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a document differs from the records.")
def main(check: bool) -> None:
    """Write the tables and plots of the documents."""
    controls = [r for r in Results(HERE / "results" / "controls.jsonl") if r.get("control")]
    found = Found(records_of("accuracy.jsonl"), controls)
    texts = documents(found)
    old = [path.name for path, text in texts.items() if text != path.read_text(encoding="utf-8")]
    if check:
        sys.exit(f"{' and '.join(old)} differ from benchmarks/results: run python benchmarks/tables.py" if old else 0)
    for path, text in texts.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for place in PLACES:
        plot_methods(HERE / "results" / f"{'-'.join(place)}.png", found, place)
    board.plot(HERE / "results" / BOARD, board.rows())
    plot_latency(HERE / "results" / LATENCY, found, records_of("latency.jsonl"))


if __name__ == "__main__":
    main()
