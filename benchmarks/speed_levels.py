"""Milliseconds per training epoch against the level: what a sparser ticket saves while it is trained.

**What is timed.** Epochs of :meth:`glt.Problem.fit` at levels 0 to 20 of the published schedule (5 % of the edges and
10 % of the weights a level), rounds of all levels and ways in turns:

- *projected*: TEDDY's training. Weights are zero and may return, so their gradients are needed and products stay dense;
  what gets cheaper is the aggregation.
- *frozen*: the retraining of imp, oneshot and ugs, with masks of a trained model's largest weights, all of it.
- *live*: the same with ``train.live``: hidden units and input features that no kept weight needs are left out of the
  matrices (:mod:`glt.frozen`). What finding them takes, once per training, is *setup_ms* and not in the epochs.
- *frozen_unit*, *live_unit*: the same two with whole hidden units masked.
- *random*, *random_live*, *random_unit*, *random_live_unit*: the same four with random masks, by ERK over layers.

``ours`` is *projected*, ``peer`` its level 0: the ratio is how many times as fast as dense training a level is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from machine import median_iqr
from speed_epoch import SIZES, graph_of
from torch_geometric.data import Data

import glt
from glt.constraints import Masks, largest_weights, project_weights, prunable_weights
from glt.frozen import part_of
from glt.results import Record
from glt.train import FitResult

LEVELS = (0, 5, 10, 15, 20)
DATASETS = (("cora", "gcn", 512), ("citeseer", "gcn", 512), ("csbm-arxiv", "gcn", 256))


def run(
    dataset: str, backbone: str, hidden: int, rounds: int, warm_up: int, epochs: int, dense_epochs: int
) -> list[Record]:
    """A record per level.

    Args:
        dataset: as of :func:`speed_epoch.graph_of`.
        backbone: one whose weights come layer by layer, the first one's first.
        hidden: hidden units.
        rounds: how often every level is trained, in turns.
        warm_up: epochs at the start of each that do not count.
        epochs: epochs of each that count.
        dense_epochs: of the training whose largest weights are kept.
    """
    spec = {**SIZES, "name": backbone, "hidden": hidden}
    data = graph_of(dataset)
    problem, alone = (
        glt.Problem(data, glt.build("backbones", spec), glt.Recipe(epochs=warm_up + epochs, live=live))
        for live in (False, True)
    )
    scores = problem.edges.pool(glt.build("scorers", "teddy")(problem.data))
    trained = problem.fit(problem.data, epochs=dense_epochs).state
    weights = {name: trained[name] for name in prunable_weights(problem.model())}
    ways: dict[tuple[str, int], Callable[[], Any]] = {}
    times: dict[tuple[str, int], list[float]] = {}
    sizes: dict[int, dict[str, Any]] = {}
    for level in LEVELS:
        edges, sparsity = 1 - 0.95**level, 1 - 0.9**level
        graph = problem.subgraph(glt.keep_top(scores, problem.edges.count(edges)))
        projected = partial(project_weights, sparsity=sparsity)
        ways["projected", level] = partial(_fit, problem, graph, constrain=lambda m, o, p=projected: p(m, o))
        sizes[level] = {"arcs": graph.num_edges, "weight_sparsity": round(sparsity, 6)}
        for granularity, suffix in (("element", ""), ("unit", "_unit")):
            largest = largest_weights(weights, sparsity, granularity=granularity)
            drawn = _random(problem, graph, sparsity, granularity)
            for whole, live, masks in (("frozen", "live", largest), ("random", "random_live", drawn)):
                ways[whole + suffix, level] = partial(_fit, problem, graph, masks=masks)
                ways[live + suffix, level] = partial(_fit, alone, graph, masks=masks)
                sizes[level] |= _size(live + suffix, alone, graph, masks)
    for _ in range(rounds):
        for key, way in ways.items():
            stamps: list[float] = []
            way(stamps=stamps)
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
                "dense_epochs": dense_epochs,
                "repetitions": rounds * epochs,
                "peer_repetitions": rounds * epochs,
                **others,
                **sizes[level],
            }
        )
    return records


def _fit(problem: glt.Problem, graph: Data, stamps: list[float], **how: Any) -> FitResult:
    problem.on_epoch = lambda *_: stamps.append(time.perf_counter())
    return problem.fit(graph, **how)


def _random(problem: glt.Problem, graph: Data, sparsity: float, granularity: str) -> Masks:
    """The masks of the strategy ``random``."""
    strategy = glt.build("strategies", {"name": "random", "pruner": {"name": "random", "granularity": granularity}})
    masks: Masks = strategy.prune(problem, graph, problem.initial, sparsity)
    return masks


def _size(live: str, problem: glt.Problem, graph: Data, masks: Masks) -> dict[str, Any]:
    """What is left of the first layer, and what finding it takes."""
    started = time.perf_counter()
    part = part_of(problem.model(), graph, masks, problem.recipe)
    took = 1e3 * (time.perf_counter() - started)
    units, features = next(iter((masks if isinstance(part, str) else part.masks).values())).shape
    name, _, granularity = live.partition("live")
    return {
        f"{name}live_units{granularity}": units,
        f"{name}live_features{granularity}": features,
        f"{name}setup_ms{granularity}": round(took, 3),
    }
