"""Several models of one shape as one: their weights stacked, their hidden units side by side, one product for all."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.backbones.base import GNN
from glt.backbones.dropout import dropout
from glt.sparse import features_of

SHARED = ("x", "y", "train_mask", "val_mask", "test_mask")
"""What all graphs of a stack have in common; edges and edge weights may differ."""


def why_not(models: Sequence[nn.Module], graphs: Sequence[Data]) -> str:
    """Why these models cannot be trained as one; ``""`` where they can."""
    first, *others = models
    if not (isinstance(first, GNN) and vars(type(first)).get("stacks")):
        return f"{type(first).__name__} is no backbone that stacks"
    if first.random_stem:
        return "attention dropout"
    if hasattr(first, "parameter_groups"):
        return "its parameters have options of their own"
    shape = _shape(first)
    if any(_shape(other) != shape for other in others):
        return "the models differ in more than their weights"
    if any(m._forward_hooks or m._forward_pre_hooks for model in models for m in model.modules()):
        return "a model has hooks"
    if any(not p.requires_grad for p in first.parameters()):
        return "a parameter is not trained"
    one = graphs[0]
    if not all(_equal(graph.get(key), one.get(key)) for graph in graphs for key in SHARED):
        return "the graphs differ in more than their edges"
    return ""


def _shape(model: nn.Module) -> list[Any]:
    """What has to be the same for two models to compute the same function of their weights."""
    simple = (bool, int, float, str, tuple, type(None))
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return [
        (
            name,
            type(module),
            {k: v for k, v in vars(module).items() if isinstance(v, simple)},
            [(k, p.shape, p.dtype, p.device) for k, p in module.named_parameters(recurse=False)],
            [(k, b.tolist()) for k, b in module.named_buffers(recurse=False) if k not in statistics],
        )
        for name, module in model.named_modules()
    ]


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or (one.layout == other.layout == torch.strided and torch.equal(one, other))


class Stack:
    """Models whose weights are rows of one set of parameters, and which are run as one wide model.

    A step on :attr:`wide` is a step of every model: while the stack lasts, their parameters and buffers are views into
    its own, so a constraint on a model holds in the stack. :meth:`release` gives them memory of their own again.

    Args:
        models: for which :func:`why_not` has nothing to say; modified by training :attr:`wide`.
        graphs: one for each model.
        seeds: of each model's random numbers: those that ``torch.manual_seed(seed)`` would give it alone.

    Attributes:
        wide: the model of them all; logits are [nodes, models * classes]. Its parameters hold model after model.
        streams: the models' random numbers.
        device: where they are.
    """

    def __init__(self, models: Sequence[nn.Module], graphs: Sequence[Data], seeds: Sequence[int]) -> None:
        self.models, self.device = models, graphs[0].x.device
        first: Any = models[0]
        self.wide: Any = copy.deepcopy(first)
        self.streams = Streams(seeds, self.device)
        for name, module in first.named_modules():
            if isinstance(module, nn.LayerNorm):
                _replace(self.wide, name, LayerNorms(len(models), module))
        self._tie()
        self.wide.models, self.wide.drop = len(models), self.streams.dropout
        data = graphs[0]
        distinct = _distinct([(graph.edge_index, graph.get("edge_weight")) for graph in graphs])
        with torch.no_grad():
            graph = first.side_by_side(distinct, len(models), data.num_nodes, data.x.dtype)
            prepared = features_of(data.x), graph
        self.wide.prepare = lambda _: prepared

    def _tie(self) -> None:
        for kind in ("named_parameters", "named_buffers"):
            of_models = [dict(getattr(model, kind)()) for model in self.models]
            for name, tensor in of_models[0].items():
                if not tensor.dim():
                    continue  # counts batches: the same number for all
                together = torch.stack([own[name].detach() for own in of_models])
                shaped = together  # [models, out, in], or as a bias of all models, or as attention vectors of all
                if tensor.dim() != 2:
                    shaped = together.flatten() if tensor.dim() == 1 else together.squeeze(1)
                _replace(self.wide, name, nn.Parameter(shaped) if kind == "named_parameters" else shaped)
                for own, part in zip(of_models, together, strict=True):
                    own[name].data = part

    def apart(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of :attr:`wide` by its name in the models, model by model: [models, ...], a view."""
        shape = self.models[0].get_parameter(name).shape if name in self._parameters else None
        if shape is None:
            shape = self.models[0].get_buffer(name).shape
        return tensor.view(-1, *shape) if tensor.dim() else tensor.expand(len(self.models))

    @property
    def _parameters(self) -> set[str]:
        return {name for name, _ in self.models[0].named_parameters()}

    def release(self) -> None:
        """The models keep what they hold now, in memory of their own."""
        counts = {name: buffer for name, buffer in self.wide.named_buffers() if not buffer.dim()}
        for model in self.models:
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.data.clone()
            for name, buffer in model.named_buffers():
                if name in counts:
                    buffer.copy_(counts[name])


class LayerNorms(nn.Module):
    """LayerNorm of every model over its own units, which are side by side."""

    def __init__(self, models: int, like: nn.LayerNorm) -> None:
        super().__init__()
        self.models, self.eps = models, like.eps
        self.weight, self.bias = like.weight, like.bias

    def forward(self, x: Tensor) -> Tensor:
        """As large as ``x``, float [nodes, models * units]."""
        apart = x.view(x.size(0), self.models, -1)
        return F.layer_norm(apart, apart.shape[2:], eps=self.eps).view_as(x) * self.weight + self.bias


class Streams:
    """Random numbers for each of several models, from generators of their own.

    On CPU and on CUDA they are the numbers that the device's global generator would give after ``manual_seed(seed)``;
    it is put in each generator's state in turn, so leave it as it was afterwards (``fork_rng``).

    Attributes:
        generators: on CUDA, one for each model; else none.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        made = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._cuda = device.type == "cuda"
        self._index = device.index
        self.generators = made if self._cuda else []
        self._states = [] if self._cuda else [generator.get_state() for generator in made]
        self._count = len(made)

    def dropout(self, x: Tensor, p: float, training: bool) -> Tensor:
        """Dropout of every model's columns of ``x``, [nodes, models * units], by its own numbers."""
        if not training or p == 0.0:
            return x
        ones = x.new_ones(x.size(0), x.size(1) // self._count)
        masks = []
        for t in range(self._count):
            with self._as_global(t):
                masks.append(dropout(ones, p, True))
        return x * torch.stack(masks, dim=1).view_as(x)

    @contextmanager
    def _as_global(self, t: int) -> Iterator[None]:
        if not self._cuda:
            torch.default_generator.set_state(self._states[t])
            yield
            self._states[t] = torch.default_generator.get_state()
            return
        everyone = torch.cuda.default_generators[torch.cuda.current_device() if self._index is None else self._index]
        before = everyone.graphsafe_get_state()
        everyone.graphsafe_set_state(self.generators[t])  # shares the state: what is drawn advances the generator
        try:
            yield
        finally:
            everyone.graphsafe_set_state(before)


def _distinct(graphs: list[tuple[Tensor, Tensor | None]]) -> list[tuple[Tensor, Tensor | None]]:
    """The one graph that all share, or all of them."""
    (edges, weights), *others = graphs
    same = all(_equal(edges, other) and _equal(weights, own) for other, own in others)
    return graphs[:1] if same else graphs


def _replace(model: nn.Module, name: str, value: Any) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, value)
