"""Results as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table

from glt.paired import Comparison, ControlRow
from glt.summary import Row

COLUMNS = ("level", "graph", "weight", "seeds", "val", "test", "against dense")
WIDTH = 120
"""Of a line that is not a table."""


def cells(row: Row) -> tuple[str, ...]:
    """One row of :data:`COLUMNS`; metrics in percent, the difference in points with its 95 % interval."""
    against = "" if row.level == 0 else f"{100 * row.difference:+.1f}"
    if row.level and row.seeds > 2:
        against += f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
    return (
        "dense" if row.level == 0 else str(row.level),
        f"{100 * row.graph_sparsity:.1f} %",
        f"{100 * row.weight_sparsity:.1f} %",
        str(row.seeds),
        f"{100 * row.val:.1f}",
        f"{100 * row.test:.1f} ± {100 * row.spread:.1f}",
        against,
    )


def summary_table(
    rows: Sequence[Row], title: str, metric: str, controls: Mapping[str, Sequence[Row]] | None = None
) -> Table:
    """A rich table of the rows, those of each control by its name beneath the level's.

    The control ``dense`` is called ``dense (control)``: the first row is dense too.
    """
    table = Table(title=f"{title} ({metric.replace('_', '-')}, %)", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*cells(row))
        for name, levels in (controls or {}).items():
            for control in levels:
                if control.level == row.level:
                    table.add_row("dense (control)" if name == "dense" else name, *cells(control)[1:])
    return table


def density_lines(rows: Iterable[tuple[str, Mapping[str, float]]]) -> list[str]:
    """What each row keeps of every layer's weights, in percent, a line for each row that says it.

    Rows of the same layers stand in columns; their names stand in a line above, once. Where there are more layers than
    :data:`WIDTH` holds, the others follow below.
    """
    lines: list[str] = []
    for layers, same in groupby((row for row in rows if row[1]), key=lambda row: tuple(row[1])):
        group = list(same)
        for some in _fitting(layers, WIDTH - 17):
            lines.append(f"{'weights kept, %':<17}" + "  ".join(some))
            for name, densities in group:
                cells = (f"{100 * densities[layer]:>{len(layer)}.1f}" for layer in some)
                lines.append(f"  {name:<15}" + "  ".join(cells))
    return lines


def _fitting(names: Sequence[str], width: int) -> Iterator[Sequence[str]]:
    """``names`` in order, as many at a time as a line of ``width`` holds with two spaces between them."""
    start = 0
    for stop in range(1, len(names) + 1):
        if stop == len(names) or len("  ".join(names[start : stop + 1])) > width:
            yield names[start:stop]
            start = stop


CONTROL_COLUMNS = ("control", "graph", "weight", "kept", "seeds", "val", "test", "ticket - control")


def control_cells(row: ControlRow) -> tuple[str, ...]:
    """One row of :data:`CONTROL_COLUMNS`; metrics in percent, the difference in points with its 95 % interval."""
    difference = "" if row.name == "ticket" else f"{100 * row.difference:+.1f}"
    if row.low is not None and row.high is not None:
        difference += f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
    return (
        row.name,
        f"{100 * row.graph_sparsity:.1f} %",
        f"{100 * row.weight_sparsity:.1f} %",
        f"{row.weights:,.0f}",
        str(row.seeds),
        f"{100 * row.val:.1f}",
        f"{100 * row.test:.1f} ± {100 * row.spread:.1f}",
        difference,
    )


def control_table(comparison: Comparison, title: str) -> Table:
    """A rich table of a ticket and its controls; its caption says over what the intervals are."""
    paired = ", ".join(dict.fromkeys(row.paired for row in comparison.controls if row.paired))
    caption = f"intervals: 95 %, paired over {paired}" if paired else "too few seeds for intervals"
    metric = comparison.metric.replace("_", "-")
    table = Table(
        title=f"{title} ({metric}, %)", title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD
    )
    for name in CONTROL_COLUMNS:
        table.add_column(name, justify="left" if name == "control" else "right")
    for row in (comparison.ticket, *comparison.controls):
        table.add_row(*control_cells(row))
    return table


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; numbers right-aligned, the first column left."""
    lines = [list(header), ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
