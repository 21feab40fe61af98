"""The board in short: what ``glt leaderboard build runs -o benchmarks`` wrote, as one table and one plot."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wording import DATASETS

from glt.files import atomic
from glt.tables import markdown

FILE = Path(__file__).resolve().parent / "leaderboard.json"
TRACK = "held-out"
PATH = "5 % of edges and 10 % of weights a level, levels 1, 5, 10, 15, 20"
NAMES = {
    "teddy": "TEDDY",
    "teddy (scorer degree)": "TEDDY, 1/d edges",
    "teddy (scorer dspar)": "TEDDY, DSpar edges",
    "teddy (scorer random)": "TEDDY, random edges",
    "imp": "IMP, TEDDY's edges",
    "ugs": "UGS",
    "gebt": "GEBT",
    "wd_glt": "WD-GLT",
    "wd_glt_joint": "WD-GLT, joint",
    "random": "random",
}
"""By the label of a method; others keep their label."""
MARKS = ("beats", "ties", "loses")

Row = dict[str, Any]


def rows(file: Path = FILE) -> dict[tuple[str, str], dict[str, Row]]:
    """Ranked rows of track and path, by (dataset, backbone) and name; empty where there is no board yet."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    if file.exists():
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
            if row["track"] == TRACK and row["ranks"] and row["path"] == PATH:
                methods = found.setdefault((row["dataset"], row["backbone"]), {})
                name = called(row["method"])
                methods[row["method"] if name in methods else name] = row
    return found


def called(method: str) -> str:
    """What the tables call a method of this label; options that are its paper's or make it affordable are left out."""
    kind = method.split(" (")[0]
    return NAMES[kind] if kind in ("ugs", "wd_glt", "wd_glt_joint") else NAMES.get(method, method)


def ranking(places: dict[tuple[str, str], dict[str, Row]]) -> str:
    """Rank by area under accuracy over graph sparsity, S_1 of the graph, and how points do against controls."""
    if not places:
        return "Not yet measured: `make bench-board`."
    header = ["", *(place_of(*place) for place in places), "mean rank", "as sparse", "narrower dense"]
    lines = []
    for name in dict.fromkeys(name for found in places.values() for name in found):
        mine = [found.get(name) for found in places.values()]
        there = [row for row in mine if row]
        rank = statistics.fmean(row["ranks"]["graph.area"] for row in there)
        whole = len(there) == len(places)  # a mean over fewer places is no fair one
        marks = [_marks(there, key) for key in ("mark", "narrow_mark")]
        lines.append((not whole, rank, [name, *map(_cell, mine), f"{rank:.1f}" if whole else "", *marks]))
    lines.sort(key=lambda line: line[:2])
    dense = [f"{100 * next(iter(found.values()))['dense']:.1f}" for found in places.values()]
    said = [["*dense, test %*", *dense, "", "", ""]]
    return markdown(header, [*(line for *_, line in lines), *said]) + "\n\n" + _below(places)


def counts(places: dict[tuple[str, str], dict[str, Row]]) -> str:
    """How the operating points of all methods do against their controls, in a sentence."""
    rows = [row for found in places.values() for row in found.values()]
    points, sparse, narrow = sum(len(row["claims"]) for row in rows), _marks(rows, "mark"), _marks(rows, "narrow_mark")
    return (
        f"All methods together, {points} operating points: {sparse} beat / tie with / lose to the best control that is "
        f"as sparse, {narrow} a narrower dense network."
    )


def place_of(dataset: str, backbone: str) -> str:
    """``Cora, GCN-64``."""
    kind, _, options = backbone.partition(" (")
    hidden = next((o.split()[1] for o in options.rstrip(")").split(", ") if o.startswith("hidden ")), "")
    return f"{DATASETS.get(dataset, dataset)}, {kind.upper()}{'-' + hidden if hidden else ''}"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    rank, reach = row["ranks"]["graph.area"], row["scalars"]["graph"]["s"]["1.0"]
    return f"{rank}" if reach is None else f"{rank} ({100 * reach:.0f} %)"


def _marks(rows: Sequence[Row], key: str) -> str:
    """How many operating points beat, tie and lose."""
    marks = Counter(claim[key] for row in rows for claim in row["claims"])
    return " / ".join(str(marks[mark]) for mark in MARKS)


def _below(places: dict[tuple[str, str], dict[str, Row]]) -> str:
    seeds = sorted({row["seeds"] for found in places.values() for row in found.values()})
    names = {name for found in places.values() for name in found}
    lacking = {place_of(*place): sorted(names - set(found)) for place, found in places.items()}
    absent = [f"{place}: {', '.join(names)}" for place, names in lacking.items() if names]
    missing = f" Not there: {'; '.join(absent)}." if absent else ""
    made = sorted({row.get("trained_by") or "" for found in places.values() for row in found.values()} - {""})
    by = f" Trained on {'; and on '.join(made)}." if made else ""
    return f"<sub>{' and '.join(map(str, seeds))} seeds; {PATH}.{missing}{by}</sub>"


def plot(path: Path, places: dict[tuple[str, str], dict[str, Row]]) -> bool:
    """Draw accuracy against removed edges, a panel per place, atomically; False where there is nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not places:
        return False
    figure = Figure(figsize=(10.0, 3.6 * -(-len(places) // 2)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(-(-len(places) // 2), 2, squeeze=False).flatten()
    names = [name for name in NAMES.values() if any(name in found for found in places.values())]
    shown: dict[str, Any] = {}
    for axes, (place, found) in zip(panels, places.items(), strict=False):
        dense = next(iter(found.values()))["dense"]
        shown["dense"] = axes.axhline(100 * dense, color="black", linestyle="--", linewidth=1)
        for number, name in enumerate(names):
            if name in found:
                claims = sorted(found[name]["claims"], key=lambda claim: claim["graph_sparsity"])
                x, y = ([100 * claim[key] for claim in claims] for key in ("graph_sparsity", "test"))
                how = {"color": f"C{number}", "marker": "osv^DPX<>*"[number % 10], "markersize": 4, "linewidth": 1.3}
                (shown[name],) = axes.plot(x, y, linestyle="--" if "random" in name else "-", **how)
        axes.set_title(place_of(*place), fontsize=10)
        axes.set_xlabel("edges removed, %")
        axes.set_ylabel("test accuracy, %")
        axes.grid(alpha=0.25)
    for axes in panels[len(places) :]:
        axes.set_visible(False)
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130)
    return True
