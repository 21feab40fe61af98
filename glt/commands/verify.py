"""glt verify."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from glt.commands.options import ROOT


@click.command()
@click.argument("ticket", type=click.Path())
@ROOT
@click.option("--rerun", is_flag=True, help="Also repeat the whole search from the ticket's config and compare.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(ticket: str, root: Path | None, rerun: bool, as_json: bool) -> None:
    """Recompute a TICKET's sparsities and metrics from the file alone.

    Exit code 1 when a recomputed number differs from the stored one.
    """
    from glt.ticket import Ticket
    from glt.verify import search_again

    loaded = Ticket.load(ticket)
    checks = list(loaded.verify(root=root).checks)
    if rerun:
        checks += search_again(loaded, root).checks
    ok = all(check.ok for check in checks)
    if as_json:
        rows = [{**vars(check), "ok": check.ok} for check in checks]
        click.echo(json.dumps({"ticket": ticket, "ok": ok, "checks": rows}))
    else:
        for check in checks:
            mark = click.style("ok", fg="green") if check.ok else click.style("DIFFERS", fg="red")
            click.echo(f"{check.name:<28} stored {check.stored:<12.6g} recomputed {check.recomputed:<12.6g} {mark}")
        click.echo(f"{ticket}: {'verified' if ok else 'does NOT verify'}")
    sys.exit(0 if ok else 1)
