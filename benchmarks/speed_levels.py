"""Milliseconds per training epoch against the level: what a sparser ticket saves while it is trained.

**What is timed.** Epochs of :meth:`glt.Problem.fit` at levels 0 to 20 of the published schedule (5 % of the edges and
10 % of the weights a level), rounds of all levels and ways in turns:

- *projected*: TEDDY's training. Weights are zero and may return, so their gradients are needed and products stay dense;
  what gets cheaper is the aggregation.
- *frozen*: the retraining of imp, oneshot, random and ugs, with masks of a trained model's largest weights.
- *live*: the same with hidden units and input features taken out that no kept weight needs: what a training of the
  sub-network alone would take. Dropout draws other numbers there, so it is not the same training.
- *frozen_unit*, *live_unit*: the same two with whole hidden units masked.

``ours`` is *projected*, ``peer`` its level 0: the ratio is how many times as fast as dense training a level is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from machine import median_iqr
from speed_epoch import SIZES, graph_of
from torch_geometric.data import Data

import glt
from glt.constraints import Masks, freeze_weights, largest_weights, project_weights, prunable_weights
from glt.results import Record
from glt.train import FitResult

LEVELS = (0, 5, 10, 15, 20)
DATASETS = (("cora", "gcn", 512), ("citeseer", "gcn", 512), ("csbm-arxiv", "gcn", 256))


def run(dataset: str, backbone: str, hidden: int, rounds: int, warm_up: int, epochs: int) -> list[Record]:
    """A record per level.

    Args:
        dataset: as of :func:`speed_epoch.graph_of`.
        backbone: ``gcn`` or ``sage``: live units are found by the names of their weights.
        hidden: hidden units.
        rounds: how often every level is trained, in turns.
        warm_up: epochs at the start of each that do not count.
        epochs: epochs of each that count.
    """
    spec = {**SIZES, "name": backbone, "hidden": hidden}
    data = graph_of(dataset)
    recipe = glt.Recipe(epochs=warm_up + epochs)
    problem = glt.Problem(data, glt.build("backbones", spec), recipe)
    scores = problem.edges.pool(glt.build("scorers", "teddy")(problem.data))
    trained = problem.dense.state
    weights = {name: trained[name] for name in prunable_weights(problem.model())}
    ways: dict[tuple[str, int], Callable[[], Any]] = {}
    times: dict[tuple[str, int], list[float]] = {}
    sizes: dict[int, dict[str, Any]] = {}
    for level in LEVELS:
        edges, sparsity = 1 - 0.95**level, 1 - 0.9**level
        graph = problem.subgraph(glt.keep_top(scores, problem.edges.count(edges)))
        projected = partial(project_weights, sparsity=sparsity)
        ways["projected", level] = partial(_fit, problem, graph, lambda m, o, p=projected: p(m, o))
        sizes[level] = {"arcs": graph.num_edges, "weight_sparsity": round(sparsity, 6)}
        for granularity, suffix in (("element", ""), ("unit", "_unit")):
            masks = largest_weights(weights, sparsity, granularity=granularity)
            ways[f"frozen{suffix}", level] = partial(_fit, problem, graph, partial(_freeze, masks))
            small, smaller, kept = _live(problem, spec, graph, masks)
            ways[f"live{suffix}", level] = partial(_fit, small, smaller, partial(_freeze, kept))
            units, features = next(iter(kept.values())).shape
            sizes[level] |= {f"live_units{suffix}": units, f"live_features{suffix}": features}
    for _ in range(rounds):
        for key, way in ways.items():
            stamps: list[float] = []
            way(stamps)
            found = zip(stamps[warm_up - 1 :], stamps[warm_up:], strict=False)
            times.setdefault(key, []).extend(1e3 * (after - before) for before, after in found)
    dense_ms, dense_iqr = median_iqr(times["projected", 0])
    records = []
    for level in LEVELS:
        ms, iqr = median_iqr(times["projected", level])
        others = {way: median_iqr(values)[0] for (way, n), values in times.items() if n == level}
        records.append(
            {
                "benchmark": "levels",
                "parameters": {"dataset": dataset, "backbone": backbone, **spec, "level": level},
                "unit": "ms per epoch",
                "ours": ms,
                "ours_iqr": iqr,
                "peer_name": "level 0",
                "peer": dense_ms,
                "peer_iqr": dense_iqr,
                "ratio": round(dense_ms / ms, 3),
                "repetitions": rounds * epochs,
                "peer_repetitions": rounds * epochs,
                **others,
                **sizes[level],
            }
        )
    return records


def _fit(problem: glt.Problem, graph: Data, constrain: Any, stamps: list[float]) -> FitResult:
    problem.on_epoch = lambda *_: stamps.append(time.perf_counter())
    return problem.fit(graph, constrain=constrain)


def _freeze(masks: Masks, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    return freeze_weights(model, optimizer, masks)


def _live(
    problem: glt.Problem, spec: dict[str, Any], graph: Data, masks: Masks
) -> tuple[glt.Problem, Data, dict[str, torch.Tensor]]:
    """(problem, graph and masks of the sub-network) with units that are read, and features that are."""
    first = [mask for name, mask in masks.items() if name.startswith("convs.0.")]
    units = torch.stack([m for name, mask in masks.items() if name.startswith("convs.1.") for m in mask]).any(0)
    columns = torch.stack([row for mask in first for row in mask[units]]).any(0)
    narrow = Data(**{k: v for k, v in graph.to_dict().items() if k != "x"})
    x = graph.x if graph.x.layout == torch.strided else graph.x.to_dense()
    narrow.x = x[:, columns]
    kept = {
        name: mask[units][:, columns] if name.startswith("convs.0.") else mask[:, units] for name, mask in masks.items()
    }
    backbone = replace(glt.build("backbones", spec), hidden=int(units.sum()))
    return glt.Problem(narrow, backbone, problem.recipe), narrow, kept
