"""Tables and plot of latency.jsonl, and of epochs by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from found import Found
from latency import DENSE, METHODS, NARROW, PLACES, TEACHERS
from wording import BACKBONES, DATASETS, percent, provenance

from glt.files import atomic
from glt.results import Record
from glt.summary import Row
from glt.tables import markdown

NAMES = {**DATASETS, "photo": "Photo", "computers": "Computers", "csbm-arxiv": "csbm, arxiv-sized"}
AIM = {"cora": 10, "citeseer": 10, "photo": 3, "computers": 3, "csbm-arxiv": 2}
TITLES = {
    DENSE: "dense",
    NARROW: "narrower dense",
    "teddy": "TEDDY",
    "teddy-unit": "TEDDY, whole units",
    "ugs": "UGS",
}
STYLES = {
    DENSE: ("black", "D"),
    NARROW: ("#cc79a7", "x"),
    "teddy": ("#0072b2", "o"),
    "teddy-unit": ("#56b4e9", "s"),
    "ugs": ("#d55e00", "^"),
}
TAUGHT = {"alone": "no teacher", "held-out": "held-out teacher"}
SHOWN = (10, 20)
QUIET = "Not yet measured on a quiet machine: `python benchmarks/latency.py {}`."


def latency(records: Sequence[Record]) -> str:
    """Every setting at graph 60 % / weight 90 %: times as fast as stock PyG."""
    rows = [r for r in records if r["benchmark"] == "latency"]
    if not rows:
        return QUIET.format("aims")
    groups: dict[tuple[str, str, int], dict[tuple[str, str, str], Record]] = {}
    for r in rows:
        p = r["parameters"]
        place = groups.setdefault((p["dataset"], p["backbone"], p["hidden"]), {})
        place[p["granularity"], p["query"], p["variant"]] = r
    header = ["", "stock PyG, ms", "compact, ms", "times as fast", "aim", "of the MACs' promise", "whole units"]
    header += ["1 node", "64 nodes", "dense, glt", "torch prune", "Torch-Pruning", "ticket, kB"]
    lines = []
    for (dataset, backbone, hidden), found in groups.items():

        def ratio(variant: str, query: str = "full graph", granularity: str = "element", found: Any = found) -> str:
            r = found.get((granularity, query, variant))
            return f"{r['ratio']:.1f}" if r and r["ours"] else ""

        made = found.get(("element", "full graph", "compact"))
        stock = found.get(("element", "full graph", "stock PyG"))
        if made is None or stock is None:
            continue
        aim = f"{AIM[dataset]}" if (dataset, backbone) != ("csbm-arxiv", "gcn") else ""
        line = [f"{NAMES[dataset]}, {BACKBONES[backbone]}-{hidden}", f"{stock['ours']:.1f}", f"{made['ours']:.2f}"]
        line += [ratio("compact"), aim, f"{made['share']:.0%} of {made['promised']:.1f}"]
        line += [ratio("compact", granularity="unit"), ratio("compact", "1 node"), ratio("compact", "64 nodes")]
        line += [ratio("dense"), ratio("torch prune"), ratio("Torch-Pruning"), f"{made['disk'] / 1e3:.0f}"]
        lines.append(line)
    return markdown(header, lines) + "\n\n" + provenance(rows)


def levels(records: Sequence[Record]) -> str:
    """Milliseconds per epoch against the level."""
    rows = [r for r in records if r["benchmark"] == "levels"]
    if not rows:
        return "Not yet measured on a quiet machine: `python benchmarks/speed.py levels`."
    columns = {
        "ours": "TEDDY",
        "frozen": "frozen masks",
        "live": "live part",
        "random": "random, frozen",
        "random_live": "random, live part",
        "frozen_unit": "whole units, frozen",
        "live_unit": "whole units, live part",
        "random_unit": "random units, frozen",
        "random_live_unit": "random units, live part",
    }
    columns = {key: title for key, title in columns.items() if any(key in r for r in rows)}
    header = ["ms per epoch", "level", *columns.values()]
    lines = []
    for r in sorted(rows, key=lambda r: (list(NAMES).index(r["parameters"]["dataset"]), r["parameters"]["level"])):
        p = r["parameters"]
        name = f"{NAMES[p['dataset']]}, {BACKBONES[p['backbone']]}-{p['hidden']}"
        lines.append([name, str(p["level"]), *(f"{r[key]:.1f}" if key in r else "" for key in columns)])
    return markdown(header, lines) + "\n\n" + provenance(rows)


@dataclass(frozen=True)
class Spot:
    """A model with its latency and its accuracy over the seeds."""

    place: tuple[str, str]
    method: str
    teacher: str
    level: int
    ms: float
    row: Row


def spots(found: Found, records: Sequence[Record]) -> list[Spot]:
    """What has both."""
    made = []
    for r in records:
        if r["benchmark"] != "latency of accuracy":
            continue
        p = r["parameters"]
        place, method, level = (p["dataset"], p["backbone"]), p["method"], p["level"]
        if method == NARROW:
            row = found.row((METHODS[0], p["teacher"], *place), level, NARROW)
        else:
            row = found.row((METHODS[0] if method == DENSE else method, p["teacher"], *place), level)
        if row:
            made.append(Spot(place, method, p["teacher"], level, r["ours"], row))
    return made


def tradeoff(found: Found, records: Sequence[Record], picture: str) -> str:
    """Accuracy beside latency: dense, narrower dense, tickets; and whether the narrower one is the better buy."""
    there = spots(found, records)
    if not there:
        return QUIET.format("accuracy")
    cells = {(s.place, s.method, s.teacher, s.level): f"{s.ms:.1f} ms, {percent(s.row)}" for s in there}
    header = ["", *(f"{TAUGHT[teacher]}, {level}" for teacher in TAUGHT for level in SHOWN)]
    lines = []
    for place in PLACES:
        for method in TITLES:
            asked = [
                (place, method, *(("alone", 0) if method == DENSE else (teacher, level)))
                for teacher in TAUGHT
                for level in SHOWN
            ]
            if any(key in cells for key in asked):
                lines.append([f"{NAMES[place[0]]}, {TITLES[method]}", *(cells.get(key, "") for key in asked)])
    used = [r for r in records if r["benchmark"] == "latency of accuracy"]
    parts = [f"![Accuracy against latency]({picture})", verdict(there), markdown(header, lines), provenance(used)]
    return "\n\n".join(part for part in parts if part)


def verdict(there: Sequence[Spot]) -> str:
    """Where a narrower dense network is at least as fast and at least as accurate, in a sentence."""
    narrow = {(s.place, s.teacher, s.level): s for s in there if s.method == NARROW}
    pairs = [
        (s, narrow[s.place, s.teacher, s.level])
        for s in there
        if s.method in METHODS and (s.place, s.teacher, s.level) in narrow
    ]
    if not pairs:
        return ""
    lost = [s for s, other in pairs if other.ms <= s.ms and other.row.test >= s.row.test]
    if not lost:
        return (
            f"In none of {len(pairs)} settings is the narrower dense network both as fast and as accurate on average."
        )
    won = [s for s, _ in pairs if s not in lost]
    return (
        f"In {len(lost)} of {len(pairs)} settings a dense network with as many weights is at least as fast and on "
        f"average at least as accurate, so that the ticket is not worth it for speed: "
        + (f"all but {_named(won)}." if 0 < len(won) < len(lost) else f"{_named(lost)}.")
    )


def _named(spots: Sequence[Spot]) -> str:
    """``Cora TEDDY, held-out: 10, 20; ...``."""
    groups: dict[str, list[str]] = {}
    for s in spots:
        groups.setdefault(f"{NAMES[s.place[0]]} {TITLES[s.method]}, {TAUGHT[s.teacher]}", []).append(str(s.level))
    return "; ".join(f"{group}: {', '.join(numbers)}" for group, numbers in groups.items())


def plot_latency(path: Path, found: Found, records: Sequence[Record]) -> bool:
    """Draw accuracy against latency, a panel per dataset and teacher, atomically; False where there is nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    there = spots(found, records)
    if not there:
        return False
    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(PLACES), len(TEACHERS), squeeze=False)
    shown: dict[str, Any] = {}
    for i, place in enumerate(PLACES):
        for j, teacher in enumerate(TEACHERS):
            axes = panels[i][j]
            for method, (colour, marker) in STYLES.items():
                mine = [s for s in there if s.place == place and s.method == method]
                mine = sorted((s for s in mine if s.teacher == teacher or method == DENSE), key=lambda s: s.level)
                if not mine:
                    continue
                y, error = [100 * s.row.test for s in mine], [100 * s.row.spread for s in mine]
                line = {"color": colour, "marker": marker, "linestyle": ":", "linewidth": 1}
                shown[TITLES[method]] = axes.errorbar([s.ms for s in mine], y, yerr=error, **line)
            axes.set_xlim(left=0)
            axes.set_title(f"{NAMES[place[0]]}, {BACKBONES[place[1]]}, {TAUGHT[teacher]}", fontsize=10)
            axes.set_xlabel("ms for the whole graph")
            axes.set_ylabel("test accuracy, %")
            axes.grid(alpha=0.25)
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=4, frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130)
    return True
