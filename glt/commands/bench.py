"""glt bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from glt.commands.device import use


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path), help="Folder of dataset files (default: $GLT_DATA).")
@click.option("--nodes", type=click.IntRange(min=1), multiple=True, help="Also answer so many random nodes at a time.")
@click.option("--batch", type=click.IntRange(min=1), multiple=True, help="The same; e.g. --nodes 1 --batch 64.")
@click.option("--only", multiple=True, help="These variants alone, beside stock PyG.")
@click.option("--passes", type=click.IntRange(min=1), default=100, show_default=True, help="Measured rounds.")
@click.option("--warm-up", type=click.IntRange(min=0), default=20, show_default=True, help="Rounds before them.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which nodes are drawn.")
@click.option("--storage", default="auto", show_default=True, help="Form of weights: auto (measured), dense, csr, 2:4.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's choice).")
@click.option("--json", "as_json", is_flag=True, help="One JSON record a line on stdout.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Append the records to this JSONL file.")
def bench(
    targets: tuple[Path, ...],
    root: Path | None,
    nodes: tuple[int, ...],
    batch: tuple[int, ...],
    only: tuple[str, ...],
    passes: int,
    warm_up: int,
    seed: int,
    storage: str,
    device: str,
    threads: int | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Latency, peak memory and throughput of TARGETs: tickets, and models that glt export wrote.

    Of a ticket: stock PyG with the dense model on the full graph, the dense model as glt computes it, PyG's layers
    under torch.nn.utils.prune, the masked and the compact ticket, and Torch-Pruning at equal sparsity where it is
    installed and supports the model; all in turns, in one process. Exported models run beside the ticket named before
    them, on the graph they were exported with. Memory is what a variant holds and what torch allocates in one pass.

    Loading a .pt2 file unpickles: do it only with files from people you trust.
    """
    from glt.bench.exported import is_exported
    from glt.bench.table import table
    from glt.errors import GltError
    from glt.results import Results

    use(device, threads)
    if missing := [path for path in targets if not path.is_file()]:
        raise GltError(f"there is no file {missing[0]}")
    groups: list[tuple[Path | None, list[Path]]] = []
    for path in targets:
        if not is_exported(path):
            groups.append((path, []))
        elif groups:
            groups[-1][1].append(path)
        else:
            groups.append((None, [path]))
    for ticket, files in groups:
        counts = tuple(dict.fromkeys((*nodes, *batch)))
        records = _measured(ticket, files, root, counts, only, passes, warm_up, seed, storage, device)
        for record in records:
            if output:
                Results(output).append(record)
            if as_json:
                click.echo(json.dumps(record))
        if not as_json:
            click.echo(table(records))


def _measured(
    ticket: Path | None,
    files: list[Path],
    root: Path | None,
    counts: tuple[int, ...],
    only: tuple[str, ...],
    passes: int,
    warm_up: int,
    seed: int,
    storage: str,
    device: str,
) -> list[dict[str, Any]]:
    from glt.bench.exported import reloaded
    from glt.bench.queries import some, whole
    from glt.bench.run import alone, bench
    from glt.bench.variants import Case
    from glt.builtin import data_of, model_of
    from glt.ticket import Ticket

    if ticket is None:
        records = alone({path.name: reloaded(path, device=device) for path in files}, warm_up, passes, device)
        return [{"benchmark": "latency", "target": record["variant"], **record} for record in records]
    loaded = Ticket.load(ticket)
    data = data_of(loaded, root).to(device)
    case = Case(loaded, model_of(loaded, data).to(device), data, {"storage": storage})
    others = {path.name: reloaded(path, case.compact if path.suffix == ".onnx" else None, device) for path in files}
    queries = [whole(case), *(some(case, count, seed) for count in counts)]
    records = bench(case, queries, warm_up, passes, only or None, others)
    return [{"benchmark": "latency", "target": str(ticket), **record} for record in records]
