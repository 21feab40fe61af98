"""What the rules share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glt.compact.graphs import Operator
from glt.compact.ops import Affine, Linear, Propagate
from glt.compact.record import Record


def usual(conv: Any, *aggregations: str) -> bool:
    """Whether messages go from source to target and are aggregated in one of these ways, nothing decomposed."""
    aggregation = {"sum": "add"}.get(conv.aggr, conv.aggr) if isinstance(conv.aggr, str) else None
    plain = conv.flow == "source_to_target" and getattr(conv, "decomposed_layers", 1) == 1
    hooks = any(
        getattr(conv, name, None) for name in ("_forward_hooks", "_forward_pre_hooks", "_message_forward_hooks")
    )
    return plain and not hooks and aggregation in aggregations


def linear(record: Record, value: int, layer: Any, scale: float = 1.0, bias: bool = True) -> int:
    """A linear layer of PyG or torch, its result times ``scale``, with or without its bias."""
    own = getattr(layer, "bias", None) if bias else None
    tensors = {"weight": layer.weight.detach() * scale, "bias": None if own is None else own.detach() * scale}
    step = Linear([value], layer.weight.size(0), record.name_of(layer.weight), tensors)
    if scale == 1 and bias:
        step.along, step.across = record.own((layer.weight, 0), (own, 0)), record.own((layer.weight, 1)) or ()
    return record.emit(step)


def mean_of_heads(record: Record, conv: Any, value: int) -> int:
    """The mean over the heads of a layer, whose channels are side by side."""
    heads, size, like = conv.heads, conv.out_channels, next(conv.parameters())
    mean = torch.eye(size, dtype=like.dtype, device=like.device).repeat(1, heads) / heads
    tensors = {"weight": mean, "bias": None}
    return record.emit(Linear([value], size, f"{record.name_of(conv)} (mean of heads)", tensors, stock=heads * size))


def normalised(conv: Any, weighted: bool, scale: float = 1.0) -> Operator:
    """The operator of a layer that normalises as GCN does, or not at all."""
    if not conv.normalize:
        return Operator("sum", None, weighted, scale)
    loops = (2.0 if getattr(conv, "improved", False) else 1.0) if conv.add_self_loops else None
    return Operator("gcn", loops, weighted, scale)


def propagate(record: Record, value: int, operator: Operator) -> int:
    """A x."""
    width = record.steps[value].width
    return record.emit(Propagate([value], width, "", graph=record.operator(operator)))


def shift(record: Record, value: int, bias: Tensor | None) -> int:
    """X + b."""
    if bias is None:
        return value
    tensors = {"scale": None, "shift": bias.detach().clone()}
    step = Affine([value], record.steps[value].width, record.name_of(bias), tensors)
    step.along = record.own((bias, 0))
    return record.emit(step)
