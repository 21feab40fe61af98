"""GCN2Conv: ((1 - beta) I + beta W)^T ((1 - alpha) A x + alpha x_0)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import GCN2Conv

from glt.compact.convs.base import normalised, propagate, usual
from glt.compact.ops import Add, Linear
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(GCN2Conv)
def gcn2(
    record: Record, conv: Any, x: Tensor, x_0: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None
) -> int | None:
    """Shares go into the values of the operator and the factors of the sum, the identity into the weights."""
    value, first = record.value(x), record.value(x_0)
    if value is None or first is None or not usual(conv, "add") or not record.is_graph(edge_index, edge_weight):
        return None
    summed = propagate(record, value, normalised(conv, edge_weight is not None, scale=1.0 - conv.alpha))
    if conv.weight2 is None:
        both = record.emit(Add([summed, first], conv.channels, factors=[1.0, conv.alpha]))
        return _mapped(record, conv, both, conv.weight1)
    mapped = _mapped(record, conv, summed, conv.weight1), _mapped(record, conv, first, conv.weight2)
    return record.emit(Add(mapped, conv.channels, factors=[1.0, conv.alpha]))


def _mapped(record: Record, conv: Any, value: int, weight: Tensor) -> int:
    one = torch.eye(conv.channels, dtype=weight.dtype, device=weight.device)
    whole = (1 - conv.beta) * one + conv.beta * weight.detach().t()
    return record.emit(Linear([value], conv.channels, record.name_of(weight), {"weight": whole, "bias": None}))
