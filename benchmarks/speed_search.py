"""UGS, the whole search: glt against the loop that one writes with PyG's own layers; and how its memory grows.

**What is timed.** UGS on Cora with GCN (2 x 512, dropout 0.5): ten rounds, each with mask training, exact pruning,
rewinding and retraining, :data:`EPOCHS` epochs each (the paper has 200: the time is proportional). Ours is the ``ugs``
strategy as ``glt run`` calls it; the peer is :mod:`stock_ugs`: the same rounds, masks, initial weights and counts,
dense features, PyG's layers. Both run in turns in one process.

**Is it the same search?** Before anything is timed, three rounds of each, without dropout and in double precision,
have to end with the same test accuracy and masks that differ in at most one in a thousand places; otherwise the
benchmark stops.

**Memory** is the peak of a fresh process beyond the graph itself while it trains masks for :data:`MEMORY_EPOCHS`
epochs on ``csbm`` graphs, SAGE with 64 hidden units: it grows with edges and nodes, never with nodes x nodes, whose
mere bits would take 125 GB at a million nodes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import stock_ugs
import torch
from machine import median_iqr, resident, timed
from torch import Tensor

import glt
from glt.constraints import prunable_weights
from glt.errors import GltError
from glt.masks import SoftMasked
from glt.results import Record
from glt.schedules.geometric import Geometric
from glt.select import keep_count
from glt.strategies.masked import ROUNDS

EPOCHS = 20
MEMORY_EPOCHS = 3
SIZES = {"hidden": 512, "dropout": 0.5}
NODES = (10_000, 100_000, 1_000_000)


def run(dataset: str, rounds: int, repetitions: int, epochs: int = EPOCHS) -> Record:
    """The record of the search on one dataset.

    Raises:
        GltError: the two searches do not find the same.
    """
    _check_same_search(dataset)
    ours, peers = [], []
    for _ in range(repetitions):
        problem, stock = _both(dataset, rounds, epochs, SIZES)
        ours.append(timed(lambda problem=problem: _ours(problem, rounds))[0] / 1e3)
        peers.append(timed(stock)[0] / 1e3)
    ours_s, ours_iqr = median_iqr(ours)
    peer_s, peer_iqr = median_iqr(peers)
    return {
        "benchmark": "search",
        "parameters": {
            "dataset": dataset,
            "strategy": "ugs",
            "backbone": "gcn",
            "rounds": rounds,
            "epochs": epochs,
            **SIZES,
        },
        "unit": "s",
        "ours": ours_s,
        "ours_iqr": ours_iqr,
        "peer_name": "stock PyG",
        "peer": peer_s,
        "peer_iqr": peer_iqr,
        "ratio": round(peer_s / ours_s, 3),
        "repetitions": len(ours),
        "peer_repetitions": len(peers),
    }


def memory(nodes: int) -> Record:
    """The record of one size of graph, measured in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), str(nodes)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "benchmark": "search memory",
        "parameters": {"nodes": nodes, "strategy": "ugs", "backbone": "sage", "hidden": 64},
        "unit": "MB",
        "ours": round(found["peak"] / 1e6, 1),
        "ours_iqr": None,
        "peer_name": None,
        "peer": None,
        "peer_iqr": None,
        "ratio": None,
        "repetitions": 1,
        "peer_repetitions": 0,
        "edges": found["edges"],
        "bytes_per_edge": round(found["peak"] / found["edges"]),
        "dense_mask_mb": round(nodes**2 * 4 / 1e6),
    }


def _levels(rounds: int) -> Geometric:
    return Geometric(graph_rate=0.05, weight_rate=0.2, levels=rounds)


def _ours(problem: glt.Problem, rounds: int) -> list[glt.Ticket]:
    return list(glt.build("strategies", "ugs").tickets(problem, _levels(rounds)))


def _both(
    dataset: str, rounds: int, epochs: int, sizes: dict[str, Any], double: bool = False
) -> tuple[glt.Problem, Any]:
    """Our problem, and a function that runs the stock search from the same weights and masks."""
    data = glt.load(dataset)
    if double:
        data = data.clone()
        data.x = data.x.double()
    problem = glt.Problem(data, glt.build("backbones", {"name": "gcn", **sizes}), glt.Recipe(epochs=epochs))
    edges = problem.edges
    total = sum(p.numel() for p in prunable_weights(problem.model()).values())
    counts = [
        (edges.count(level.graph_sparsity), keep_count(total, level.weight_sparsity)) for level in _levels(rounds)
    ]
    keeps = [edges.num_edges, *(count for count, _ in counts)]

    def noise(number: int) -> tuple[Tensor, list[Tensor]]:
        keep = torch.arange(edges.num_edges) < keeps[number]
        weights = problem.masks()[1]
        soft = SoftMasked(problem.model(), problem.data, edges, keep, weights, problem.seed * ROUNDS + number + 1)
        dtype = data.x.dtype
        return soft.edges.detach().to(dtype), [weight.detach().to(dtype) for weight in soft.weights]

    def stock(on_round: Any = None) -> None:
        model = stock_ugs.build(data.x.size(1), problem.num_classes, **sizes)
        model.load_state_dict(problem.initial)
        stock_ugs.search(model, data, edges.edge_of_arc, counts, epochs, noise, on_round=on_round)

    return problem, stock


def _check_same_search(dataset: str) -> None:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        problem, stock = _both(dataset, 3, 4, {"hidden": 64, "dropout": 0.0}, double=True)
        found: list[tuple[Tensor, list[Tensor], float]] = []
        stock(lambda *result: found.append(result))
        for ticket, (edges, weights, test) in zip(_ours(problem, 3), found, strict=True):
            off = int((ticket.edge_keep != edges).sum()) / edges.numel()
            masks = zip(ticket.weight_masks.values(), weights, strict=True)
            off = max(off, sum(int((a != b).sum()) for a, b in masks) / sum(b.numel() for b in weights))
            if off > 1e-3 or abs(ticket.metrics["test"] - test) > 1e-3:
                raise GltError(
                    f"UGS on {dataset}: masks differ in {off:.2%} of places, test {ticket.metrics['test']:.4f} against "
                    f"{test:.4f}: not the same search"
                )
    finally:
        torch.set_default_dtype(usual)


def _child(nodes: int) -> None:
    """Print the peak memory of mask training beyond the graph, and the number of edges."""
    data = glt.build("datasets", {"name": "csbm", "nodes": nodes})()
    small = glt.build("datasets", {"name": "csbm", "nodes": 500})()
    recipe = glt.Recipe(epochs=MEMORY_EPOCHS)
    backbone = glt.build("backbones", {"name": "sage", "hidden": 64})
    glt.find(backbone, small, 0.05, 0.2, strategy="ugs", recipe=recipe)  # libraries and threads are set up
    before, _ = resident()
    ticket = glt.find(backbone, data, 0.05, 0.2, strategy="ugs", recipe=recipe)
    print(json.dumps({"peak": resident()[1] - before, "edges": ticket.edge_keep.numel()}))


if __name__ == "__main__":
    _child(int(sys.argv[1]))
