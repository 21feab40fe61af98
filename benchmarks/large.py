"""Tables of what large graphs and GPUs are to reach: every figure beside its command, whether measured yet or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from speed_batches import BACKBONES as BATCHED
from speed_batches import WAYS
from speed_epoch import BACKBONES as EPOCHS
from wording import BACKBONES, provenance

from glt.results import Record
from glt.tables import markdown

NOT_YET = "not yet measured"
ARXIV, CORA = "csbm-arxiv", "cora"
PLACES = {ARXIV: "csbm, arxiv-sized", CORA: "Cora"}


@dataclass(frozen=True)
class Aim:
    """A figure that is wanted.

    Attributes:
        about: what is divided by what.
        places: (dataset, backbone, hidden units) that it is wanted of.
        benchmark: of the records.
        field: of the record that has it.
        aim: what it should be on a GPU.
    """

    about: str
    places: tuple[tuple[str, str, int], ...]
    benchmark: str
    field: str
    aim: str

    def of(self, place: tuple[str, str, int], records: Sequence[Record], device: str) -> Record | None:
        """The latest record of a place on a kind of device."""
        fits = [r for r in records if r["benchmark"] == self.benchmark and r["device"].startswith(device)]
        same = [r for r in fits if tuple(map(r["parameters"].get, ("dataset", "backbone", "hidden"))) == place]
        return next((r for r in reversed(same) if self.field in r), None)


LARGE = ((ARXIV, "gcn", 256), (ARXIV, "sage", 256))
SMALL = tuple((CORA, backbone, 512) for backbone in EPOCHS)
AIMS = (
    Aim("epochs/s, glt : stock PyG", LARGE, "epoch", "ratio", "at least 2"),
    Aim("time of an epoch : bandwidth floor of its sparse products", LARGE, "epoch", "times_floor", "at most 2"),
    Aim("epochs/s, glt : stock PyG", SMALL, "epoch", "ratio", "at least 5"),
    Aim("seeds/s, 10 at once : one by one", ((CORA, "gcn", 512),), "together", "ratio", "at least 3"),
)
COMMANDS = """Measured by these, on a machine with a GPU (without `--device cuda` on the CPU):

```sh
python benchmarks/speed.py epoch --dataset csbm-arxiv --hidden 256 --backbone gcn --backbone sage --device cuda
python benchmarks/speed.py epoch --dataset cora --device cuda
python benchmarks/speed.py together --device cuda
python benchmarks/kernels.py --device cuda    # which kernel is the default there: glt/kernels/choice.py
```"""


def gpu(records: Sequence[Record]) -> str:
    """Every aim beside what was measured, on a GPU and on the CPU."""
    lines, found = [], []
    for aim in AIMS:
        for place in aim.places:
            both = [aim.of(place, records, device) for device in ("cuda", "cpu")]
            found += [r for r in both if r]
            dataset, backbone, hidden = place
            name = f"{PLACES[dataset]}, {BACKBONES[backbone]}, {hidden} hidden"
            shown = [f"{r[aim.field]:.1f}" if r else NOT_YET for r in both]
            lines.append([f"{aim.about}; {name}", aim.aim, *shown])
    table = markdown(["figure", "aim on a GPU", "on a GPU", "on the CPU"], lines)
    return "\n\n".join([table, *([provenance(found)] if found else []), COMMANDS])


def batches(records: Sequence[Record]) -> str:
    """Peak memory of a training, whole or in parts."""
    rows = [r for r in records if r["benchmark"] == "batches"]
    if not rows:
        return f"{NOT_YET.capitalize()}: `python benchmarks/speed.py batches`."
    lines = []
    for backbone in BATCHED:
        for way in WAYS:
            for r in rows:
                if (r["parameters"]["backbone"], r["way"]) == (backbone, way):
                    nodes = f"{r['parameters']['nodes']:,}"
                    lines.append([BACKBONES[backbone], nodes, way, f"{r['ours']:,.0f}", f"{r['epoch_s']:.1f}"])
    header = ["backbone", "nodes", "training", "peak beyond the graph, MB", "s per epoch"]
    return markdown(header, lines) + "\n\n" + provenance(rows)
