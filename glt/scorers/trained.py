"""What scorers that look at a model share."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.errors import GltError


def required(model: nn.Module | None, scorer: str) -> nn.Module:
    """``model``, or a GltError that says how to come by one."""
    if model is None:
        raise GltError(
            f"scorer {scorer!r} needs a trained model, and there is none here: train one (or take one of a ticket: "
            f"Ticket.load(file).restore(model)) and score with build('scorers', {scorer!r})(data, model)"
        )
    return model


def by_source(data: Data) -> tuple[Data, Tensor]:
    """A shallow copy with sorted arcs, and their order, int64 [arcs]: sums over arcs then always have the same bits."""
    order = torch.argsort(data.edge_index[0] * int(data.num_nodes) + data.edge_index[1], stable=True)
    data = copy.copy(data)
    data.edge_index = data.edge_index[:, order]
    for key in ("edge_weight", "edge_attr"):
        if data.get(key) is not None:
            data[key] = data[key][order]
    return data, order
