"""A picture per dataset and backbone: every method against the edges it removes, a panel per teacher."""

from __future__ import annotations

import statistics
from pathlib import Path

from accuracy import TEACHERS
from compared import NAMES, dense, levels, title
from found import LEVELS, Found, tests
from wording import SEEDS

from glt.files import atomic
from glt.summary import Row

STYLES = {
    "teddy": ("#0072b2", "o", "-"),
    "random-edges": ("#56b4e9", "o", "--"),
    "imp": ("#009e73", "s", "-"),
    "ugs": ("#d55e00", "^", "-"),
    "random": ("#777777", "v", "--"),
}
"""Colour, marker and line of every method; colours by Okabe and Ito."""
PANELS = {"alone": "no teacher", "held-out": "teacher silent on validation and test", "all": "teacher, all nodes"}


def plot_methods(path: Path, found: Found, place: tuple[str, str]) -> bool:
    """Draw what there is of a place, atomically; False where there is nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curves = {
        (method, teacher): rows
        for method in NAMES
        for teacher in TEACHERS
        if (rows := [row for n in LEVELS if (row := found.row((method, teacher, *place), n))])
    }
    base = dense(found, *place)
    if not curves or base is None:
        return False
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(TEACHERS), sharex=True, sharey=True)
    ticks = [f"{100 * level.graph_sparsity:.0f} / {100 * level.weight_sparsity:.0f}" for level in levels(*place)]
    at = [100 * level.graph_sparsity for level in levels(*place)]
    more = " or more" if any(row.seeds > SEEDS for rows in curves.values() for row in rows) else ""
    shown = {}
    for axes, teacher in zip(panels, TEACHERS, strict=True):
        shown["dense"] = axes.axhline(100 * base.test, color="black", linestyle="--", linewidth=1)
        for method, name in NAMES.items():
            if rows := curves.get((method, teacher)):
                shown[name] = _curve(axes, rows, *STYLES[method])
        if line := _best_control(axes, found, teacher, place, curves):
            shown["best control: narrower dense, MLP"] = line
        axes.set_title(PANELS[teacher], fontsize=10)
        axes.set_xlabel("edges / weights removed, %")
        axes.set_xticks(at, ticks)
        axes.grid(alpha=0.25)
        if not any(t == teacher for _, t in curves):
            axes.text(0.5, 0.5, "not yet measured", transform=axes.transAxes, ha="center", color="#777777")
    panels[0].set_ylabel("test accuracy, %")
    figure.suptitle(f"{title(*place)}: mean and standard deviation of {SEEDS} seeds{more}", fontsize=11)
    order = [name for name in dict.fromkeys((*NAMES.values(), "dense", *shown)) if name in shown]
    figure.legend([shown[n] for n in order], order, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=130)
    return True


def _curve(axes, rows: list[Row], colour: str, marker: str, style: str):
    x, y = [100 * row.graph_sparsity for row in rows], [100 * row.test for row in rows]
    low = [100 * (row.test - row.spread) for row in rows]
    high = [100 * (row.test + row.spread) for row in rows]
    axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    (line,) = axes.plot(x, y, color=colour, marker=marker, linestyle=style, markersize=4, linewidth=1.4)
    return line


def _best_control(axes, found: Found, teacher: str, place: tuple[str, str], curves):
    """The best of the controls that every method shares, level by level: random is drawn as a method."""
    at, best = [], []
    rows = next((rows for (_, t), rows in curves.items() if t == teacher), [])
    for row in rows:
        means = [
            statistics.fmean(tests(point).values())
            for point in found.shared_controls(teacher, *place, row.level).values()
        ]
        if means:
            at.append(100 * row.graph_sparsity)
            best.append(100 * max(means))
    if not at:
        return None
    (line,) = axes.plot(at, best, color="#cc79a7", linestyle=":", marker="x", markersize=5, linewidth=1.8)
    return line
