"""GCNConv: A (x W) + b."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn import GCNConv

from glt.compact.convs.base import linear, propagate, shift, usual
from glt.compact.graphs import Operator
from glt.compact.record import Record, lowers


@lowers(GCNConv)
def gcn(record: Record, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> int | None:
    """The normalisation is in the operator's values."""
    value = record.value(x)
    if value is None or not usual(conv, "add") or not record.is_graph(edge_index, edge_weight):
        return None
    if conv.normalize:
        loops = (2.0 if conv.improved else 1.0) if conv.add_self_loops else None
        operator = Operator("gcn", loops, edge_weight is not None)
    else:
        operator = Operator("sum", None, edge_weight is not None)
    value = propagate(record, linear(record, value, conv.lin), operator)
    return shift(record, value, conv.bias)
