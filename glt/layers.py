"""Which of PyG's layers can be soft-masked, by what rule: found by trying, so that the table is what the code does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.maskable import check_soft_masks
from glt.messages import rule_of

Make = Callable[[int, int], nn.Module]
"""A layer from its input and output widths."""

DEGREES = torch.tensor([0, 0, 3, 2, 1, 2])

LAYERS: dict[str, Make] = {
    "GCNConv": pyg.GCNConv,
    "SAGEConv": pyg.SAGEConv,
    "SAGEConv, aggr='sum'": partial(pyg.SAGEConv, aggr="sum"),
    "SAGEConv, aggr='max'": partial(pyg.SAGEConv, aggr="max"),
    "GINConv": lambda i, o: pyg.GINConv(nn.Linear(i, o)),
    "GATConv": pyg.GATConv,
    "GATConv, heads=2": lambda i, o: pyg.GATConv(i, o // 2, heads=2),
    "GATConv, dropout=0.5": partial(pyg.GATConv, dropout=0.5),
    "GATv2Conv": pyg.GATv2Conv,
    "TransformerConv": pyg.TransformerConv,
    "TransformerConv, heads=2": lambda i, o: pyg.TransformerConv(i, o // 2, heads=2),
    "GraphConv": pyg.GraphConv,
    "GraphConv, aggr='mean'": partial(pyg.GraphConv, aggr="mean"),
    "GraphConv, aggr='max'": partial(pyg.GraphConv, aggr="max"),
    "GCN2Conv": lambda i, o: pyg.GCN2Conv(i, 0.1),
    "ChebConv": partial(pyg.ChebConv, K=3),
    "TAGConv": pyg.TAGConv,
    "SGConv": partial(pyg.SGConv, K=2),
    "ARMAConv": partial(pyg.ARMAConv, num_stacks=2, num_layers=2),
    "LEConv": pyg.LEConv,
    "ResGatedGraphConv": pyg.ResGatedGraphConv,
    "PNAConv": partial(pyg.PNAConv, aggregators=["mean", "max"], scalers=["identity", "amplification"], deg=DEGREES),
    "ClusterGCNConv": pyg.ClusterGCNConv,
    "GENConv": pyg.GENConv,
    "FAConv": lambda i, o: pyg.FAConv(i),
    "EdgeConv": lambda i, o: pyg.EdgeConv(nn.Linear(2 * i, o)),
}
"""Layers that the table tells of, and that the tests hold to it; others go by the same rules."""


@dataclass(frozen=True)
class SoftMask:
    """Whether a layer can be soft-masked (``works``), and how, or why not (``about``)."""

    works: bool
    about: str


def soft_masks() -> dict[str, SoftMask]:
    """What becomes of each of :data:`LAYERS` under a soft mask: its rule, held to removal on a small graph."""
    return {name: soft_mask(make) for name, make in LAYERS.items()}


def soft_mask(make: Make) -> SoftMask:
    """What becomes of one layer under a soft mask."""
    x, edge_index = _graph()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = One(make(x.size(1), x.size(1)))
    data = Data(x=x, edge_index=edge_index)
    try:
        rule = rule_of("layer", model.layer)
        check_soft_masks(model, data, PrunableEdges.of(edge_index, x.size(0)))
    except GltError as error:
        return SoftMask(False, str(error).partition(": ")[2])
    return SoftMask(True, rule.about)


class One(nn.Module):
    """A model of one layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self._initial = "x_0" in inspect.signature(layer.forward).parameters

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """The layer's output, float [nodes, width]."""
        out: Tensor = self.layer(x, x, edge_index) if self._initial else self.layer(x, edge_index)
        return out


def _graph() -> tuple[Tensor, Tensor]:
    """Eight nodes of degrees 2 to 5, their features distinct: (x [8, 4], edge_index [2, 26])."""
    pairs = [(i, (i + 1) % 8) for i in range(8)] + [(0, 2), (0, 3), (0, 4), (1, 5), (2, 6)]
    edge_index = torch.tensor([*pairs, *((v, u) for u, v in pairs)]).t().contiguous()
    return torch.linspace(-1, 1, 32).sin().view(8, 4) + torch.eye(8, 4), edge_index
