"""What the rules share."""

from __future__ import annotations

from typing import Any

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


def linear(record: Record, value: int, layer: Any) -> int:
    """A linear layer of PyG or torch."""
    bias = getattr(layer, "bias", None)
    tensors = {"weight": layer.weight.detach().clone(), "bias": None if bias is None else bias.detach().clone()}
    step = Linear([value], layer.weight.size(0), record.name_of(layer.weight), tensors)
    step.along, step.across = record.own((layer.weight, 0), (bias, 0)), record.own((layer.weight, 1)) or ()
    return record.emit(step)


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
