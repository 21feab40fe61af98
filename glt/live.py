"""Which channels of a model take part in a training whose pruned weights stay zero."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.compact.ops import (
    Add,
    Affine,
    Attend,
    AttendDots,
    Concatenate,
    Function,
    Gate,
    Linear,
    Mix,
    Opaque,
    Propagate,
    SoftMean,
    Step,
)
from glt.compact.ops.base import nothing
from glt.compact.record import Record

ODD = ("relu", "elu", "leaky_relu", "tanh", "gelu", "silu", "selu")
"""Functions of :data:`glt.compact.ops.FUNCTIONS` that are 0 at 0."""


def recorded(model: nn.Module, masks: Mapping[str, Tensor], data: Data) -> Record:
    """``model`` written down on ``data`` with its weights as they may become: 1 where they are trained, else 0.

    Biases, of which 0 means something, stay 0 where they are 0 now and not 0 where they are not.

    Raises:
        NotRecordable: the model cannot be written down. Its own errors pass.
    """
    model = copy.deepcopy(model).cpu()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and parameter.dim() > 0:
                trained = parameter != 0 if parameter.dim() == 1 else torch.ones_like(parameter, dtype=torch.bool)
                parameter.copy_(trained & masks[name].cpu() if name in masks else trained)
    return Record(model, data)


def widths(record: Record) -> list[Tensor]:
    """The channels of every step that a smaller model of the same class computes: bool [channels] each.

    Left out are channels that are not read through a kept weight, so that no gradient reaches them, and those that are
    zero and stay it: without a kept incoming weight, their bias zero, before a ReLU, whose derivative at 0 is 0.
    Everything else stays, and so does what has to be as wide as something that stays: both sides of a sum, what an
    unknown layer or a function of all channels sees, as many channels in every head of an attention layer.
    """
    steps, output = record.steps, record.output
    kept = _read(steps, output, _zeros(steps, output))
    for step, own in zip(steps, kept, strict=True):
        if _whole(step):
            own[:] = True
            for i in step.inputs if not isinstance(step, Affine) else ():
                kept[i][:] = True
        elif not bool(own.any()):
            own[:1] = True  # no matrix without a row
    kept[output][:] = True
    before = -1
    while before != (before := sum(int(own.sum()) for own in kept)):
        for step, own in zip(steps, kept, strict=True):
            _fit(step, own, [kept[i] for i in step.inputs])
    return kept


WHOLE: dict[type[Step], str] = {
    AttendDots: "attention by inner products takes every unit",
    SoftMean: "a softmax over neighbours takes every unit",
    Gate: "a gate takes every unit",
}
"""Steps that are not narrowed, with why."""


def why_whole(step: Step) -> str:
    """Why a step that something could be left out of is not narrowed; "" for others."""
    return step.why if isinstance(step, Opaque) else WHOLE.get(type(step), "")


def _whole(step: Step) -> bool:
    """Whether nothing of a step can be left out."""
    odd = isinstance(step, (Linear, Affine)) and step.along is None
    return odd or isinstance(step, (Opaque, Mix, *WHOLE))


def _zeros(steps: Sequence[Step], output: int) -> list[Tensor]:
    """Channels that are zero for every node and stay it, bool [channels] of every step."""
    readers = Counter([output, *(i for step in steps for i in step.inputs)])
    zero: list[Tensor] = []
    idle: list[Tensor] = []
    """Zero as long as a bias is, whose gradient a ReLU that nothing goes around would keep at zero."""
    for number, step in enumerate(steps):
        now = torch.zeros(step.width, dtype=torch.bool)
        until = now.clone()
        before = [(zero[i], idle[i]) for i in step.inputs]
        if isinstance(step, Linear) and step.along is not None:
            empty = (step.weight[:, ~before[0][0]] == 0).all(1)
            now, until = (empty, until) if step.bias is None else (now, empty & (step.bias == 0))
        elif isinstance(step, Affine) and step.along is not None and step.shift is not None:
            until = (before[0][0] | before[0][1]) & (step.shift == 0)
        elif isinstance(step, Function) and step.options["function"] in ODD:
            relu = step.options["function"] == "relu"
            now, until = (before[0][0] | before[0][1], until) if relu else before[0]
        elif isinstance(step, Propagate):
            now, until = before[0]
        elif isinstance(step, Attend):
            now = zero[step.inputs[2]]
        elif isinstance(step, Add):
            now = torch.stack([z for z, _ in before]).all(0)
            until = torch.stack([z | w for z, w in before]).all(0) & ~now
        elif isinstance(step, Concatenate):
            now, until = (torch.cat(part) for part in zip(*before, strict=True))
        zero.append(now)
        idle.append(until if readers[number] == 1 else torch.zeros_like(until))
    return zero


def _read(steps: Sequence[Step], output: int, zero: Sequence[Tensor]) -> list[Tensor]:
    """Channels that reach the output and are not zero for good, bool [channels] of every step."""
    live = [torch.zeros(step.width, dtype=torch.bool) for step in steps]
    live[output][:] = True
    for number in reversed(range(len(steps))):
        step, own = steps[number], live[number] & ~zero[number]
        live[number] = own
        if not bool(own.any()):
            continue
        unknown = [nothing(steps[i].width) for i in step.inputs]
        if isinstance(step, Linear) and step.along is None:
            needs = [torch.ones_like(live[i]) for i in step.inputs]
        elif isinstance(step, Attend):  # logits are made of every channel of a head
            heads, _, some = step.needs(own, unknown)
            needs = [heads, heads, some | _spread(heads, step.options["sizes"])]
        else:
            needs = step.needs(own, unknown)
        for i, need in zip(step.inputs, needs, strict=True):
            live[i] |= need
    return live


def _spread(heads: Tensor, sizes: Sequence[int]) -> Tensor:
    return torch.repeat_interleave(heads, torch.tensor(sizes))


def _fit(step: Step, own: Tensor, sources: list[Tensor]) -> None:
    """Add to the channels of a step and of its inputs what has to be as wide."""
    if isinstance(step, Concatenate):
        pairs = list(zip(own.split(step.options["sizes"]), sources, strict=True))
    elif isinstance(step, Attend):
        heads, _, features = sources
        features |= _level(features | own, step.options["sizes"])
        for part, head in zip(features.split(step.options["sizes"]), range(len(heads)), strict=True):
            heads[head] |= part.any()
        pairs = [(sources[1], heads), (own, features)]
    elif isinstance(step, (Propagate, Function, Affine, Add)):
        pairs = [(own, source) for source in sources]
    else:
        return
    for one, other in pairs:
        one |= other
        other |= one


def _level(channels: Tensor, sizes: Sequence[int]) -> Tensor:
    """As many channels of every head that has any: those there are, and the first of the others."""
    heads = channels.view(-1, sizes[0])  # of one size in a layer
    count, wanted = heads.sum(1), int(heads.sum(1).max())
    missing = torch.where(count > 0, wanted - count, 0)
    first = (~heads).cumsum(1) <= missing.unsqueeze(1)
    return (heads | (~heads & first)).flatten()
