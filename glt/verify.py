"""Is a ticket what it says? Everything is recomputed; nothing it says of itself is believed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.builtin import named
from glt.check import num_classes
from glt.config import SECTIONS, Config
from glt.datasets.ogb_evaluator import judged
from glt.errors import GltError
from glt.evaluate import metric_named
from glt.forward import Forward
from glt.inductive import judged_on
from glt.kernels.choice import AUTO, use
from glt.problem import Problem
from glt.registry import build, names
from glt.schedules.level import Level
from glt.schedules.oneshot import OneShot
from glt.ticket import Ticket

BY_HAND = "verify it in Python with ticket.verify(data, model)"
TOLERANCE = {"graph_sparsity": 1e-9, "weight_sparsity": 1e-9}


@dataclass(frozen=True)
class Check:
    """One recomputed number beside the one that the ticket carries."""

    name: str
    stored: float
    recomputed: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether they agree."""
        return abs(self.stored - self.recomputed) <= self.tolerance


@dataclass(frozen=True)
class Verification:
    """The checks of one ticket."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return all(check.ok for check in self.checks)


def verify(
    ticket: Ticket, data: Data | None = None, model: nn.Module | None = None, root: Path | None = None
) -> Verification:
    """Recompute a ticket's sparsities and, where it holds trained weights, its metrics.

    The arcs are really removed and the pruned weights really zero when the metric is computed, by OGB's own evaluator
    on OGB's graphs. Where test nodes come later (:mod:`glt.inductive`), the validation metric is that of the graph
    without them, and the test metric that of the whole graph, sparsified again.

    Args:
        ticket: the ticket.
        data: its graph; built from the ticket's config by default.
        model: a module of its architecture; built from the config by default.
        root: where dataset files are (default as in :mod:`glt.datasets`).

    Raises:
        GltError: the data is another graph, the model does not fit, or the config names neither.
    """
    data = data if data is not None else build("datasets", named(ticket, "dataset", BY_HAND))(root)
    graphs = dict(zip(("val", "test"), judged_on(ticket, data), strict=True))
    checks = [
        Check(name, _stored(ticket, name), value, TOLERANCE[name])
        for name, value in (
            ("graph_sparsity", ticket.graph_sparsity),
            ("weight_sparsity", ticket.weight_sparsity),
        )
    ]
    if ticket.trained is not None:
        if model is None:
            with torch.random.fork_rng([]):
                model = build("backbones", named(ticket, "backbone", BY_HAND))(data.x.size(1), num_classes(data))
        model = ticket.restore(copy.deepcopy(model))  # a user's module stays as it is
        chunk = int((ticket.config.get("train") or {}).get("eval_chunk", 0))
        metric = str(ticket.metrics.get("metric", "accuracy"))
        score = judged(data, metric) or metric_named(metric)
        made = {id(graph): Forward(model, graph, chunk=chunk).evaluate() for graph in graphs.values()}
        for name, graph in graphs.items():
            logits, mask = made[id(graph)], graph[f"{name}_mask"]
            checks.append(
                Check(name, _stored(ticket, name), score(logits[mask], graph.y[mask]), tolerance(int(mask.sum())))
            )
    return Verification(tuple(checks))


def search_again(ticket: Ticket, root: Path | None = None) -> Verification:
    """Repeat the whole search from the ticket's config and compare bit by bit.

    Checks count what differs: pruned edges, pruned weights, initial and trained weights; all should be 0. The search
    runs with as many threads and by the same kernels as the ticket's; bits also depend on processor and library
    versions.

    Raises:
        GltError: the config does not name a built-in dataset and backbone.
    """
    if threads := ticket.versions.get("threads"):
        torch.set_num_threads(int(threads))  # sums are split by thread
    kernel = ticket.versions.get("kernel")  # one name: asked for, or all that the default needed
    with use(kernel if kernel in names("kernels") else AUTO):
        return _search_again(ticket, root)


def _search_again(ticket: Ticket, root: Path | None) -> Verification:
    sections = {part: named(ticket, part, BY_HAND) for part in (*SECTIONS, "train")}
    config = Config(**sections, seeds=(int(ticket.config.get("seed", 0)),))
    problem = Problem(config.dataset(root), config.backbone, config.train, config.seeds[0], config=config.spec())
    number = ticket.config.get("level", 0)
    if number == 0:
        again = problem.dense_ticket()
    else:
        levels = [level for level in config.levels if level.number <= number]
        if isinstance(config.schedule, OneShot) and config.strategy.iterative:  # the number is that of its rounds
            levels = [Level(number, config.schedule.graph, config.schedule.weight)]
        if not levels or levels[-1].number != number:
            raise GltError(f"the ticket's level {number} is not in its schedule: {ticket.config['schedule']}")
        path = levels if config.strategy.iterative else levels[-1:]
        *_, again = config.strategy.tickets(problem, path)
    differing = {
        "edges that differ": int((ticket.edge_keep != again.edge_keep).sum()),
        "masked weights that differ": _differing(ticket.weight_masks, again.weight_masks),
        "initial weights that differ": _differing(ticket.initial, again.initial),
    }
    if ticket.edge_weights is not None or again.edge_weights is not None:
        one, two = (t.edge_keep.float() if t.edge_weights is None else t.edge_weights for t in (ticket, again))
        differing["edge weights that differ"] = int((one != two).sum())
    if ticket.trained is not None and again.trained is not None:
        kept = {k: v * again.weight_masks[k] if k in again.weight_masks else v for k, v in again.trained.items()}
        differing["trained weights that differ"] = _differing(ticket.trained, kept)
    return Verification(tuple(Check(name, 0, count, 0) for name, count in differing.items()))


def _differing(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> int:
    return sum(int((value != b[name]).sum()) for name, value in a.items())


def tolerance(nodes: int) -> float:
    """Another processor rounds otherwise, which may move a node or two across a boundary; half a point at most."""
    return min(0.005, max(2.5 / nodes, 1e-4))


def _stored(ticket: Ticket, name: str) -> float:
    value = ticket.metrics.get(name)
    return float(value) if isinstance(value, (int, float)) else float("nan")
