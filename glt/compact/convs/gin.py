"""GINConv: nn((A + (1 + eps) I) x)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn import GINConv

from glt.compact.convs.base import propagate, usual
from glt.compact.graphs import Operator
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(GINConv)
def gin(record: Record, conv: Any, x: Tensor, edge_index: Tensor) -> int | None:
    """The network inside is written down by running it, like the model itself."""
    value = record.value(x)
    if value is None or not usual(conv, "add") or not record.is_graph(edge_index):
        return None
    value = propagate(record, value, Operator("sum", 1.0 + float(conv.eps)))
    with record.pause():
        summed = conv.propagate(edge_index, x=(x, x), size=None) + (1 + conv.eps) * x
    record.bind(summed, value)
    out = conv.nn(summed)
    return record.value(out)
