"""Peak memory of one training: the whole graph at once, random parts, and parts with evaluation by chunks.

**What is measured.** The peak of a fresh process beyond the graph itself while it trains the dense model for
:data:`EPOCHS` epochs on a ``csbm`` graph: GCN or GAT, three layers of 256 hidden units (GAT: eight heads). Evaluation
is on the whole graph after every epoch, as ``glt run`` does it; by chunks it goes layer by layer, so many nodes at a
time. What is left is the graph's operators, the states of two layers, and the best epoch's logits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import resident

import glt
from glt.results import Record

EPOCHS = 2
NODES = 200_000
SIZES = {"hidden": 256, "layers": 3}
BACKBONES = ("gcn", "gat")
PARTS = {"name": "parts", "num_parts": 10}
WAYS: dict[str, dict[str, Any]] = {
    "whole graph": {},
    "10 parts": {"batches": PARTS},
    "10 parts, evaluated by chunks of 10,000": {"batches": PARTS, "eval_chunk": 10_000},
}


def run(nodes: int, backbone: str) -> list[Record]:
    """The records of all ways, each measured in a fresh process."""
    return [_record(nodes, backbone, way) for way in WAYS]


def _record(nodes: int, backbone: str, way: str) -> Record:
    command = [sys.executable, str(Path(__file__).resolve()), str(nodes), backbone, way]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "benchmark": "batches",
        "parameters": {"nodes": nodes, "backbone": backbone, **SIZES, "train": WAYS[way]},
        "unit": "MB",
        "ours": round(found["peak"] / 1e6, 1),
        "ours_iqr": None,
        "peer_name": None,
        "peer": None,
        "peer_iqr": None,
        "ratio": None,
        "repetitions": 1,
        "peer_repetitions": 0,
        "way": way,
        "epoch_s": round(found["seconds"] / EPOCHS, 3),
    }


def _child(nodes: int, backbone: str, way: str) -> None:
    """Print the peak memory of a training beyond the graph, and how long it took."""
    built = glt.build("backbones", {"name": backbone, **SIZES})
    recipe = glt.Recipe(epochs=EPOCHS, **WAYS[way])
    data, small = (glt.build("datasets", {"name": "csbm", "nodes": size, "features": 128})() for size in (nodes, 500))
    assert glt.Problem(small, built, recipe).dense  # libraries and threads are set up
    before, _ = resident()
    result = glt.Problem(data, built, recipe).dense
    print(json.dumps({"peak": resident()[1] - before, "seconds": result.seconds}))


if __name__ == "__main__":
    _child(int(sys.argv[1]), *sys.argv[2:])
