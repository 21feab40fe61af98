"""TransformerConv: attention by inner products over incoming arcs, beside the node itself."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch_geometric.nn import TransformerConv

from glt.backbones.transformer import Rootless
from glt.compact.convs.base import linear, mean_of_heads, usual
from glt.compact.graphs import Operator
from glt.compact.ops import Add, AttendDots, Gate, Linear
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(Rootless)
@lowers(TransformerConv)
def transformer(record: Record, conv: Any, x: Tensor, edge_index: Tensor) -> int | None:
    """1 / sqrt(width) goes into the queries. Biases of keys add the same to all arcs into a node: they go."""
    value = record.value(x)
    if value is None or conv.lin_edge is not None or not usual(conv, "add") or not record.is_graph(edge_index):
        return None
    heads, size = conv.heads, conv.out_channels
    query = linear(record, value, conv.lin_query, scale=1 / math.sqrt(size))
    key = linear(record, value, conv.lin_key, bias=False)
    inputs, sizes = [query, key, linear(record, value, conv.lin_value)], [size] * heads
    graph = record.operator(Operator("attention"))
    out = record.emit(AttendDots(inputs, heads * size, record.name_of(conv), graph=graph, dims=sizes, sizes=sizes))
    if not conv.concat:
        out = mean_of_heads(record, conv, out)
    if not conv.root_weight:
        return out
    own = linear(record, value, conv.lin_skip)
    width = record.steps[own].width
    if conv.lin_beta is None:
        return record.emit(Add([own, out], width))
    return record.emit(Gate([_gate(record, conv, out, own), own, out], width))


def _gate(record: Record, conv: Any, out: int, own: int) -> int:
    """W . [out, own, out - own] as two products."""
    name, weight = record.name_of(conv.lin_beta.weight), conv.lin_beta.weight.detach()
    one, two, three = weight.chunk(3, dim=1)
    bias = None if conv.lin_beta.bias is None else conv.lin_beta.bias.detach()
    first = Linear([out], 1, name, {"weight": one + three, "bias": bias}, stock=weight.numel())
    second = Linear([own], 1, f"{name} (of the node itself)", {"weight": two - three, "bias": None}, stock=0)
    return record.emit(Add([record.emit(first), record.emit(second)], 1))
