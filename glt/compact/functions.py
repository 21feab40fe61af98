"""Torch functions between the layers, as steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact.ops import FUNCTIONS, Add, Affine, Concatenate, Function, Linear, Mix
from glt.compact.record import Record

Rule = Callable[..., int | None]


def _linear(record: Record, out: Tensor, x: Any, weight: Any, bias: Any = None) -> int | None:
    value = record.value(x)
    if value is None or not record.constant(weight) or not (bias is None or record.constant(bias)):
        return None
    tensors = {"weight": weight.clone(), "bias": None if bias is None else bias.clone()}
    step = Linear([value], weight.size(0), record.name_of(weight), tensors)
    step.along, step.across = record.own((weight, 0), (bias, 0)), record.own((weight, 1)) or ()
    return record.emit(step)


def _matmul(record: Record, out: Tensor, x: Any, weight: Any) -> int | None:
    if record.value(x) is None or not record.constant(weight) or weight.dim() != 2:
        return None
    tensors = {"weight": weight.t().clone(), "bias": None}
    step = Linear([record.value(x) or 0], weight.size(1), record.name_of(weight), tensors)
    step.along, step.across = record.own((weight, 1)), record.own((weight, 0)) or ()
    return record.emit(step)


def _activation(name: str) -> Rule:
    def rule(record: Record, out: Tensor, x: Any, *args: Any, inplace: bool = False, **kwargs: Any) -> int | None:
        value = record.value(x)
        first = {"elu": "alpha", "leaky_relu": "negative_slope"}.get(name)
        numbers = [a for a in args if not isinstance(a, bool)]
        if value is None or len(numbers) > (first is not None):
            return None
        arguments = kwargs | ({first: numbers[0]} if first and numbers else {})
        return record.emit(Function([value], out.size(1), name, function=name, arguments=arguments))

    return rule


def _prelu(record: Record, out: Tensor, x: Any, weight: Any) -> int | None:
    """With one slope a leaky ReLU, with one per channel relu(x) - slope * relu(-x), of which one is 0."""
    value = record.value(x)
    if value is None or not record.constant(weight):
        return None
    width, relu = out.size(1), partial(Function, function="relu", arguments={})
    if weight.numel() == 1:
        arguments = {"negative_slope": float(weight)}
        return record.emit(Function([value], width, "prelu", function="leaky_relu", arguments=arguments))
    above = record.emit(relu([value], width, "prelu"))
    minus = Affine([value], width, "", {"scale": -torch.ones_like(weight), "shift": None})
    below = record.emit(relu([record.emit(minus)], width, "prelu"))
    scaled = Affine([below], width, record.name_of(weight), {"scale": -weight, "shift": None})
    minus.along, scaled.along = (), record.own((weight, 0))
    return record.emit(Add([above, record.emit(scaled)], width))


def _dropout(
    record: Record, out: Tensor, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> int | None:
    return record.value(x) if not training or p == 0 else None


def _same(record: Record, out: Tensor, x: Any, *_: Any, **__: Any) -> int | None:
    return record.value(x) if out.dtype == x.dtype and out.shape == x.shape else None


def _row(record: Record, thing: Any, out: Tensor) -> Tensor | None:
    """A number or a row of constants as a row as wide as ``out``."""
    if isinstance(thing, (int, float)):
        return out.new_full((out.size(1),), thing)
    if not record.constant(thing) or thing.dim() > 2 or thing.shape[:-1].numel() != 1:
        return None
    row = thing.detach().to(out.dtype).reshape(-1)
    return row.expand(out.size(1)).clone() if row.numel() in (1, out.size(1)) else None


def _affine(record: Record, x: Any, out: Tensor, scale: Tensor | None, shift: Tensor | None) -> int | None:
    value = record.value(x)
    if value is None or record.steps[value].width != out.size(-1):
        return None
    return record.emit(Affine([value], out.size(1), "", {"scale": scale, "shift": shift}))


def _plus(sign: float) -> Rule:
    def rule(record: Record, out: Tensor, x: Any, y: Any, *, alpha: float = 1) -> int | None:
        if out.dim() != 2:
            return None
        factor = sign * alpha
        a, b = record.value(x), record.value(y)
        if a is not None and b is not None:
            if x.shape != y.shape:
                return None
            if factor != 1:
                b = record.emit(Affine([b], out.size(1), "", {"scale": _row(record, factor, out), "shift": None}))
            return record.emit(Add([a, b], out.size(1)))
        one, other, factor_one = (x, y, 1.0) if a is not None else (y, x, factor)
        row = _row(record, other, out)
        if row is None or (a is None and b is None):
            return None
        scale = None if factor_one == 1 else _row(record, factor_one, out)
        return _affine(record, one, out, scale, row * (factor if a is not None else 1.0))

    return rule


def _times(record: Record, out: Tensor, x: Any, y: Any) -> int | None:
    if out.dim() != 2:
        return None
    one, other = (x, y) if record.value(x) is not None else (y, x)
    row = _row(record, other, out)
    return None if row is None else _affine(record, one, out, row, None)


def _over(record: Record, out: Tensor, x: Any, y: Any) -> int | None:
    row = _row(record, y, out) if out.dim() == 2 else None
    return None if row is None else _affine(record, x, out, 1 / row, None)


def _batch_norm(
    record: Record,
    out: Tensor,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> int | None:
    if training or mean is None or variance is None:
        return None
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    step = _affine(record, x, out, scale, shift if bias is None else shift + bias)
    if step is not None:
        record.steps[step].along = record.own((mean, 0), (variance, 0), (weight, 0), (bias, 0))
    return step


def _concatenate(record: Record, out: Tensor, tensors: Any, dim: int = 0) -> int | None:
    values = [record.value(tensor) for tensor in tensors]
    if dim not in (1, -1) or any(value is None for value in values):
        return None
    sizes = [tensor.size(1) for tensor in tensors]
    return record.emit(Concatenate([v for v in values if v is not None], sum(sizes), sizes=sizes))


def _mix(name: str) -> Rule:
    def rule(record: Record, out: Tensor, x: Any, dim: Any = None, *_: Any, dtype: Any = None, **__: Any) -> int | None:
        value = record.value(x)
        if value is None or dim not in (1, -1) or dtype is not None:
            return None
        return record.emit(Mix([value], out.size(1), name, function=name))

    return rule


def _layer_norm(
    record: Record, out: Tensor, x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> int | None:
    value = record.value(x)
    if value is None or tuple(shape) != (out.size(1),):
        return None
    tensors = {"weight": weight, "bias": bias}
    return record.emit(Mix([value], out.size(1), "layer_norm", tensors, function="layer_norm", eps=eps))


_RULES: dict[str, Rule] = {
    "linear": _linear,
    **dict.fromkeys(("matmul", "mm", "__matmul__"), _matmul),
    **dict.fromkeys(("dropout", "dropout1d", "alpha_dropout", "feature_dropout"), _dropout),
    **dict.fromkeys(("contiguous", "clone", "detach", "to", "float", "type_as"), _same),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), _plus(1.0)),
    **dict.fromkeys(("sub", "sub_", "__sub__", "__isub__"), _plus(-1.0)),
    **dict.fromkeys(("mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply"), _times),
    **dict.fromkeys(("div", "div_", "__truediv__", "true_divide"), _over),
    **dict.fromkeys(("cat", "concat"), _concatenate),
    "prelu": _prelu,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    **{name: _mix(name) for name in ("softmax", "log_softmax")},
    **{name: _activation(name) for name in FUNCTIONS},
    **{f"{name}_": _activation(name) for name in FUNCTIONS},
}
_HOMES = (torch, F, Tensor, torch._C._nn, torch._C._VariableFunctions, torch.special)


def rule_of(function: Any) -> Rule | None:
    """The rule for one of torch's own functions or tensor methods."""
    name = getattr(function, "__name__", "")
    ours = name in _RULES and any(getattr(home, name, None) == function for home in _HOMES)
    return _RULES[name] if ours else None
