"""GENConv: MLP(x + aggregated relu(x) + eps of the neighbours)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import GENConv

from glt.compact.convs.base import linear, propagate, usual
from glt.compact.graphs import Operator
from glt.compact.ops import Add, Affine, Function, SoftMean
from glt.compact.record import Record
from glt.compact.rules import lowers


@lowers(GENConv)
def gen(record: Record, conv: Any, x: Tensor, edge_index: Tensor) -> int | None:
    """Sum, mean or softmax; the MLP inside is written down by running it."""
    value = record.value(x)
    odd = hasattr(conv, "msg_norm") or hasattr(conv, "lin_aggr_out")
    if value is None or odd or not usual(conv, "add", "mean", "softmax") or not record.is_graph(edge_index):
        return None
    width: int = conv.out_channels
    like: dict[str, Any] = {"dtype": x.dtype, "device": x.device}
    sent = linear(record, value, conv.lin_src) if hasattr(conv, "lin_src") else value
    own = linear(record, value, conv.lin_dst) if hasattr(conv, "lin_dst") else value
    sent = record.emit(Function([sent], width, "relu", function="relu", arguments={}))
    sent = record.emit(Affine([sent], width, "", {"scale": None, "shift": torch.full((width,), conv.eps, **like)}))
    if conv.aggr == "softmax":
        t = torch.as_tensor(conv.aggr_module.t, **like).detach().reshape(-1).expand(width)
        graph = record.operator(Operator("attention"))
        gathered = record.emit(SoftMean([sent], width, record.name_of(conv), {"t": t}, graph=graph))
    else:
        gathered = propagate(record, sent, Operator("mean" if conv.aggr == "mean" else "sum"))
    both = torch.zeros(x.size(0), width, **like)  # stands for the sum: what is computed with it is not used
    record.bind(both, record.emit(Add([gathered, own], width)))
    return record.value(conv.mlp(both))
