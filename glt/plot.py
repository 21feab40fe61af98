"""Plots of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from glt.files import atomic
from glt.summary import Row


def plot_accuracy(path: Path, curves: Mapping[str, Sequence[Row]], title: str, metric: str = "accuracy") -> None:
    """Draw test metric against graph sparsity, a line with its spread per curve, the dense mean across.

    Args:
        path: PNG or SVG file, written atomically.
        curves: rows of :func:`glt.summary.summarise` by label.
        title: above the axes.
        metric: name of the metric, for the axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, rows in curves.items():
        tickets = [row for row in rows if row.level > 0]
        x = [100 * row.graph_sparsity for row in tickets]
        y = [100 * row.test for row in tickets]
        spread = [100 * row.spread for row in tickets]
        (line,) = axes.plot(x, y, marker="o", label=label)
        axes.fill_between(
            x,
            [a - s for a, s in zip(y, spread, strict=True)],
            [a + s for a, s in zip(y, spread, strict=True)],
            color=line.get_color(),
            alpha=0.15,
            linewidth=0,
        )
        noted = tickets if label == next(iter(curves)) else []  # one curve: labels of several would overlap
        for a, b, row in zip(x, y, noted, strict=False):
            note = f"{100 * row.weight_sparsity:.0f} %"
            axes.annotate(note, (a, b), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=7)
    dense = [row for rows in curves.values() for row in rows if row.level == 0]
    if dense:
        axes.axhline(100 * dense[0].test, color="black", linestyle="--", linewidth=1, label="dense")
    axes.set_xlabel("graph sparsity, % of edges removed (labels: weight sparsity)")
    axes.set_ylabel(f"test {metric.replace('_', '-')}, %")
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.legend()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)
