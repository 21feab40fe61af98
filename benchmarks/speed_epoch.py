"""Milliseconds per training epoch: glt against the loop that one writes with PyG's own layers.

**What is timed.** One epoch of a TEDDY level: forward, cross-entropy plus distillation over all nodes
(lambda 10), backward, an Adam step, projection of the weights on the l0 ball (65 % of all matrix entries zero),
and an evaluation of all nodes. Two layers, 512 hidden units, dropout 0.5, the graph of level 10 (40 % of the
edges removed, by TEDDY's scores). The weights are zero, not removed: both loops train on dense matrices.

**Ours** is :meth:`glt.Problem.fit` with :func:`glt.losses.distilled` and :func:`glt.project_weights`, exactly as
the strategy calls it; times are the differences between its ``on_epoch`` calls. What glt does once per training
instead of once per epoch (normalisation, sorting arcs, sparse features) is not in them: it is the column
*prepare*, to be set against the 200 epochs of a training.

**The peer** is :mod:`stock`: the same architecture from PyG's ``GCNConv``, ``GINConv``, ``GATConv``, ``SAGEConv``
with the same initial weights, loss and hyper-parameters, dense features, PyG's per-epoch normalisation, torch's
dropout, Adam's defaults and a projection by ``torch.topk``.

**Is it the same training?** Before anything is timed, one epoch of each from the same weights, without dropout
and in double precision, has to give the same loss and the same weights after step and projection, with the same
number of zeros; otherwise the benchmark stops. The timed runs, too, have to end with as many zeros as asked for.

**Reading the numbers.** Rounds of both loops alternate in one process, so that drift of the machine meets both
alike; the first epochs of every round are dropped. The ratio of the medians is how many times as long the
peer's epoch takes. It depends on the number of threads (recorded) and on how sparse the features are (1.3 % of
Cora's, 0.9 % of CiteSeer's are non-zero): on dense features expect less.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import stock
import torch
from machine import bandwidth, least_bytes, median_iqr, timed
from torch import Tensor
from torch_geometric.data import Data

import glt
from glt.best import INTERVAL
from glt.constraints import prunable_weights
from glt.errors import GltError
from glt.forward import Forward
from glt.losses import distilled
from glt.results import Record
from glt.select import keep_count
from glt.train import FitResult

GRAPH_SPARSITY = 1 - 0.95**10
WEIGHT_SPARSITY = 0.65
DISTILLATION = 10.0
SIZES = {"hidden": 512, "layers": 2, "dropout": 0.5}
DATASETS = ("cora", "citeseer")
GENERATED: dict[str, dict[str, Any]] = {
    "csbm-arxiv": {"nodes": 169_343, "avg_degree": 13.67, "classes": 40, "features": 128, "words": 100},
}
"""Graphs of the size of a benchmark that are made here, with dense features: as many nodes and arcs as ogbn-arxiv."""
BACKBONES: dict[str, dict[str, Any]] = {
    "gcn": {"name": "gcn"},
    "gin": {"name": "gin", "mlp_layers": 2},
    "gin-1": {"name": "gin", "mlp_layers": 1},
    "gat": {"name": "gat"},
    "sage": {"name": "sage"},
}


def run(
    dataset: str, backbone: str, rounds: int, warm_up: int, epochs: int, device: str = "cpu", hidden: int = 512
) -> Record:
    """The record of one dataset and one of :data:`BACKBONES`.

    Args:
        dataset: a registered name, or one of :data:`GENERATED`.
        backbone: a key of :data:`BACKBONES`.
        rounds: how often both loops run, in turns.
        warm_up: epochs at the start of each round that do not count.
        epochs: epochs of each round that count.
        device: where both loops compute. On CUDA ours does not wait for it but once in
            :data:`glt.best.INTERVAL` epochs, so ``epochs`` and ``warm_up`` are rounded up to multiples of that, and
            times are those of whole intervals.
        hidden: hidden units.

    Raises:
        GltError: the two loops do not compute the same thing.
    """
    data = graph_of(dataset).to(device)
    spec = {**BACKBONES[backbone], **SIZES, "hidden": hidden}
    if device != "cpu":
        warm_up, epochs = (-(-n // INTERVAL) * INTERVAL for n in (warm_up, epochs))
    check_same_training(data, spec)
    problem = _problem(data, spec, warm_up + epochs)
    graph = sparsified(problem)
    teacher = problem.dense.logits
    ours, peers = [], []
    for _ in range(rounds):
        stamps: list[float] = []
        problem.on_epoch = lambda *_, stamps=stamps: stamps.append(time.perf_counter())
        result = _ours(problem, graph, teacher)
        ours += _epochs(stamps, warm_up) if device == "cpu" else _intervals(stamps, warm_up)
        model = _stock(problem, spec)
        stamps = []
        stock.train(
            model,
            graph,
            teacher,
            warm_up + epochs,
            _keep(problem),
            on_epoch=lambda *_, stamps=stamps: stamps.append(time.perf_counter()),
        )
        peers += _epochs(stamps, warm_up)
        for who, state in (("glt", result.state), ("the stock loop", model.state_dict())):
            if (zeros := _zeros(problem, state)) < _total(problem) - _keep(problem):
                raise GltError(f"{who} ended with {zeros} zero weights: fewer than asked for")
    prepare = [timed(lambda: Forward(problem.model(), graph), device)[0] for _ in range(3)]
    ours_ms, ours_iqr = median_iqr(ours)
    peer_ms, peer_iqr = median_iqr(peers)
    return {
        "benchmark": "epoch",
        "parameters": {
            "dataset": dataset,
            "backbone": backbone,
            **spec,
            "graph_sparsity": round(GRAPH_SPARSITY, 6),
            "weight_sparsity": WEIGHT_SPARSITY,
            "distillation": DISTILLATION,
        },
        "unit": "ms per epoch",
        "ours": ours_ms,
        "ours_iqr": ours_iqr,
        "peer_name": "stock PyG",
        "peer": peer_ms,
        "peer_iqr": peer_iqr,
        "ratio": round(peer_ms / ours_ms, 3),
        "repetitions": len(ours),
        "peer_repetitions": len(peers),
        "prepare_ms": median_iqr(prepare)[0],
        "kernel": result.kernels,
        "cuda_graph": result.captured,
        **_floor(backbone, graph, problem.num_classes, hidden, device, ours_ms),
    }


def graph_of(dataset: str) -> Data:
    """A data set by name, or one of :data:`GENERATED`."""
    if dataset not in GENERATED:
        return glt.load(dataset)
    data = glt.build("datasets", {"name": "csbm", **GENERATED[dataset]})()
    data.x = data.x.to_dense()
    data.dataset = dataset
    return data


def _floor(backbone: str, graph: Data, classes: int, hidden: int, device: str, ms: float) -> dict[str, float]:
    """What the sparse products of an epoch move at least, at the copy bandwidth; GCN and SAGE.

    Two products as wide as the hidden layer (forward, backward; the evaluation shares it) and three as wide as the
    classes (forward, backward, evaluation).
    """
    if backbone not in ("gcn", "sage"):
        return {}
    nodes, entries = graph.num_nodes, graph.num_edges + (graph.num_nodes if backbone == "gcn" else 0)
    least = 2 * least_bytes(nodes, entries, hidden) + 3 * least_bytes(nodes, entries, classes)
    speed = bandwidth(device=device)["copy_gb_s"]
    floor = least / speed / 1e6
    return {"floor_ms": round(floor, 4), "times_floor": round(ms / floor, 3), "copy_gb_s": speed}


def check_same_training(data: Data, spec: dict[str, Any]) -> None:
    """Raise GltError unless one epoch of both loops gives the same loss and the same weights.

    In double precision: in single precision the two orders of summation differ enough for a few weights at the
    threshold of the projection to change sides.
    """
    data = data.clone()
    data.x = data.x.double()
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        problem = _problem(data, {**spec, "dropout": 0.0}, 1)
        graph = sparsified(problem)
        # a teacher unlike the student's start, so that the divergence and its gradient matter
        generator = torch.Generator().manual_seed(1)
        teacher = torch.randn(data.num_nodes, problem.num_classes, generator=generator).to(data.x.device)
        losses: list[float] = []
        result = _ours(problem, graph, teacher, losses)
        model = _stock(problem, {**spec, "dropout": 0.0})
        stock.train(model, graph, teacher, 1, _keep(problem), on_loss=losses.append)
    finally:
        torch.set_default_dtype(usual)
    where = f"{spec['name']} on {data.dataset}"
    if abs(losses[0] - losses[1]) > 1e-9 * abs(losses[0]):
        raise GltError(f"{where}: glt's loss is {losses[0]}, the stock loop's {losses[1]}: not the same training")
    for name, theirs in model.state_dict().items():
        if (difference := float((result.state[name] - theirs).abs().max())) > 1e-6:
            raise GltError(f"{where}: {name} differs by {difference:g} after one epoch: not the same training")
    zeros = [_zeros(problem, state) for state in (result.state, model.state_dict())]
    if zeros != [_total(problem) - _keep(problem)] * 2:
        raise GltError(f"{where}: {zeros} zero weights instead of {_total(problem) - _keep(problem)} each")


def sparsified(problem: glt.Problem) -> Data:
    """The graph of level 10, as the TEDDY strategy chooses it."""
    scores = problem.edges.pool(glt.build("scorers", "teddy")(problem.data))
    return problem.subgraph(glt.keep_top(scores, problem.edges.count(GRAPH_SPARSITY)))


def _problem(data: Data, spec: dict[str, Any], epochs: int) -> glt.Problem:
    return glt.Problem(data, glt.build("backbones", spec), glt.Recipe(epochs=epochs))


def _ours(problem: glt.Problem, graph: Data, teacher: Tensor, losses: list[float] | None = None) -> FitResult:
    loss = distilled(problem.data, teacher, DISTILLATION, 1.0, "all")

    def noted(logits: Tensor) -> Tensor:
        value = loss(logits)
        losses.append(value.item())  # type: ignore[union-attr]
        return value

    return problem.fit(
        graph,
        loss=loss if losses is None else noted,
        constrain=lambda model, optimizer: glt.project_weights(model, optimizer, WEIGHT_SPARSITY),
    )


def _stock(problem: glt.Problem, spec: dict[str, Any]) -> stock.StockGNN:
    """The stock model at the problem's initial weights."""
    model = stock.build(**spec, in_channels=problem.data.x.size(1), out_channels=problem.num_classes)
    model.load_state_dict(problem.initial)
    return model.to(problem.data.x.device)


def _total(problem: glt.Problem) -> int:
    return sum(p.numel() for p in prunable_weights(problem.model()).values())


def _keep(problem: glt.Problem) -> int:
    return keep_count(_total(problem), WEIGHT_SPARSITY)


def _zeros(problem: glt.Problem, state: dict[str, Tensor]) -> int:
    return sum(int((state[name] == 0).sum()) for name in prunable_weights(problem.model()))


def _epochs(stamps: list[float], warm_up: int) -> Iterator[float]:
    """Milliseconds of the epochs after the first ``warm_up`` (at least one: its start is not known)."""
    for before, after in zip(stamps[warm_up - 1 :], stamps[warm_up:], strict=False):
        yield (after - before) * 1e3


def _intervals(stamps: list[float], warm_up: int) -> Iterator[float]:
    """Milliseconds per epoch of every interval after the first ``warm_up`` epochs."""
    ends = stamps[warm_up - 1 :: INTERVAL]
    for before, after in pairwise(ends):
        yield (after - before) * 1e3 / INTERVAL
