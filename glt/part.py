"""The live part of a model under masks: a smaller model of the same class, and its place in the whole one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.compact.ops import Attend
from glt.constraints import Masks
from glt.forward import Forward, evaluation
from glt.live import recorded, why_whole, widths

TOLERANCE = 1e-9
"""Difference of logits and gradients in double precision, relative to the largest."""


class NoPart(Exception):
    """There is no smaller network with the same training; says why."""


@dataclass(frozen=True)
class Place:
    """Where a smaller tensor lies in one of the model: ``index`` of each dimension of its ``view``."""

    view: tuple[int, ...]
    index: tuple[Tensor, ...]
    small: tuple[int, ...]

    def of(self, tensor: Tensor) -> Tensor:
        """The smaller tensor, a copy."""
        return tensor.reshape(self.view)[self._grid(tensor)].reshape(self.small)

    def put(self, tensor: Tensor, small: Any) -> None:
        """Write the smaller tensor (or a number) into ``tensor``."""
        value = small.reshape([len(one) for one in self.index]) if isinstance(small, Tensor) else small
        tensor.view(self.view)[self._grid(tensor)] = value

    def _grid(self, tensor: Tensor) -> tuple[Tensor, ...]:
        last = len(self.index) - 1
        return tuple(
            one.to(tensor.device).view(-1, *[1] * (last - dim)) for dim, one in enumerate(self.index)
        )  # broadcast by what they index


class Part:
    """The live part of a model under masks, as a smaller model of the same class.

    Args:
        model: at the weights where training starts; not modified.
        data: its graph.
        masks: what stays.

    Attributes:
        model, data, masks: those of the part.
        resting: kept entries of parameters that are not in it, bool by name; no gradient reaches them.
        said: how much of the model it is.

    Raises:
        NoPart: it is the whole model, or not held to it. NotRecordable and the model's own errors pass.
    """

    def __init__(self, model: nn.Module, data: Data, masks: Masks) -> None:
        self._whole, self._masks = model, {k: mask.to(model.get_parameter(k).device) for k, mask in masks.items()}
        self._places: dict[str, Place] = {}
        self._heads: dict[str, tuple[int, int]] = {}
        features = self._find(data)
        columns = features.nonzero().squeeze(1)
        self.model = self._cut(model)
        self.masks = {k: self._places[k].of(m) if k in self._places else m for k, m in self._masks.items()}
        self.data = data if features.all() else with_features(data, columns)
        self.resting = self._left_out()
        self._check(data, columns)
        sizes = [sum(p.numel() for p in one.parameters()) for one in (self.model, model)]
        self.said = f"{sizes[0]:,} of {sizes[1]:,} parameters"

    def _find(self, data: Data) -> Tensor:
        """Note where the part lies in every tensor; the input features it has, bool [features]."""
        record = recorded(self._whole, self._masks, small_graph(data))
        kept = widths(record)
        tensors = dict(self._whole.state_dict(keep_vars=True))
        found: dict[str, dict[int, Tensor]] = {}
        features = kept[0]
        for step, own in zip(record.steps, kept, strict=True):
            sides = [(step.along or (), own), *([(step.across, kept[step.inputs[0]])] if step.across else [])]
            for places, side in sides:
                for name, dim in places:
                    if not torch.equal(found.setdefault(name, {}).setdefault(dim, side), side):
                        raise NoPart(f"{name!r} is used more than once")
            if isinstance(step, Attend) and not bool(own.all()):
                heads = int(kept[step.inputs[0]].sum())
                size = int(own.sum()) // heads
                self._heads[step.name] = (heads, size)
                for name in step.vectors:
                    self._places[name] = Place((-1,), (own.nonzero().squeeze(1),), (1, heads, size))
        for name, sides_of in found.items():
            if all(bool(side.all()) for side in sides_of.values()):
                continue
            shape = tensors[name].shape
            index = [
                sides_of[dim].nonzero().squeeze(1) if dim in sides_of else torch.arange(n)
                for dim, n in enumerate(shape)
            ]
            self._places[name] = Place(tuple(shape), tuple(index), tuple(map(len, index)))
        if features.all() and not self._places:
            unknown = [why for step in record.steps if (why := why_whole(step))][:1]
            raise NoPart("; ".join(["every unit and every input feature is used", *unknown]))
        return features

    def _cut(self, model: nn.Module) -> nn.Module:
        """A copy of the whole model, or of one like it, whose tensors are those of the part."""
        small = copy.deepcopy(model)
        for name, place in self._places.items():
            owner, _, leaf = name.rpartition(".")
            module = small.get_submodule(owner)
            old = getattr(module, leaf)
            tensor = place.of(old.detach())
            setattr(module, leaf, nn.Parameter(tensor, old.requires_grad) if isinstance(old, nn.Parameter) else tensor)
        for name, (heads, size) in self._heads.items():
            layer: Any = small.get_submodule(name)
            layer.heads, layer.out_channels = heads, size
        return small

    def _left_out(self) -> dict[str, Tensor]:
        """Kept entries of parameters that are not in the part: bool by name."""
        left = {}
        for name, parameter in self._whole.named_parameters():
            if name in self._places and parameter.requires_grad:
                everything = torch.ones_like(parameter, dtype=torch.bool)
                kept = self._masks.get(name, everything).clone()
                self._places[name].put(kept, False)
                left[name] = kept
        return left

    def whole_state(self, small: Mapping[str, Tensor], resting: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state of the whole model: of the part, of the entries that rest, and zero where it is pruned."""
        state = {name: tensor.detach().clone() for name, tensor in self._whole.state_dict().items()}
        for name, tensor in state.items():
            if name in self._masks:
                tensor.masked_fill_(~self._masks[name].to(tensor.device), 0)
            if name in resting:
                tensor[self.resting[name]] = resting[name]
            if name in self._places:
                self._places[name].put(tensor, small[name])
            else:
                tensor.copy_(small[name])
        return state

    def _check(self, data: Data, columns: Tensor) -> None:
        """Hold logits and gradients on a small graph to those of the whole model.

        Raises:
            NoPart: they differ, or something left out has a gradient.
        """
        whole = copy.deepcopy(self._whole).cpu().double()
        masks = {name: mask.cpu() for name, mask in self._masks.items()}
        with torch.no_grad():
            for name, mask in masks.items():
                whole.get_parameter(name).mul_(mask)
        graph = small_graph(data, torch.float64)
        results = [_gradients(one, x) for one, x in ((whole, graph), (self._cut(whole), with_features(graph, columns)))]
        (logits, full), (part_logits, small) = results
        scale = max(float(gradient.abs().max()) for gradient in full.values() if gradient.numel())
        worst = float((logits - part_logits).abs().max()) / max(float(logits.abs().max()), 1e-300)
        for name, gradient in full.items():
            mine = self._places[name].of(gradient) if name in self._places else gradient
            apart = (mine - small[name]) * (self.masks[name].cpu() if name in masks else 1)
            left = gradient[self.resting[name].cpu()] if name in self.resting else gradient[:0]
            for difference in (apart, left):
                if difference.numel():
                    worst = max(worst, float(difference.abs().max()) / max(scale, 1e-300))
        self.whole_state(self.model.state_dict(), {})  # it fits
        if not worst <= TOLERANCE:
            raise NoPart(f"the live part is not the same network: off by {worst:.1e} of the largest on a small graph")
        in_training = self._cut(whole).train()
        Forward(in_training, with_features(graph, columns), plain=True)()  # does not fail there either


def with_features(data: Data, columns: Tensor) -> Data:
    """``data`` with so many of its input features: x [nodes, columns], in their order."""
    some, x = copy.copy(data), data.x
    x = x if x.layout == torch.strided else x.to_sparse_coo()
    some.x = x.index_select(1, columns.to(x.device))
    return some


def small_graph(data: Data, dtype: torch.dtype | None = None) -> Data:
    """Eight nodes in a circle with two chords, with all that a model is called with on ``data``, at random."""
    generator, nodes = torch.Generator().manual_seed(0), 8
    pairs = [(i, (i + 1) % nodes) for i in range(nodes)] + [(0, 3), (1, 5)]
    arcs = torch.tensor([*pairs, *((v, u) for u, v in pairs)]).t().contiguous()
    dtype = dtype or data.x.dtype
    made = Data(x=torch.rand(nodes, data.x.size(1), generator=generator).to(dtype) - 0.5, edge_index=arcs)
    for name in ("edge_weight", "edge_attr"):
        if data.get(name) is not None:
            shape = (arcs.size(1), *data[name].shape[1:])
            made[name] = (torch.rand(shape, generator=generator) + 0.5).to(dtype)
    return made


def _gradients(model: nn.Module, data: Data) -> tuple[Tensor, dict[str, Tensor]]:
    """(logits, gradients by name of a random sum of them) in evaluation mode."""
    model.zero_grad()
    with evaluation(model):
        logits = Forward(model, data, plain=True)()
    weights = torch.rand(logits.shape, generator=torch.Generator().manual_seed(1), dtype=logits.dtype)
    (logits * weights).sum().backward()
    return logits.detach(), {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in model.named_parameters()
    }
