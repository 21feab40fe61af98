"""Every kernel for sparse products, on graphs of three sizes and dense matrices of four widths.

    python benchmarks/kernels.py                  # ten minutes on two cores
    python benchmarks/kernels.py --device cuda
    python benchmarks/kernels.py --quick          # does it run? Small, and nothing is written

**What is timed.** One product of GCN's operator, D^-1/2 (A + I) D^-1/2 in CSR, with a dense float32 matrix: what
:data:`glt.kernels.choice.RULES` chooses between. The gradient is the same product with the transpose. The graphs are
generated (``csbm``) with as many nodes and arcs as Cora, PubMed and ogbn-arxiv (made undirected), with hubs, in an
order that knows nothing of neighbours. What a kernel makes once per matrix (rows of entries, PyG's ``EdgeIndex``) is
not timed. Kernels that gather a row per entry are left out where that takes more than :data:`GATHER` bytes.

**The floor.** Whatever the kernel: the matrix read once, every dense row read once and written once
(:func:`machine.least_bytes`), at the copy bandwidth measured in the same run. *of floor* is that time divided by the
kernel's. Dense rows that do not stay in a cache are read once per entry: *per entry* is the bytes moved then, per
second of the measured time; above the copy bandwidth, caches helped.

Every kernel's result is compared with the first one's before it is timed. Records go to
benchmarks/results/kernels.jsonl, in the place of earlier ones of the same parameters, device and number of threads.
Let nothing else run meanwhile. With ``--provisional`` the records say that something did, and the README leaves them
out; ``ours_min``, the shortest time, is then the better guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from machine import bandwidth, least_bytes, median_iqr, replace_records, timed
from rich.console import Console
from rich.table import Table

import glt
from glt.errors import GltError
from glt.kernels import chosen
from glt.provenance import provenance
from glt.results import Record
from glt.sparse import SparseMatrix

OUTPUT = Path(__file__).resolve().parent / "results" / "kernels.jsonl"
GRAPHS: dict[str, dict[str, Any]] = {
    "Cora": {"nodes": 2_708, "avg_degree": 10_556 / 2_708},
    "PubMed": {"nodes": 19_717, "avg_degree": 88_648 / 19_717},
    "arxiv": {"nodes": 169_343, "avg_degree": 2_315_598 / 169_343},
}
WIDTHS = (16, 64, 256, 512)
GATHER = 3 * 2**30
BUDGET_MS = 4_000.0
"""Time after which a kernel gets no further repetition."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N")
@click.option("--graph", "graphs", type=click.Choice(list(GRAPHS)), multiple=True, help="These alone.")
@click.option("--quick", is_flag=True, help="A smoke run: the smallest graph, two repetitions, nothing is written.")
@click.option("--provisional", is_flag=True, help="Say in the records that the machine was not quiet.")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, help="The file of records.")
def main(device: str, graphs: tuple[str, ...], quick: bool, provisional: bool, output: Path) -> None:
    console = Console(width=None if Console().is_terminal else 120)
    about = provenance(device)
    console.print(", ".join(f"{key} {value}" for key, value in about.items()))
    speeds = bandwidth(64 if quick else 512, device=device)
    for name in graphs or (list(GRAPHS)[:1] if quick else list(GRAPHS)):
        records = [
            {**record, **speeds, **about, **({"provisional": True} if provisional else {})}
            for record in measure(name, device, speeds["copy_gb_s"], 2 if quick else 9)
        ]
        if not quick:
            replace_records(output, records)
        console.print(table(name, records, speeds["copy_gb_s"]))


def measure(name: str, device: str, copy_gb_s: float, repetitions: int) -> Iterator[Record]:
    """A record per width and kernel of one of :data:`GRAPHS`."""
    matrix = operator(name).csr.to(device)
    rows, entries = matrix.size(0), matrix.col_indices().numel()
    for width in WIDTHS:
        dense = torch.rand(rows, width, generator=torch.Generator().manual_seed(0)).to(device)
        default, wanted = chosen(matrix, width).name, None
        for kernel in kernels(device, entries * width * 4):
            out = kernel(matrix, dense)
            wanted = out if wanted is None else wanted
            if not torch.allclose(out, wanted, rtol=1e-4, atol=1e-5):
                raise GltError(f"kernel {kernel.name!r} gives another product on {name}, width {width}")
            del out
            times: list[float] = []
            while len(times) < repetitions and (len(times) < 3 or sum(times) < BUDGET_MS):
                times.append(timed(partial(kernel, matrix, dense), device)[0])
            ms, iqr = median_iqr(times)
            least = least_bytes(rows, entries, width)
            per_entry = least + 4 * width * (entries - rows)
            yield {
                "benchmark": "kernel",
                "parameters": {"graph": name, "nodes": rows, "entries": entries, "width": width, "kernel": kernel.name},
                "unit": "ms",
                "ours": ms,
                "ours_iqr": iqr,
                "ours_min": round(min(times), 4),
                "repetitions": len(times),
                "default": kernel.name == default,
                "least_bytes": least,
                "least_gb_s": round(least / ms / 1e6, 3),
                "per_entry_gb_s": round(per_entry / ms / 1e6, 3),
                "of_floor": round(least / ms / 1e6 / copy_gb_s, 4),
            }


def operator(name: str) -> SparseMatrix:
    """GCN's operator on a generated graph of the size of one of :data:`GRAPHS`."""
    data = glt.build("datasets", {"name": "csbm", "features": 10, "words": 1, **GRAPHS[name]})()
    model = glt.build("backbones", {"name": "gcn", "hidden": 8})(10, 2)
    made: SparseMatrix = model.operator(data.edge_index, None, data.num_nodes, torch.float32)
    return made


def kernels(device: str, gathered: int) -> Iterator[Any]:
    """The kernels that run on ``device`` here; those that gather ``gathered`` bytes only up to :data:`GATHER`."""
    for name in glt.names("kernels"):
        kernel = glt.build("kernels", name)
        whole = gathered <= GATHER or name in ("matmul", "reduce", "edge_index")
        if whole and kernel.available() and torch.device(device).type in kernel.devices:
            yield kernel


def table(name: str, records: list[Record], copy_gb_s: float) -> Table:
    """What was measured on one graph; the default kernel has a star."""
    made = Table(title=f"{name}-sized: one product, ms; the default has a star (copy {copy_gb_s} GB/s)")
    for column in ("width", "kernel", "median (IQR)", "of floor", "least, GB/s", "per entry, GB/s"):
        made.add_column(column, justify="left" if column == "kernel" else "right")
    for r in records:
        made.add_row(
            str(r["parameters"]["width"]),
            r["parameters"]["kernel"] + " *" * r["default"],
            f"{r['ours']:.3f} ({r['ours_iqr'][0]:.3f}-{r['ours_iqr'][1]:.3f})",
            f"{r['of_floor']:.1%}",
            f"{r['least_gb_s']:.2f}",
            f"{r['per_entry_gb_s']:.2f}",
        )
    return made


if __name__ == "__main__":
    main()
