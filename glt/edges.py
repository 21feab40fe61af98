"""Arcs and edges: the only file that knows about pairs, directions and self-loops."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from glt.errors import GltError
from glt.select import keep_count


def check_edge_index(edge_index: Tensor, num_nodes: int) -> None:
    """Raise GltError unless ``edge_index`` is int64 [2, arcs] with node ids in [0, num_nodes)."""
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.dtype != torch.int64:
        raise GltError(
            f"edge_index must be int64 of shape [2, arcs], got {str(edge_index.dtype).removeprefix('torch.')} "
            f"{list(edge_index.shape)}"
        )
    if edge_index.numel():
        low, high = (int(value) for value in edge_index.aminmax())
        if low < 0 or high >= num_nodes:
            bad = low if low < 0 else high
            raise GltError(
                f"edge_index holds node {bad}, but the graph has {num_nodes} nodes (0 to {num_nodes - 1}): "
                "set data.num_nodes, or mend the edge list"
            )


def pair_up(edge_index: Tensor, num_nodes: int, undirected: bool = True) -> tuple[Tensor, Tensor]:
    """The different pairs among the arcs: (int64 [arcs], the pair of each arc, -1 for self-loops; int64 [2, pairs]).

    Pairs are (min, max), sorted; directed: (source, target). O(arcs log arcs). Raises GltError for a bad index.
    """
    check_edge_index(edge_index, num_nodes)
    source, target = edge_index
    loop = source == target
    low, high = (torch.minimum(source, target), torch.maximum(source, target)) if undirected else edge_index
    key = low * num_nodes + high
    ids, pair = torch.unique(key[~loop], return_inverse=True)
    pair_of_arc = torch.full_like(source, -1)
    pair_of_arc[~loop] = pair
    return pair_of_arc, torch.stack([ids // max(num_nodes, 1), ids % max(num_nodes, 1)])


@dataclass(frozen=True)
class PrunableEdges:
    """The prunable units of a graph.

    An edge is an undirected pair of different nodes, however many arcs it has in either direction; in a
    directed graph it is one (source, target). Self-loops belong to no edge. Edge ids follow the order of
    (min, max) (directed: (source, target)), so they do not depend on the order of the arcs.

    Attributes:
        edge_of_arc: int64 [arcs]; the edge of each arc, -1 for self-loops.
        pairs: int64 [2, edges]; the end points of each edge, sorted.
        num_nodes: number of nodes.
        undirected: whether both arcs of a pair are one edge.
    """

    edge_of_arc: Tensor
    pairs: Tensor
    num_nodes: int
    undirected: bool = True

    @classmethod
    def of(cls, edge_index: Tensor, num_nodes: int, undirected: bool = True) -> PrunableEdges:
        """Find the edges of ``edge_index`` (int64 [2, arcs]). O(arcs log arcs).

        Raises:
            GltError: an index out of range, or ``undirected`` and an arc without its reverse.
        """
        edge_of_arc, pairs = pair_up(edge_index, num_nodes, undirected)
        if undirected:
            proper = edge_of_arc >= 0
            _check_both_directions(edge_index[:, proper], edge_of_arc[proper], pairs)
        return cls(edge_of_arc, pairs, num_nodes, undirected)

    @property
    def num_edges(self) -> int:
        """Number of prunable edges."""
        return self.pairs.size(1)

    def count(self, graph_sparsity: float) -> int:
        """How many edges stay at a sparsity; see :func:`glt.select.keep_count`."""
        return keep_count(self.num_edges, graph_sparsity, "edges")

    def pool(self, arc_scores: Tensor) -> Tensor:
        """Scores of edges, [edges]: the mean over each edge's arcs (in double, so equal arcs pool exactly)."""
        if arc_scores.shape != self.edge_of_arc.shape:
            raise GltError(
                f"a scorer gives one number per arc: expected shape [{self.edge_of_arc.numel()}], "
                f"got {list(arc_scores.shape)}"
            )
        arcs = self.edge_of_arc >= 0
        edge = self.edge_of_arc[arcs]
        total = torch.zeros(self.num_edges, dtype=torch.float64, device=arc_scores.device)
        total.index_add_(0, edge, arc_scores[arcs].double())
        return (total / torch.bincount(edge, minlength=self.num_edges)).to(arc_scores.dtype)

    def to_arcs(self, keep: Tensor) -> Tensor:
        """Mask of arcs, bool [arcs], from a mask of edges, bool [edges]; self-loops are always True."""
        if keep.shape != (self.num_edges,) or keep.dtype != torch.bool:
            raise GltError(f"an edge mask is bool [{self.num_edges}], got {keep.dtype} {list(keep.shape)}")
        loops_last = torch.cat([keep, keep.new_ones(1)])  # index -1, the self-loops, finds True
        return loops_last.to(self.edge_of_arc.device)[self.edge_of_arc]

    def fingerprint(self) -> str:
        """sha256 of the graph: number of nodes, direction, edges. The same for any order of the arcs."""
        head = f"{self.num_nodes} {'undirected' if self.undirected else 'directed'} ".encode()
        return hashlib.sha256(head + self.pairs.cpu().contiguous().numpy().astype("<i8").tobytes()).hexdigest()


def _check_both_directions(arcs: Tensor, edge: Tensor, pairs: Tensor) -> None:
    """Every edge needs as many arcs one way as the other."""
    balance = torch.zeros(pairs.size(1), dtype=torch.int64, device=arcs.device)
    balance.index_add_(0, edge, torch.where(arcs[0] < arcs[1], 1, -1))
    if lonely := balance.nonzero().squeeze(1).tolist():
        u, v = pairs[:, lonely[0]].tolist()
        if balance[lonely[0]] < 0:
            u, v = v, u
        raise GltError(
            f"the graph is declared undirected, but arc ({u}, {v}) has no reverse ({len(lonely)} such edges): "
            "make both arcs with torch_geometric.utils.to_undirected, or pass undirected=False"
        )
