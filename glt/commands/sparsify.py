"""glt sparsify."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option("--dataset", help="A registered dataset.")
@click.option("--edges", type=click.Path(path_type=Path), help="Or an edge list: .npz, .csv or .parquet.")
@click.option("--num-nodes", type=click.IntRange(min=1), help="Nodes of the edge list (default: largest id + 1).")
@click.option("--scorer", default="teddy", show_default=True, help="A registered edge scorer.")
@click.option("--sparsity", type=float, required=True, help="Fraction of edges removed, in [0, 1).")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help=".npz, .csv or .parquet")
@click.option("--directed", is_flag=True, help="Every arc is an edge of its own.")
@click.option("--once", is_flag=True, help="The list names every undirected edge once, in either direction.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No summary on stdout.")
def sparsify(
    dataset: str | None,
    edges: Path | None,
    num_nodes: int | None,
    scorer: str,
    sparsity: float,
    output: Path,
    directed: bool,
    once: bool,
    root: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove the edges with the lowest scores from a graph, and write what is left.

    Further columns (or arrays with a row per arc) of an edge list are carried along.
    """
    import numpy as np

    from glt.datasets import load
    from glt.edgelist import EdgeList, check_suffix, read, write
    from glt.errors import GltError
    from glt.registry import build
    from glt.sparsify import keep_arcs

    if (dataset is None) == (edges is None):
        raise GltError("name one graph: --dataset NAME or --edges FILE")
    if once and (directed or dataset):
        raise GltError("--once is for an undirected edge list: leave out --directed and --dataset")
    check_suffix(output)
    piece = build("scorers", scorer)
    if edges is not None:
        listed = read(edges, num_nodes)
    else:
        data = load(dataset, root)
        listed = EdgeList(data.edge_index.numpy(), int(data.num_nodes))
    graph = listed
    if once:
        graph = EdgeList(np.concatenate([listed.arcs, listed.arcs[::-1]], axis=1), listed.num_nodes)
    keep = keep_arcs(graph.data(), piece, sparsity, undirected=not directed).numpy()[: listed.arcs.shape[1]]
    kept = listed.where(keep)
    write(output, kept)
    if as_json:
        counts = {"arcs": int(keep.size), "arcs_kept": int(keep.sum())}
        click.echo(json.dumps({"output": str(output), "scorer": scorer, "sparsity": sparsity, **counts}))
    elif not quiet:
        click.echo(f"{output}: {int(keep.sum())} of {keep.size} arcs kept ({scorer}, asked to remove {sparsity:.4g})")
