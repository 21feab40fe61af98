"""GATConv: attention per head over incoming arcs and the node itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_geometric.nn import GATConv

from glt.compact.convs.base import linear, mean_of_heads, shift, usual
from glt.compact.graphs import Operator
from glt.compact.ops import Attend, Linear
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(GATConv)
def gat(record: Record, conv: Any, x: Tensor, edge_index: Tensor) -> int | None:
    """Attention logits are linear in x: a . (W x) = (a W) x, so that a channel no layer reads can go."""
    value = record.value(x)
    odd = conv.edge_dim is not None or getattr(conv, "residual", False) or getattr(conv, "lin", None) is None
    if value is None or odd or not usual(conv, "add") or not record.is_graph(edge_index):
        return None
    heads, size = conv.heads, conv.out_channels
    weight = conv.lin.weight.detach().view(heads, size, -1)
    logits = []
    for vector in (conv.att_src, conv.att_dst):
        rows = (vector.detach().view(heads, size, 1) * weight).sum(1)
        tensors = {"weight": rows, "bias": None}
        step = Linear([value], heads, record.name_of(vector), tensors, stock=heads * size)
        step.along = ()
        logits.append(record.emit(step))
    features = linear(record, value, conv.lin)
    graph = record.operator(Operator("attention", 1.0 if conv.add_self_loops else None))
    options = {"graph": graph, "sizes": [size] * heads, "slope": conv.negative_slope}
    attend = Attend([*logits, features], heads * size, record.name_of(conv), **options)
    attend.vectors = tuple(record.name_of(vector) for vector in (conv.att_src, conv.att_dst))
    out = record.emit(attend)
    if not conv.concat:
        out = mean_of_heads(record, conv, out)
    return shift(record, out, conv.bias)
