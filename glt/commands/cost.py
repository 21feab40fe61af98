"""glt cost."""

from __future__ import annotations

import json
from pathlib import Path

import click

from glt.commands.device import use


@click.command()
@click.argument("ticket", type=click.Path())
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
@click.option("--storage", default="auto", show_default=True, help="Form of weights: auto (measured), dense, csr, 2:4.")
@click.option("--device", default="cpu", show_default=True, help="What the forms are measured on.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def cost(ticket: str, root: Path | None, storage: str, device: str, threads: int | None, as_json: bool) -> None:
    """What a TICKET costs: multiply-adds by layer and kind, parameters, bytes; dense, ticket and compact."""
    from glt.builtin import data_of, model_of
    from glt.cost import cost as cost_of
    from glt.ticket import Ticket

    use(device, threads)
    loaded = Ticket.load(ticket)
    data = data_of(loaded, root).to(device)
    result = cost_of(loaded, model_of(loaded, data).to(device), data, storage=storage)
    click.echo(json.dumps({"ticket": ticket, **result.tree()}) if as_json else str(result))
