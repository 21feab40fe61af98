"""Score once, select exactly: the graph half of a ticket, without a model or training."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.arrays import count, pick, where
from glt.edges import PrunableEdges, check_edge_index
from glt.errors import GltError
from glt.neighbours import is_coalesced_undirected
from glt.pieces import pieces
from glt.scorers.base import EdgeScorer
from glt.select import keep_count, keep_top, kth_largest
from glt.selection import Selection


def keep_arcs(
    data: Data,
    scorer: EdgeScorer,
    sparsity: float | None,
    undirected: bool = True,
    selection: Selection | None = None,
) -> Tensor:
    """Which arcs stay when ``sparsity`` of the edges go, lowest scores first.

    Args:
        data: a graph; ``edge_index`` int64 [2, arcs].
        scorer: one number per arc.
        sparsity: fraction of edges removed, in [0, 1); exact to the edge. None where the selection says how many stay.
        undirected: whether (u, v) and (v, u) are one edge.
        selection: another way to choose than the highest scores of the whole graph.

    Returns:
        bool [arcs]; both arcs of a pair agree, self-loops are True.

    Raises:
        GltError: a bad index, a directed graph declared undirected, no edges, or none left.

    Cost: O(arcs) time for sorted graphs and symmetric scores (every graph out of PyG's ``coalesce``); else the
    arcs are matched into pairs by sorting.
    """
    edge_index, nodes = data.edge_index, int(data.num_nodes or 0)
    check_edge_index(edge_index, nodes)
    data = copy.copy(data)
    data.num_nodes, data.undirected = nodes, undirected
    selection = selection or Selection()
    selection.check(sparsity)
    if sparsity is None or not selection.plain:
        edges = PrunableEdges.of(edge_index, nodes, undirected)
        return edges.to_arcs(selection.keep(edges, selection.score(edges, scorer, data), sparsity))
    scores = scorer(data).detach()
    if scores.shape != edge_index.shape[1:]:
        raise GltError(f"a scorer gives one number per arc: expected [{edge_index.size(1)}], got {list(scores.shape)}")
    if scores.is_floating_point() and scores.numel() and bool(scores.max().isnan()):
        raise GltError("scores hold NaN: check the features and the model that they were computed from")
    symmetric = undirected and getattr(scorer, "symmetric", False)
    if symmetric and is_coalesced_undirected(edge_index, nodes):
        return _keep_symmetric(edge_index, scores, sparsity)
    edges = PrunableEdges.of(edge_index, nodes, undirected)
    return edges.to_arcs(keep_top(edges.pool(scores), edges.count(sparsity)))


def remove_arcs(data: Data, keep: Tensor) -> Data:
    """A shallow copy of ``data`` without the arcs where ``keep`` (bool [arcs]) is False.

    Every per-arc attribute (``edge_attr``, ``edge_weight``, ...) loses the same rows; nodes all stay.
    """
    smaller = copy.copy(data)
    smaller.num_nodes = data.num_nodes  # without x, PyG would guess it from the arcs that are left
    for key in data.keys():  # noqa: SIM118 - not a mapping
        value = data[key]
        if data.is_edge_attr(key) and isinstance(value, Tensor):
            smaller[key] = pick(value, keep, int(data.__cat_dim__(key, value)) % value.dim())
        elif data.is_edge_attr(key) and isinstance(value, np.ndarray):
            smaller[key] = value[keep.cpu().numpy()]
        elif data.is_edge_attr(key):
            smaller[key] = [value[i] for i in where(keep).tolist()]
    return smaller


def weigh_arcs(data: Data, edges: PrunableEdges, weights: Tensor | None) -> Data:
    """A shallow copy of ``data`` whose ``edge_weight`` is multiplied with ``weights`` (float [edges]); None: ``data``.

    Both arcs of an edge get its weight, self-loops 1; without an ``edge_weight`` it is 1 everywhere.
    """
    if weights is None:
        return data
    dtype = torch.get_default_dtype() if data.x is None else data.x.dtype
    weights = weights.to(data.edge_index.device, dtype)
    own = torch.cat([weights, weights.new_ones(1)])[edges.edge_of_arc]
    weighted = copy.copy(data)
    weighted.edge_weight = own if data.get("edge_weight") is None else data.edge_weight * own
    return weighted


def _keep_symmetric(edge_index: Tensor, scores: Tensor, sparsity: float) -> Tensor:
    """Exact selection without pair ids: (u < v) stands for its edge, ties go by (u, v) as edge ids would."""
    source, target = edge_index
    candidates = _upper(edge_index, scores)
    keep = keep_count(candidates.numel(), sparsity, "edges")
    if keep == candidates.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = kth_largest(candidates, keep)
    mask = scores > threshold
    missing = keep - count(candidates > threshold)
    tied = where(scores == threshold)
    forward = tied[source[tied] < target[tied]][:missing]
    backward = tied[source[tied] > target[tied]]
    order = np.lexsort((source[backward].numpy(), target[backward].numpy()))
    mask[forward] = True
    mask[backward[torch.from_numpy(order[:missing])]] = True
    loops = scores.numel() > 2 * candidates.numel()
    return mask.logical_or_(source == target) if loops else mask


def _upper(edge_index: Tensor, scores: Tensor) -> Tensor:
    """The scores of the arcs (u, v) with u < v, in order."""
    (source, target), values = edge_index.numpy(), scores.numpy()
    parts = [np.compress(source[piece] < target[piece], values[piece]) for piece in pieces(values.size)]
    return torch.from_numpy(np.concatenate([values[:0], *parts]))
