"""glt cost."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("ticket", type=click.Path())
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
@click.option("--storage", default="auto", show_default=True, help="Form of weights: auto (measured), dense, csr, 2:4.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def cost(ticket: str, root: Path | None, storage: str, as_json: bool) -> None:
    """What a TICKET costs: multiply-adds by layer and kind, parameters, bytes; dense, ticket and compact."""
    from glt.builtin import data_of, model_of
    from glt.cost import cost as cost_of
    from glt.ticket import Ticket

    loaded = Ticket.load(ticket)
    data = data_of(loaded, root)
    result = cost_of(loaded, model_of(loaded, data), data, storage=storage)
    click.echo(json.dumps({"ticket": ticket, **result.tree()}) if as_json else str(result))
