"""The built-in dataset, backbone and scorer that a ticket names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

from glt.check import num_classes
from glt.datasets.splits import of_seed
from glt.errors import GltError
from glt.registry import build, spec_of
from glt.sparsify import keep_arcs, remove_arcs
from glt.strategies.base import seeded
from glt.ticket import Ticket


def data_of(ticket: Ticket, root: Path | None = None) -> Data:
    """The ticket's dataset, with the split of its seed. Raises GltError where it was found on a user's own."""
    return of_seed(build("datasets", named(ticket, "dataset"))(root), int(ticket.config.get("seed", 0)))


def model_of(ticket: Ticket, data: Data) -> nn.Module:
    """A model of the ticket's architecture, with any weights. Raises GltError where it is a user's own."""
    with torch.random.fork_rng([]):
        model: nn.Module = build("backbones", named(ticket, "backbone"))(data.x.size(1), num_classes(data))
    return model


@dataclass(frozen=True)
class Sparsifier:
    """A ticket's way to sparsify another graph.

    Attributes:
        scorer: what builds the scorer.
        graph_sparsity: fraction of the edges that goes.
        undirected: whether both arcs of a pair are one edge.
    """

    scorer: Mapping[str, Any]
    graph_sparsity: float
    undirected: bool = True

    def __call__(self, data: Data) -> Data:
        """``data`` without its lowest edges. Raises GltError for a scorer that is not registered here."""
        scorer = build("scorers", self.scorer)
        return remove_arcs(data, keep_arcs(data, scorer, self.graph_sparsity, self.undirected))


def sparsifier(ticket: Ticket) -> Sparsifier:
    """What takes the ticket's share of its edges out of another graph, by the scorer of its strategy and its seed.

    Raises:
        GltError: the ticket does not name a scorer (learned masks belong to one graph), its scorer looks at a trained
            model, its edges were not simply those with the highest scores, or they have weights.
    """
    strategy = build("strategies", named(ticket, "strategy"))
    scorer = getattr(strategy, "scorer", None)
    if scorer is None:
        raise GltError(
            f"strategy {named(ticket, 'strategy')!r} has no scorer: its edge mask belongs to its own graph alone"
        )
    scorer = seeded(build("scorers", scorer), int(ticket.config.get("seed", 0)))
    if getattr(scorer, "needs_model", False):
        raise GltError(f"scorer {scorer.name!r} looks at a trained model: score and sparsify the other graph yourself")
    if getattr(strategy, "selection", None) is not None:
        raise GltError("the ticket's edges were chosen by a selection of its own: sparsify the other graph yourself")
    if ticket.edge_weights is not None:
        raise GltError("the ticket's edges have weights: sparsify and weigh the other graph yourself")
    return Sparsifier(spec_of(scorer), ticket.graph_sparsity, ticket.undirected)


def named(ticket: Ticket, part: str, otherwise: str = "give it in Python") -> Any:
    """The specification of a part of the ticket's config, such as ``"dataset"``.

    Raises:
        GltError: it was found on a user's own; ``otherwise`` says what to do then.
    """
    if part not in ticket.config:
        raise GltError(f"the ticket does not name a built-in {part}: it was found on a user's own; {otherwise}")
    return ticket.config[part]
