"""What is asked of a model: the logits of the whole graph, or of a few nodes by their neighbourhood."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import k_hop_subgraph

from glt.bench.variants import Case, Graph, called

SAMPLES = 16
"""Different neighbourhoods that passes take in turns."""
EXACT = 1e-4


@dataclass
class Query:
    """A question, on the full graph and on the ticket's.

    Attributes:
        name: in tables and records.
        targets: number of nodes whose logits are wanted.
        graphs: what is run on, several in turns.
        at: position of the targets in each of those graphs; None for all nodes.
        hops: radius of the neighbourhoods; None for the whole graph.
        sizes: nodes of the neighbourhoods, on average.
    """

    name: str
    targets: int
    graphs: dict[Graph, list[Data]]
    at: dict[Graph, list[Tensor]] | None = None
    hops: int | None = None
    sizes: dict[Graph, float] = field(default_factory=dict)


def whole(case: Case) -> Query:
    """All nodes."""
    return Query("full graph", int(case.data.num_nodes or 0), {"full": [case.data], "ticket": [case.sub]})


def some(case: Case, count: int, seed: int = 0, samples: int = SAMPLES) -> Query:
    """``count`` random nodes at a time, drawn by ``seed``, each with all that its logits depend on.

    The radius is the number of convolutions; one more where degrees at the rim matter (GCN's normalisation), which is
    found by comparing with the logits of the whole graph.
    """
    nodes = int(case.data.num_nodes or 0)
    count = min(count, nodes)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(nodes, generator=generator)[:count] for _ in range(samples)]
    depth = max(1, sum(isinstance(module, MessagePassing) for module in case.model.modules()))
    hops = depth if _exact(case, drawn[0], depth) else depth + 1
    found: dict[Graph, list[Data]] = {}
    places: dict[Graph, list[Tensor]] = {}
    sizes: dict[Graph, float] = {}
    graphs: tuple[tuple[Graph, Data], ...] = (("full", case.data), ("ticket", case.sub))
    for name, data in graphs:
        parts = [neighbourhood(data, wanted, hops) for wanted in drawn]
        found[name], places[name] = [part for part, _ in parts], [at for _, at in parts]
        sizes[name] = sum(int(part.num_nodes or 0) for part, _ in parts) / samples
    return Query(f"{count} node" + "s" * (count != 1), count, found, places, hops, sizes)


def neighbourhood(data: Data, wanted: Tensor, hops: int) -> tuple[Data, Tensor]:
    """(the graph of all nodes from which ``wanted`` can be reached in so many arcs, position of ``wanted`` in it)."""
    nodes = int(data.num_nodes or 0)
    wanted = wanted.to(data.edge_index.device)
    kept, arcs, at, mask = k_hop_subgraph(wanted, hops, data.edge_index, relabel_nodes=True, num_nodes=nodes)
    part = copy.copy(data)
    x = data.x if data.x.layout == torch.strided else data.x.to_sparse_coo()
    part.x, part.edge_index, part.num_nodes = x.index_select(0, kept), arcs, kept.numel()
    for name in ("edge_weight", "edge_attr"):
        if data.get(name) is not None:
            part[name] = data[name][mask]
    return part, at


@torch.no_grad()
def _exact(case: Case, wanted: Tensor, hops: int) -> bool:
    model = case.dense()
    part, at = neighbourhood(case.data, wanted, hops)
    logits = called(model, case.data, False).call()[wanted.to(at.device)]
    return float((called(model, part, False).call()[at] - logits).abs().max()) <= EXACT * float(logits.abs().max())
