"""SAGEConv: W_l (mean of the neighbours) + W_r x + b."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch_geometric.nn import SAGEConv

from glt.compact.convs.base import linear, propagate, usual
from glt.compact.graphs import Operator
from glt.compact.ops import Add
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(SAGEConv)
def sage(record: Record, conv: Any, x: Tensor, edge_index: Tensor) -> int | None:
    """Mean or sum; without projection and without normalised outputs."""
    value = record.value(x)
    odd = conv.normalize or getattr(conv, "project", False)
    if value is None or odd or not usual(conv, "mean", "add") or not record.is_graph(edge_index):
        return None
    how: Literal["mean", "sum"] = "mean" if conv.aggr == "mean" else "sum"
    out = linear(record, propagate(record, value, Operator(how)), conv.lin_l)
    if not conv.root_weight:
        return out
    own = linear(record, value, conv.lin_r)
    return record.emit(Add([own, out], record.steps[out].width))
