"""Seeds per second: the dense models of several seeds trained at once, and one after the other.

**What is timed.** The dense training of :data:`SEEDS` seeds on Cora with :func:`glt.together.fit_together`, and of the
same models with :func:`glt.train.fit` one after the other: forward, loss, backward, an Adam step and an evaluation of
all nodes per epoch, from the initial weights to the best epoch's, everything included (features and operators are made
once for all models together, and once for each alone). Both run in turns in one process.

**Is it the same training?** Dropout is the same by seed, so no seed's test metric may differ by more than :data:`NODES`
nodes between the two ways; rounding may move an epoch or a node.
"""

from __future__ import annotations

import time
from typing import Any

from machine import median_iqr, wait

import glt
from glt.errors import GltError
from glt.results import Record
from glt.together import fit_together
from glt.train import FitResult, Recipe, fit

SEEDS = 10
NODES = 10


def run(dataset: str, backbone: str, hidden: int, rounds: int, epochs: int, device: str, seeds: int = SEEDS) -> Record:
    """The record of one dataset and backbone.

    Raises:
        GltError: a training failed, was not done at once, or does not give what it gives alone.
    """
    spec = {"name": backbone, "hidden": hidden, "layers": 2}
    data, recipe = glt.build("datasets", dataset)().to(device), Recipe(epochs=epochs)
    problems = [glt.Problem(data, glt.build("backbones", spec), recipe, seed) for seed in range(seeds)]

    def together() -> list[Any]:
        models = [problem.model() for problem in problems]
        return fit_together(models, [data] * seeds, recipe, seeds=range(seeds), metric=problems[0].metric)

    def alone() -> list[Any]:
        return [fit(p.model(), data, recipe, seed=p.seed, metric=p.metric) for p in problems]

    times: dict[Any, list[float]] = {together: [], alone: []}
    for _ in range(rounds):
        found = {}
        for way, taken in times.items():
            wait(device)
            started = time.perf_counter()
            found[way] = way()
            wait(device)
            taken.append((time.perf_counter() - started) / seeds)
        _check(found[together], found[alone], int(data.test_mask.sum()))
    ours, peers = ([1 / taken for taken in times[way]] for way in (together, alone))
    (ours_median, ours_iqr), (peer_median, peer_iqr) = median_iqr(ours), median_iqr(peers)
    return {
        "benchmark": "together",
        "parameters": {"dataset": dataset, "backbone": backbone, "hidden": hidden, "seeds": seeds, "epochs": epochs},
        "unit": "seeds/s",
        "ours": ours_median,
        "ours_iqr": ours_iqr,
        "peer_name": "one after the other",
        "peer": peer_median,
        "peer_iqr": peer_iqr,
        "ratio": round(ours_median / peer_median, 3),
        "repetitions": rounds,
        "peer_repetitions": rounds,
        "cuda_graph": found[together][0].captured,
    }


def _check(together: list[Any], alone: list[Any], nodes: int) -> None:
    for seed, (one, other) in enumerate(zip(together, alone, strict=True)):
        if not isinstance(one, FitResult) or one.together != len(together):
            raise GltError(f"seed {seed} was not trained with the others: {getattr(one, 'together', one)}")
        if abs(one.test - other.test) * nodes > NODES:
            raise GltError(f"seed {seed} scores {one.test:.4f} with the others and {other.test:.4f} alone")
