"""Weights for the edges that stay, where the sampling that chose them defines some; strategies have them too."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError


def check_reweights(scorer: Any) -> None:
    """Raise GltError unless ``scorer`` defines weights."""
    if not hasattr(scorer, "weights"):
        name = getattr(scorer, "name", type(scorer).__name__)
        raise GltError(
            f"scorer {name!r} defines no weights for the edges that stay: leave out reweight, or use "
            "{'name': 'dspar', 'variant': 'priority'}"
        )


def reweight(data: Data, scorer: Any, keep: Tensor, undirected: bool = True) -> Data:
    """A shallow copy of ``data`` whose ``edge_weight`` makes up for the arcs that ``keep`` drops.

    Args:
        data: the graph that was scored; an ``edge_weight`` that it has is multiplied.
        scorer: a scorer with ``weights(data, keep)``, such as dspar.
        keep: bool [arcs]: the highest scores of ``scorer``, and of nothing else; see
            :func:`glt.sparsify.keep_arcs`. The arcs are still there: :func:`glt.sparsify.remove_arcs` takes them out.
        undirected: whether (u, v) and (v, u) are one edge.

    Raises:
        GltError: the scorer defines no weights.
    """
    check_reweights(scorer)
    graph, weighted = copy.copy(data), copy.copy(data)
    graph.undirected = undirected
    weights = scorer.weights(graph, keep)
    weighted.edge_weight = weights if data.get("edge_weight") is None else data.edge_weight * weights
    return weighted
