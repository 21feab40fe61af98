"""glt sparsify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from glt.commands.options import ROOT


@click.command()
@click.option("--dataset", help="A registered dataset.")
@click.option("--edges", type=click.Path(path_type=Path), help="Or an edge list: .npz, .csv or .parquet.")
@click.option("--num-nodes", type=click.IntRange(min=1), help="Nodes of the edge list (default: largest id + 1).")
@click.option(
    "--scorer",
    default="teddy",
    show_default=True,
    help="A registered edge scorer; with options: '{name: dspar, variant: priority}'.",
)
@click.option("--sparsity", type=float, help="Fraction of edges removed, in [0, 1).")
@click.option("--per-node", type=click.IntRange(min=1), help="Or: the edges among the K best of either end stay.")
@click.option(
    "--at-most", type=click.IntRange(min=1), help="Or: those among the K best of both; no node has more than K."
)
@click.option(
    "--by",
    type=click.Choice(["global", "node"]),
    default="global",
    show_default=True,
    help="Compare an edge with all others, or with those of its own nodes.",
)
@click.option("--inverse", is_flag=True, help="Keep the lowest scores instead of the highest.")
@click.option(
    "--blend", multiple=True, metavar="SCORER[=WEIGHT]", help="Average the ranks of further scorers with --scorer's."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help=".npz, .csv or .parquet")
@click.option("--directed", is_flag=True, help="Every arc is an edge of its own.")
@click.option("--once", is_flag=True, help="The list names every undirected edge once, in either direction.")
@ROOT
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No summary on stdout.")
def sparsify(
    dataset: str | None,
    edges: Path | None,
    num_nodes: int | None,
    scorer: str,
    sparsity: float | None,
    per_node: int | None,
    at_most: int | None,
    by: Literal["global", "node"],
    inverse: bool,
    blend: tuple[str, ...],
    output: Path,
    directed: bool,
    once: bool,
    root: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove the edges with the lowest scores from a graph, and write what is left.

    How many go is --sparsity, exactly, or follows from --per-node or --at-most.

    Edge weights and attributes of a dataset are carried along, as are further columns (or arrays with a row per arc) of
    an edge list.
    """
    if sparsity is None and per_node is None and at_most is None:
        raise click.UsageError("Missing option '--sparsity', '--per-node' or '--at-most': how many edges go.")
    if per_node is not None and at_most is not None:
        raise click.UsageError("--per-node and --at-most are two ways to choose: leave one out.")
    import numpy as np

    from glt.datasets import load
    from glt.edgelist import EdgeList, check_suffix, read, write
    from glt.errors import GltError
    from glt.registry import build, spec_of
    from glt.selection import Selection
    from glt.sparsify import keep_arcs

    if (dataset is None) == (edges is None):
        raise GltError("name one graph: --dataset NAME or --edges FILE")
    if once and (directed or dataset):
        raise GltError("--once is for an undirected edge list: leave out --directed and --dataset")
    check_suffix(output)
    piece = build("scorers", _spec(scorer))
    further = [_weighted(text) for text in blend]
    selection = Selection(
        inverse=inverse,
        by=by,
        per_node=per_node if at_most is None else at_most,
        wanted_by="either" if at_most is None else "both",
        blend=tuple(spec for spec, _ in further),
        weights=(1.0, *(weight for _, weight in further)) if further else (),
    )
    selection.check(sparsity)
    if edges is not None:
        listed = read(edges, num_nodes)
        graph = listed.data()
    else:
        graph = load(dataset, root)
        listed = EdgeList.of(graph)
    if once:
        graph = EdgeList(np.concatenate([listed.arcs, listed.arcs[::-1]], axis=1), listed.num_nodes).data()
    keep = keep_arcs(graph, piece, sparsity, not directed, selection).numpy()[: listed.arcs.shape[1]]
    kept = listed.where(keep)
    write(output, kept)
    if as_json:
        counts = {"arcs": int(keep.size), "arcs_kept": int(keep.sum())}
        asked = {"scorer": scorer, "sparsity": sparsity, **spec_of(selection)}
        click.echo(json.dumps({"output": str(output), **asked, **counts}))
    elif not quiet:
        said = f"the best {per_node} of every node" if at_most is None else f"at most {at_most} of every node"
        said = said if sparsity is None else f"asked to remove {sparsity:.4g}"
        click.echo(f"{output}: {int(keep.sum())} of {keep.size} arcs kept ({scorer}, {said})")


def _spec(text: str) -> Any:
    """A scorer's name, or its spec as YAML."""
    import yaml

    from glt.errors import GltError

    if not text.lstrip().startswith("{"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise GltError(f"--scorer {text!r} is not YAML: write e.g. '{{name: random, seed: 1}}'") from None


def _weighted(text: str) -> tuple[Any, float]:
    """``degree=0.5`` as (scorer, weight); the weight is 1 without a number."""
    from glt.errors import GltError

    name, equals, weight = text.rpartition("=")
    try:
        return (_spec(name), float(weight)) if equals else (_spec(text), 1.0)
    except ValueError as error:
        if isinstance(error, GltError):
            raise
        raise GltError(f"--blend {text!r}: {weight!r} is not a number; write e.g. degree=0.5") from None
