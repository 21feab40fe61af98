"""GCNConv: A (x W) + b."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn import GCNConv

from glt.compact.convs.base import linear, normalised, propagate, shift, usual
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(GCNConv)
def gcn(record: Record, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> int | None:
    """The normalisation is in the operator's values."""
    value = record.value(x)
    if value is None or not usual(conv, "add") or not record.is_graph(edge_index, edge_weight):
        return None
    value = propagate(record, linear(record, value, conv.lin), normalised(conv, edge_weight is not None))
    return shift(record, value, conv.bias)
