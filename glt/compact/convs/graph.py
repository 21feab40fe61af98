"""GraphConv: W_1 x + W_2 (sum or mean of the neighbours, weighted) + b."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch_geometric.nn import GraphConv

from glt.compact.convs.base import linear, propagate, usual
from glt.compact.graphs import Operator
from glt.compact.ops import Add
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(GraphConv)
def graph(record: Record, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> int | None:
    """Sum or mean."""
    value = record.value(x)
    if value is None or not usual(conv, "mean", "add") or not record.is_graph(edge_index, edge_weight):
        return None
    how: Literal["mean", "sum"] = "mean" if conv.aggr == "mean" else "sum"
    out = linear(record, propagate(record, value, Operator(how, None, edge_weight is not None)), conv.lin_rel)
    own = linear(record, value, conv.lin_root)
    return record.emit(Add([own, out], record.steps[out].width))
