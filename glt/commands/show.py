"""glt show."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.argument("ticket", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def show(ticket: str, as_json: bool) -> None:
    """Show what a TICKET file holds: sparsities, densities per layer, metrics, and how it was found."""
    from glt.allocate import densities
    from glt.ticket import Ticket

    loaded = Ticket.load(ticket)
    density = densities(loaded.weight_masks)
    layers: dict[str, dict[str, Any]] = {
        name: {"shape": list(mask.shape), "kept": int(mask.sum()), "density": density[name]}
        for name, mask in loaded.weight_masks.items()
    }
    tree: dict[str, Any] = {
        "ticket": ticket,
        "edges": loaded.edge_keep.numel(),
        "edges_kept": int(loaded.edge_keep.sum()),
        "graph_sparsity": loaded.graph_sparsity,
        "weight_sparsity": loaded.weight_sparsity,
        "layers": layers,
        "edge_weights": loaded.edge_weights is not None,
        "trained_weights": loaded.trained is not None,
        "fingerprint": loaded.fingerprint,
        "undirected": loaded.undirected,
        "metrics": loaded.metrics,
        "config": loaded.config,
        "versions": loaded.versions,
    }
    if as_json:
        click.echo(json.dumps(tree))
        return
    click.secho(ticket, bold=True)
    click.echo(
        f"edges     {tree['edges_kept']} of {tree['edges']} kept, graph sparsity {loaded.graph_sparsity:.4%}"
        + (", weighted" if tree["edge_weights"] else "")
    )
    click.echo(f"weights   weight sparsity {loaded.weight_sparsity:.4%}; kept per layer:")
    rows = [("layer", "shape", "kept", "density")]
    for name, layer in layers.items():
        rows.append((name, " x ".join(map(str, layer["shape"])), str(layer["kept"]), f"{layer['density']:.4f}"))
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    for name, *cells in rows:
        numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, others, strict=True))
        click.echo(f"            {name:<{first}}{numbers}")
    click.echo(f"trained   {'weights included' if tree['trained_weights'] else 'weights not included'}")
    click.echo(f"graph     {loaded.fingerprint[:16]}, {'undirected' if loaded.undirected else 'directed'}")
    for part in ("metrics", "config", "versions"):
        click.echo(f"{part:<10}" + ", ".join(f"{k} {v}" for k, v in tree[part].items()))
