"""The peer of the search benchmark: UGS as one writes it with PyG's layers and torch alone; nothing imports glt.

The loop, the masks, losses, counts and selection of the epoch are those of glt's own ``ugs`` strategy (which see); what
differs is how they are computed: dense features, ``GCNConv`` normalising the masked graph in every forward,
``torch.func.functional_call`` on masked weights, ``F.dropout``, Adam's defaults, ``torch.topk``, pruned edges taken
out of ``edge_index`` between rounds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from stock import StockGNN, evaluate, matrices
from torch import Tensor, nn
from torch.func import functional_call
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

Noise = Callable[[int], tuple[Tensor, list[Tensor]]]
"""Round -> initial masks of the edges left and of every weight matrix."""


class MaskedGCN(StockGNN):
    """The stack with edge weights."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """Logits [nodes, classes]."""
        for conv in self.convs[:-1]:
            x = F.relu(conv(x, edge_index, edge_weight))
            x = F.dropout(x, self.dropout, self.training)
        return self.convs[-1](x, edge_index, edge_weight)


def build(in_channels: int, out_channels: int, hidden: int = 512, dropout: float = 0.5) -> MaskedGCN:
    """Two layers."""
    return MaskedGCN([GCNConv(in_channels, hidden), GCNConv(hidden, out_channels)], dropout)


def search(
    model: MaskedGCN,
    data: Data,
    edge_of_arc: Tensor,
    levels: Sequence[tuple[int, int]],
    epochs: int,
    noise: Noise,
    l1: float = 1e-2,
    lr: float = 0.01,
    weight_decay: float = 5e-4,
    on_round: Callable[[Tensor, list[Tensor], float], None] | None = None,
) -> None:
    """Run the rounds.

    Args:
        model: with its initial weights.
        data: dense x, edge_index without self-loops, y and the three masks.
        edge_of_arc: the undirected edge of every arc.
        levels: (edges, weights) that are left after each round.
        epochs: of mask training and of retraining.
        noise: initial masks of a round.
        l1: on both masks.
        lr: learning rate of Adam.
        weight_decay: its l2 penalty on the weights.
        on_round: called with (edge mask, weight masks, test accuracy) after every round.
    """
    initial = copy.deepcopy(model.state_dict())
    edges = torch.ones(int(edge_of_arc.max()) + 1, dtype=torch.bool)
    weights = [torch.ones_like(w, dtype=torch.bool) for w in matrices(model)]
    for number, (keep_edges, keep_weights) in enumerate(levels):
        model.load_state_dict(initial)
        edge_mask, weight_masks = _train_masks(
            model, data, edge_of_arc, edges, weights, epochs, noise(number), l1, lr, weight_decay
        )
        alive = edges.nonzero().squeeze(1)
        edges = torch.zeros_like(edges)
        edges[alive[torch.topk(edge_mask, keep_edges).indices]] = True
        flat = torch.cat([(m.abs() + 1).mul(w).flatten() for m, w in zip(weight_masks, weights, strict=True)])
        kept = torch.zeros_like(flat, dtype=torch.bool)
        kept[torch.topk(flat, keep_weights).indices] = True
        parts = kept.split([w.numel() for w in weights])
        weights = [part.view_as(w) for part, w in zip(parts, weights, strict=True)]
        model.load_state_dict(initial)
        test = _retrain(model, data, edge_of_arc, edges, weights, epochs, lr, weight_decay)
        if on_round:
            on_round(edges, weights, test)


def _train_masks(
    model: MaskedGCN,
    data: Data,
    edge_of_arc: Tensor,
    edges: Tensor,
    weights: list[Tensor],
    epochs: int,
    start: tuple[Tensor, list[Tensor]],
    l1: float,
    lr: float,
    weight_decay: float,
) -> tuple[Tensor, list[Tensor]]:
    """The masks at the best validation epoch."""
    arcs = edges[edge_of_arc]
    edge_index = data.edge_index[:, arcs]
    place = (torch.cumsum(edges, 0) - 1)[edge_of_arc[arcs]]
    edge_mask = nn.Parameter(start[0].clone())
    masks = [nn.Parameter(m.clone()) for m in start[1]]
    names = [name for name, p in model.named_parameters() if p.dim() == 2]
    optimizer = torch.optim.Adam(
        [{"params": list(model.parameters())}, {"params": [edge_mask, *masks], "weight_decay": 0.0}],
        lr=lr,
        weight_decay=weight_decay,
    )
    matrix = dict(model.named_parameters())

    def forward() -> Tensor:
        masked = {name: matrix[name] * m * kept for name, m, kept in zip(names, masks, weights, strict=True)}
        return functional_call(model, masked, (data.x, edge_index, edge_mask[place]))

    best, best_val = (edge_mask.detach().clone(), [m.detach().clone() for m in masks]), -1.0
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(forward()[data.train_mask], data.y[data.train_mask])
        loss.backward()
        for mask in (edge_mask, *masks):
            mask.grad += l1 * mask.detach().sign()
        optimizer.step()
        with torch.no_grad():
            edge_mask.clamp_(min=0)
            model.eval()
            right = forward().argmax(dim=-1) == data.y
        val = float(right[data.val_mask].float().mean())
        if val >= best_val:
            best, best_val = (edge_mask.detach().clone(), [m.detach().clone() for m in masks]), val
    return best


def _retrain(
    model: MaskedGCN,
    data: Data,
    edge_of_arc: Tensor,
    edges: Tensor,
    weights: list[Tensor],
    epochs: int,
    lr: float,
    weight_decay: float,
) -> float:
    """Test accuracy at the best validation epoch of the pruned graph and network, trained from the initial weights."""
    graph = copy.copy(data)
    graph.edge_index = data.edge_index[:, edges[edge_of_arc]]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    best_val = best_test = 0.0
    for epoch in range(epochs + 1):
        if epoch:
            model.train()
            optimizer.zero_grad()
            out = model(graph.x, graph.edge_index)
            F.cross_entropy(out[graph.train_mask], graph.y[graph.train_mask]).backward()
            optimizer.step()
        with torch.no_grad():
            for weight, mask in zip(matrices(model), weights, strict=True):
                weight.mul_(mask)
        if epoch:
            val, test = evaluate(model, graph)
            if val >= best_val:
                best_val, best_test = val, test
    return best_test
