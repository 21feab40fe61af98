"""The README's tables and plots, made of the committed records: ``python benchmarks/tables.py [--check]``.

Text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` in README.md is replaced by the table of that name. With
``--check`` nothing is written; the exit code is 1 when the README says anything else than the records.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np

from glt.files import atomic
from glt.plot import plot_accuracy
from glt.results import Record, Results
from glt.summary import Row, bootstrap, summarise
from glt.tables import COLUMNS, cells, markdown

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
DATASETS = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}
BACKBONES = {"gcn": "GCN", "gin": "GIN", "gin-1": "GIN, 1-layer MLP", "gat": "GAT", "sage": "SAGE"}
EDGES = {"teddy": "TEDDY", "random": "random"}
SEEDS = 5
"""Rows with fewer seeds are not shown."""
TEACHER = {"all": "all nodes", "held_out": "held-out", "none": "none"}


def percent(row: Row) -> str:
    """Mean and spread of the test metric."""
    return f"{100 * row.test:.1f} ± {100 * row.spread:.1f}"


def curves(records: Sequence[Record]) -> dict[tuple[str, str, str, str], list[Row]]:
    """Rows by (dataset, backbone, edge scorer, teacher), each of one configuration."""
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    tracks = {r["config_id"]: r["track"] for r in records if r["status"] == "ok" and r["level"]}
    for r in records:
        if r["config"]["strategy"]["name"] != "teddy":
            continue
        scorer = r["config"]["strategy"].get("scorer", {}).get("name", "teddy")
        groups.setdefault((r["dataset"], r["backbone"], scorer, tracks.get(r["config_id"], "?")), []).append(r)
    return {key: summarise(group) for key, group in groups.items()}


def accuracy(records: Sequence[Record]) -> str:
    """The published setting on every dataset and backbone."""
    found = {(d, b): rows for (d, b, s, t), rows in curves(records).items() if (s, t) == ("teddy", "all")}
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


def controls(records: Sequence[Record]) -> str:
    """GCN with TEDDY's edges and with random ones, by what the teacher may say."""
    header = ["dataset", "teacher's outputs on", "edges", "level 10", "against dense", "level 20", "against dense"]
    lines = []
    for (dataset, backbone, scorer, teacher), rows in sorted(curves(records).items(), key=_order):
        by_level = {row.level: row for row in rows}
        complete = all(by_level[n].seeds >= SEEDS for n in (10, 20) if n in by_level) and {10, 20} <= set(by_level)
        if backbone == "gcn" and dataset in ("cora", "citeseer") and complete:
            line = [DATASETS[dataset], TEACHER[teacher], EDGES[scorer]]
            for level in (10, 20):
                row = by_level[level]
                line += [percent(row), f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"]
            lines.append(line)
    return markdown(header, lines)


def _order(item: tuple[tuple[str, str, str, str], object]) -> tuple[int, int, int]:
    dataset, _, scorer, teacher = item[0]
    return list(DATASETS).index(dataset), list(TEACHER).index(teacher), list(EDGES).index(scorer)


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
    cuda = "" if any(r["device"].startswith("cuda") for r in records) else " CUDA: not yet measured."
    return markdown(header, lines) + "\n\n" + provenance(records).replace("</sub>", f"{cuda}</sub>")


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


def findings(records: Sequence[Record]) -> str:
    """What the score itself is worth: TEDDY's edges against random ones, everything else equal, paired by seed."""
    tests: dict[tuple[str, str, int], dict[str, dict[int, float]]] = {}
    tracks = {r["config_id"]: r["track"] for r in records if r["status"] == "ok" and r["level"]}
    for r in records:
        if r["status"] == "ok" and r["backbone"] == "gcn" and r["level"] in (10, 20) and r["method"] == "teddy":
            scorer = r["config"]["strategy"].get("scorer", {}).get("name", "teddy")
            point = (r["dataset"], tracks[r["config_id"]], r["level"])
            tests.setdefault(point, {}).setdefault(scorer, {})[r["seed"]] = r["test"]
    header = ["TEDDY's edges minus random edges, points", "level 10", "level 20"]
    lines = []
    for dataset in DATASETS:
        for teacher, said in TEACHER.items():
            gaps = []
            for level in (10, 20):
                pair = tests.get((dataset, teacher, level), {})
                seeds = sorted(set(pair.get("teddy", {})) & set(pair.get("random", {})))
                if len(seeds) >= SEEDS:
                    gap = 100 * np.array([pair["teddy"][seed] - pair["random"][seed] for seed in seeds])
                    low, high = bootstrap(gap)
                    gaps.append(f"{gap.mean():+.1f} [{low:+.1f}, {high:+.1f}]")
            if len(gaps) == 2:
                lines.append([f"{DATASETS[dataset]}, teacher's outputs on: {said}", *gaps])
    return markdown(header, lines)


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


def provenance(records: Sequence[Record]) -> str:
    """One line: seeds, hardware, versions, commits."""

    def values(key: str) -> str:
        return ", ".join(sorted({str(r[key]) for r in records if r.get(key) is not None}))

    seeds = {r["seed"] for r in records if "seed" in r}
    head = f"{len(seeds)} seeds, mean ± standard deviation; " if seeds else ""
    return (
        f"<sub>{head}{values('device')}, {values('threads')} thread(s); glt {values('glt')} at {values('commit')}, "
        f"torch {values('torch')}, PyG {values('pyg')}, Python {values('python')}.</sub>"
    )


TABLES: dict[str, tuple[str, Callable[[Sequence[Record]], str]]] = {
    "accuracy": ("accuracy.jsonl", accuracy),
    "controls": ("accuracy.jsonl", controls),
    "findings": ("accuracy.jsonl", findings),
    "demo": ("demo.jsonl", demo),
    "epoch": ("speed.jsonl", epoch),
    "kernels": ("kernels.jsonl", kernels),
    "scoring": ("speed.jsonl", scoring),
    "search": ("speed.jsonl", search),
    "memory": ("speed.jsonl", memory),
}


def records_of(name: str) -> list[Record]:
    """Committed records of a file, controls of tickets left out; of points recorded twice the later ones."""
    latest: dict[object, Record] = {}
    for number, r in enumerate(r for r in Results(HERE / "results" / name) if not r.get("control")):
        latest[(r["config_id"], r["seed"], r["level"]) if "config_id" in r else number] = r
    return list(latest.values())


def rendered(text: str) -> str:
    """``text`` with every table made anew."""
    for name, (file, make) in TABLES.items():
        block = f"<!-- {name} -->\n{make(records_of(file))}\n<!-- /{name} -->"
        text, count = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, b=block: b, text, flags=re.DOTALL)
        if count != 1:
            raise click.ClickException(f"README.md needs one place for the table {name!r}, it has {count}")
    return text


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when the README differs from the records.")
def main(check: bool) -> None:
    """Write the README's tables and plots."""
    text = README.read_text(encoding="utf-8")
    new = rendered(text)
    if check:
        sys.exit(0 if new == text else "README.md differs from benchmarks/results: run python benchmarks/tables.py")
    with atomic(README) as temporary:
        temporary.write_text(new, encoding="utf-8")
    found = curves(records_of("accuracy.jsonl"))
    for dataset, title in DATASETS.items():
        lines = {
            f"{EDGES[s]} edges, teacher on {TEACHER[t]}" if t != "none" else f"{EDGES[s]} edges, no teacher": rows
            for (d, b, s, t), rows in sorted(((k, v) for k, v in found.items() if k[0] == dataset), key=_order)
            if b == "gcn" and min(row.seeds for row in rows) >= SEEDS
        }
        plot_accuracy(HERE / "results" / f"{dataset}-gcn.png", lines, f"{title}, GCN-512, 5 seeds")


if __name__ == "__main__":
    main()
