"""The peer of the epoch benchmark: the loop that one writes with PyG's layers and torch alone.

Nothing here imports glt. The layers, widths, initial weights, loss, optimiser, projection and evaluation are
those of glt's own training; what differs is how they are computed:

- features are a dense matrix, and GIN and SAGE aggregate them before their linear map, as PyG's layers do;
- GCN normalises the graph in every forward (``GCNConv`` has ``cached=False`` by default), GAT adds its
  self-loops;
- ``F.dropout``, ``torch.optim.Adam`` with its defaults, ``F.kl_div`` against the teacher's probabilities;
- the l0 projection takes ``torch.topk`` of the concatenated absolute weights (unsorted, the faster way) and
  sets all others to zero;
- evaluation is one more forward in eval mode; validation and test accuracy are noted, and no state is kept,
  while glt also copies the weights of the best validation epoch: that difference favours the peer.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv


class StockGNN(nn.Module):
    """PyG convolutions with ReLU and dropout between them."""

    def __init__(self, convs: list[nn.Module], dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.dropout = dropout

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits [nodes, classes]."""
        for conv in self.convs[:-1]:
            x = F.relu(conv(x, edge_index))
            x = F.dropout(x, self.dropout, self.training)
        return self.convs[-1](x, edge_index)


def build(
    name: str,
    in_channels: int,
    out_channels: int,
    hidden: int = 512,
    layers: int = 2,
    dropout: float = 0.5,
    heads: int = 8,
    mlp_layers: int = 2,
) -> StockGNN:
    """A stack of ``name``: gcn, gin, gat or sage; parameters are named as in glt's backbone of that name."""
    sizes = [in_channels, *[hidden] * (layers - 1), out_channels]
    pairs = list(pairwise(sizes))
    convs: list[nn.Module]
    if name == "gcn":
        convs = [GCNConv(i, o) for i, o in pairs]
    elif name == "sage":
        convs = [SAGEConv(i, o) for i, o in pairs]
    elif name == "gin":
        convs = [GINConv(_mlp(i, o, mlp_layers)) for i, o in pairs]
    elif name == "gat":
        convs = [GATConv(i, o // heads, heads) for i, o in pairs[:-1]] + [GATConv(*pairs[-1])]
    else:
        raise ValueError(f"no stock model {name!r}")
    return StockGNN(convs, dropout)


def _mlp(in_channels: int, out_channels: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Linear(in_channels, out_channels)]
    for _ in range(layers - 1):
        parts += [nn.ReLU(), nn.Linear(out_channels, out_channels)]
    return nn.Sequential(*parts)


def train(
    model: StockGNN,
    data: Data,
    teacher: Tensor,
    epochs: int,
    keep: int,
    distillation: float = 10.0,
    lr: float = 0.01,
    weight_decay: float = 5e-4,
    on_loss: Callable[[float], None] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> float:
    """Train ``model`` in place; the test accuracy at the best validation epoch.

    Args:
        model: a stack of :func:`build`.
        data: dense x, edge_index, y and the three masks.
        teacher: logits [nodes, classes].
        epochs: how many.
        keep: how many weights stay non-zero.
        distillation: weight of the divergence from the teacher, over all nodes.
        lr: learning rate of Adam.
        weight_decay: its l2 penalty.
        on_loss: called with every epoch's training loss.
        on_epoch: called with (epoch, validation accuracy) after every epoch.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    weights = matrices(model)
    target = F.softmax(teacher, dim=-1)
    best_val = best_test = 0.0
    for epoch in range(1, epochs + 1):
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        divergence = F.kl_div(F.log_softmax(out, dim=-1), target, reduction="batchmean")
        loss = loss + distillation * divergence
        loss.backward()
        optimizer.step()
        project(weights, keep)
        if on_loss:
            on_loss(loss.item())
        val, test = evaluate(model, data)
        if val >= best_val:
            best_val, best_test = val, test
        if on_epoch:
            on_epoch(epoch, val)
    return best_test


def matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weight matrices: everything but biases and GAT's attention vectors."""
    return [p for p in model.parameters() if p.dim() == 2]


@torch.no_grad()
def project(weights: list[nn.Parameter], keep: int) -> None:
    """Zero all but the ``keep`` largest absolute values over all of ``weights``."""
    magnitude = torch.cat([w.abs().flatten() for w in weights])
    mask = torch.zeros_like(magnitude)
    mask[torch.topk(magnitude, keep, sorted=False).indices] = 1.0
    for weight, part in zip(weights, mask.split([w.numel() for w in weights]), strict=True):
        weight.mul_(part.view_as(weight))


@torch.no_grad()
def evaluate(model: StockGNN, data: Data) -> tuple[float, float]:
    """(validation, test) accuracy."""
    model.eval()
    right = model(data.x, data.edge_index).argmax(dim=-1) == data.y
    return float(right[data.val_mask].float().mean()), float(right[data.test_mask].float().mean())
