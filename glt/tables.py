"""Results as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from glt.summary import Row

COLUMNS = ("level", "graph", "weight", "seeds", "val", "test", "against dense")


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


def summary_table(rows: Sequence[Row], title: str, metric: str) -> Table:
    """A rich table of the rows."""
    table = Table(title=f"{title} ({metric.replace('_', '-')}, %)", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*cells(row))
    return table


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table; numbers right-aligned, the first column left."""
    lines = [list(header), ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
