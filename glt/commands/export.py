"""glt export."""

from __future__ import annotations

import json
from pathlib import Path

import click

from glt.commands.device import use


@click.command()
@click.argument("ticket", type=click.Path())
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help=".safetensors, .pt2 or .onnx file."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
@click.option("--storage", default="auto", show_default=True, help="Form of weights: auto (measured), dense, csr, 2:4.")
@click.option("--reorder/--no-reorder", default=None, help="Renumber the nodes for locality (default: measured).")
@click.option("--no-graph", is_flag=True, help="Leave features and graph out of a .safetensors file.")
@click.option("--device", default="cpu", show_default=True, help="What the forms are measured on.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def export(
    ticket: str,
    output: Path,
    root: Path | None,
    storage: str,
    reorder: bool | None,
    no_graph: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Write a TICKET's model as it is used: without what was pruned, nor what that made useless.

    The report says layer by layer what was done. Loading a .pt2 file unpickles: do it only with files from people you
    trust; .safetensors never does.
    """
    from glt.builtin import data_of, model_of
    from glt.export import check_suffix
    from glt.export import export as write
    from glt.ticket import Ticket

    check_suffix(output)
    use(device, threads)
    loaded = Ticket.load(ticket)
    data = data_of(loaded, root).to(device)
    model = model_of(loaded, data)
    compact = loaded.compact(model, data, storage=storage, reorder="auto" if reorder is None else reorder)
    write(compact, output, graph=not no_graph)
    size = output.stat().st_size
    if as_json:
        report = compact.report
        lines = [vars(line) for line in report.lines]
        tree = {"ticket": ticket, "output": str(output), "bytes": size, "layers": lines, "error": report.error}
        click.echo(json.dumps({**tree, "reordered": report.reordered}))
        return
    click.echo(str(compact.report))
    click.echo(f"{output}: {size:,} bytes")
