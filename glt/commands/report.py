"""glt report."""

from __future__ import annotations

import json
from pathlib import Path

import click

from glt.commands.options import ROOT


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True, help="The page."
)
@click.option("--title", default="Graph lottery tickets", show_default=True, help="Of the page.")
@ROOT
@click.option("--json", "as_json", is_flag=True, help="The rows of the table as one JSON object on stdout.")
def report(paths: tuple[Path, ...], output: Path, title: str, root: Path | None, as_json: bool) -> None:
    """Make one page of all records in each PATH (default: runs): tables and figures that work offline.

    A PATH is a file of records (*.jsonl) or a folder that holds some. Tickets beside the records are drawn where their
    graph is at hand; nothing is downloaded.

    \b
    glt report
    glt report benchmarks/results/accuracy.jsonl -o accuracy.html
    """  # noqa: D301 - click reads the backspace
    from glt.report.make import report as make
    from glt.report.render import finite

    found = make(paths or (Path("runs"),), output, title, root)
    if as_json:
        click.echo(json.dumps(finite({"output": str(output), "rows": found.rows, "verdicts": found.verdicts})))
        return
    records = sum(found.files.values())
    click.echo(f"{output}: {len(found.rows)} rows of {records} records in {len(found.files)} file(s)")
