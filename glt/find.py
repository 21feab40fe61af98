"""find: the whole search on a user's own model and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

from torch import nn
from torch_geometric.data import Data

from glt.errors import GltError
from glt.problem import OnEpoch, Problem
from glt.registry import build, spec_of
from glt.schedules.level import Level
from glt.schedules.oneshot import OneShot
from glt.ticket import Ticket
from glt.train import Recipe


def find(
    model: nn.Module | Callable[[int, int], nn.Module] | str,
    data: Data,
    graph_sparsity: float = 0.4,
    weight_sparsity: float = 0.6,
    *,
    strategy: Any = "teddy",
    rounds: int | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    metric: str | None = None,
    undirected: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> Ticket:
    """Find one ticket of ``model`` on ``data``.

    Args:
        model: any module that calls as ``model(x, edge_index)``; its present weights are the initial weights
            and it is not modified. Or a built-in backbone by name.
        data: a graph with float x, edge_index, y (:mod:`glt.tasks`) and bool train_mask, val_mask, test_mask.
        graph_sparsity: fraction of edges removed, in [0, 1).
        weight_sparsity: fraction of weights removed, in [0, 1).
        strategy: a registered strategy, its spec (``{"name": "teddy", "weight": 0}``), or an object with its
            ``tickets`` method.
        rounds: in how many an iterative strategy (imp, ugs, wd_glt) gets to the sparsities, each taking the same
            fraction of what is left (default: as many as 5 % of edges or 20 % of weights a round need, whichever is
            more: :func:`glt.schedules.oneshot.rounds_to`). The ticket's level is their number.
        recipe: epochs and optimiser (default: 200 epochs of Adam, lr 0.01, weight decay 5e-4).
        seed: of everything random.
        metric: ``"accuracy"``, ``"roc_auc"`` or ``"micro_f1"`` (default: :func:`glt.tasks.default_metric`).
        undirected: whether (u, v) and (v, u) are one edge (default: ``data.undirected`` or True).
        on_epoch: called with (phase, epoch, validation metric).

    Cost: a training of the dense model where the strategy needs one, and of the ticket; of an iterative strategy one
    (imp) or, but for the last ticket, one of masks (ugs, wd_glt) in every round.

    Returns:
        the ticket, with trained weights and metrics; ``ticket.metrics["dense_test"]`` is the dense model's.

    Raises:
        GltError: bad data, an impossible sparsity, rounds for a strategy that has none, a model that cannot be called,
            or a failed training.
    """
    strategy = strategy if hasattr(strategy, "tickets") else build("strategies", strategy)
    backbone = build("backbones", model) if isinstance(model, str) else model
    if not (isinstance(model, nn.Module) or callable(backbone)):
        raise GltError(f"model must be a torch module or the name of a backbone, got {model!r}")
    Level(1, graph_sparsity, weight_sparsity)  # says so if they are none
    schedule = OneShot(graph=graph_sparsity, weight=weight_sparsity, rounds=rounds)
    (level,) = schedule.levels(strategy)
    recipe = recipe or Recipe()
    pieces = {"strategy": strategy, "schedule": schedule, "train": recipe}
    config = {part: spec_of(piece) for part, piece in pieces.items() if is_dataclass(piece)}
    problem = Problem(data, backbone, recipe, seed, metric, undirected, config, on_epoch)
    if hasattr(strategy, "check"):
        strategy.check(problem, [level])
    else:
        problem.check([level])
    ticket: Ticket = next(iter(strategy.tickets(problem, [level])), None) or problem.dense_ticket()
    ticket.metrics |= {"dense_val": problem.dense.val, "dense_test": problem.dense.test}
    return ticket
