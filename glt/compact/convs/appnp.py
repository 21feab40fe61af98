"""APPNP: K times (1 - alpha) A h + alpha x."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn import APPNP

from glt.compact.convs.base import normalised, propagate, usual
from glt.compact.ops import Add
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(APPNP)
def appnp(record: Record, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> int | None:
    """Shares go into the values of the operator and the factors of the sum."""
    first = value = record.value(x)
    if first is None or value is None or not usual(conv, "add") or not record.is_graph(edge_index, edge_weight):
        return None
    operator, width = normalised(conv, edge_weight is not None, scale=1.0 - conv.alpha), record.steps[first].width
    for _ in range(conv.K):
        value = record.emit(Add([propagate(record, value, operator), first], width, factors=[1.0, conv.alpha]))
    return value
