"""glt results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glt.errors import GltError

if TYPE_CHECKING:
    from glt.index import Index

FORMS = ("table", "csv", "json", "md", "parquet")
SHOWN = (
    *("dataset", "backbone", "method", "control", "track", "level", "seed", "graph_sparsity", "weight_sparsity"),
    *("val", "test", "dense_test", "status"),
)


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option("--where", metavar="SQL", help="Condition over columns, e.g. \"dataset='cora' and graph_sparsity>0.4\".")
@click.option("--columns", metavar="A,B", help="Columns to show; all for every one (default: the usual ones).")
@click.option("--sort", metavar="A,-B", help="Columns to sort by; - is descending.")
@click.option("--group", metavar="A,B", help="One row per combination: counts, mean and std of the columns (val,test).")
@click.option("--all", "every", is_flag=True, help="Also records that a later one of the same point has replaced.")
@click.option(
    "-o", "--output", default="table", show_default=True, help="table, csv, json, md; or a .csv, .json, .md, .parquet"
)
def results(
    paths: tuple[Path, ...],
    where: str | None,
    columns: str | None,
    sort: str | None,
    group: str | None,
    every: bool,
    output: str,
) -> None:
    """Show the records of many runs: files, or folders (default: runs) with results.jsonl and controls.jsonl.

    Columns are the fields of the records, and the config by short names: strategy, scorer, strategy_weight,
    backbone_hidden. Options at their defaults are not in a config, so their columns are empty. Torn lines, as a kill
    may leave, are passed over. With --group, n counts the finished records, failed the others; means are of the
    finished ones.

    \b
    glt results --where "dataset='cora' and graph_sparsity>0.4"
    glt results --group dataset,method,level --columns test --where "control is null" -o md
    """  # noqa: D301 - click reads the backspace
    from glt.index import Index

    form, target = _form(output)
    index = Index(paths or [Path("runs")], every)
    asked = _names(columns)
    by = _names(group)
    if by:
        asked = asked or [name for name in ("val", "test") if name in index.columns]
    elif asked == ["all"]:
        asked = list(index.columns)
    elif not asked:
        asked = [name for name in SHOWN if name in index.columns] or list(index.columns)
    names, rows = index.select(where, asked, _names(sort), by)
    if not rows:
        click.echo(f"no record {'matches' if where else 'is'} in {_read(index)}", err=True)
    if form == "parquet":
        assert target is not None
        _parquet(names, rows, target)
        return
    text = {"csv": _csv, "json": _json, "md": _md, "table": _table}[form](names, rows)
    if target is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    from glt.files import atomic

    with atomic(target) as temporary:
        temporary.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


def _form(output: str) -> tuple[str, Path | None]:
    if output in FORMS and output != "parquet":
        return output, None
    path = Path(output)
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS or form == "table":
        raise GltError(f"-o {output!r}: give table, csv, json, md, or a file that ends in .csv, .json, .md or .parquet")
    return form, path


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _read(index: Index) -> str:
    return str(index.files[0]) if len(index.files) == 1 else f"{len(index.files)} files"


def _csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *rows])
    return text.getvalue()


def _json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    from glt.report.render import finite

    return json.dumps(finite([dict(zip(names, row, strict=True)) for row in rows]), indent=1, allow_nan=False)


def _md(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    from glt.tables import markdown

    return markdown(names, [[_cell(value).replace("|", "\\|").replace("\n", " ") for value in row] for row in rows])


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [list(names), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    numbers = [all(isinstance(row[i], (int, float, type(None))) for row in rows) for i in range(len(names))]
    lines = (
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numbers, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _parquet(names: Sequence[str], rows: Sequence[Sequence[Any]], path: Path) -> None:
    try:
        import pyarrow  # noqa: F401 - what pandas writes with
    except ImportError:
        raise GltError(
            "writing parquet needs pyarrow: pip install 'graph-lottery-tickets[parquet]', or use .csv"
        ) from None
    import pandas as pd

    from glt.files import atomic

    frame = pd.DataFrame(rows, columns=list(names))
    for name in frame.columns:  # a column of numbers and texts has no type in parquet
        if frame[name].map(type).isin([str]).any():
            frame[name] = frame[name].map(lambda v: None if v is None or v != v else str(v))
    with atomic(path) as temporary:
        frame.to_parquet(temporary)
