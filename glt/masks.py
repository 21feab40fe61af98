"""Soft masks: trainable numbers on every edge and every weight of an unmodified model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer
from torch_geometric.data import Data

from glt.backbones.base import GNN, Chunked
from glt.batches.base import Batch
from glt.constraints import Constraint, Masks
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.forward import arguments_of
from glt.messages import mask_messages
from glt.sparse import features_of
from glt.sparsify import remove_arcs
from glt.train import parameter_groups

NOISE = 1e-5
"""Masks start at 1 + U(-1, 1) times this, which breaks ties (Chen et al., ICML 2021)."""


Prepared = tuple[tuple[Any, ...], dict[str, Tensor], Tensor]


class SoftMasked(nn.Module):
    """A model whose edges and weights are multiplied with masks that are trained beside it.

    One mask per undirected edge that is still there, and one per entry of the weights given; what is pruned already
    stays out. A mask of zeros and ones gives what the model gives on the graph without those arcs and with those
    weights at zero; :func:`glt.maskable.check_soft_masks` holds it to that. The model itself is copied, never changed.

    On a batch the masks of its own arcs are used. Every batch is a step: a penalty on the masks pulls at all of them in
    each, while the loss is felt by the edges of the batch alone.

    Parameters: the model's own (``model.*``), ``edges`` [edges kept] and ``weights.*``, one per name in
    ``weight_masks``.

    Args:
        model: any module that calls as ``model(x, edge_index)``; built-in backbones keep their fast path.
        data: the full graph.
        edges: its edges.
        edge_keep: bool [edges]; the edges that are still there.
        weight_masks: bool by parameter name; the weights that are still there.
        seed: of the noise on the masks.
        edge_options: options of the optimiser for edge masks alone, e.g. ``{"maximize": True, "lr": 0.01}``.
        twice: built-in backbones run on PyG's own layers too, which can be differentiated twice; features are then
            gathered per arc.

    Raises:
        GltError: a layer that no soft mask can stand for (:func:`glt.messages.mask_messages`).

    Attributes:
        graph: the data without what is pruned, self-loops last; train it on this, since batches are of its arcs.

    Memory: O(arcs + weights), never nodes x nodes.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        edges: PrunableEdges,
        edge_keep: Tensor,
        weight_masks: Masks,
        seed: int = 0,
        edge_options: Mapping[str, Any] | None = None,
        twice: bool = False,
    ) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.names = list(weight_masks)
        self.edge_options = dict(edge_options or {})
        generator = torch.Generator().manual_seed(seed)
        device = data.edge_index.device

        def near_one(*shape: int) -> nn.Parameter:
            return nn.Parameter((1 + NOISE * (2 * torch.rand(shape, generator=generator) - 1)).to(device))

        self.edges = near_one(int(edge_keep.sum()))
        self.weights = nn.ParameterList(near_one(*mask.shape) for mask in weight_masks.values())
        self._kept = [mask.to(device) for mask in weight_masks.values()]
        self.graph, self._edge_of_arc = _kept_graph(data, edges, edge_keep.to(device))
        # every place of a weight: torch's own resolution of ties does not restore a module with two names
        name_of = {id(self.model.get_parameter(name)): name for name in self.names}
        self._places = [
            (place, name_of[id(parameter)])
            for prefix, module in self.model.named_modules()
            for place, parameter in module.named_parameters(prefix, recurse=False, remove_duplicate=False)
            if id(parameter) in name_of
        ]
        self._arcs: Tensor
        self._fast = isinstance(self.model, GNN) and not twice
        if not self._fast:
            mask_messages(self.model, lambda: self._arcs)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Masks without weight decay: with it they sink until a masked degree is negative and training is NaN."""
        return [
            *parameter_groups(self.model),
            {"params": [self.edges], "weight_decay": 0.0, **self.edge_options},
            {"params": list(self.weights), "weight_decay": 0.0},
        ]

    def scores(self, state: Mapping[str, Tensor], edge_keep: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What trained masks say of edges and weights, more = keep: magnitudes, 0 for what was pruned before.

        Args:
            state: a state dict of this module.
            edge_keep: bool [edges], as this was made with.

        Returns:
            float [edges], and a float tensor by name.
        """
        edges = torch.zeros(edge_keep.shape, device=edge_keep.device)
        edges[edge_keep] = state["edges"].abs()
        return edges, {name: state[f"weights.{i}"].abs() for i, name in enumerate(self.names)}

    def prepare(self, data: Data) -> Prepared:
        """Arguments of :meth:`forward`, made once: for a batch of :attr:`graph`, else for all of it.

        Raises:
            GltError: a batch of another graph, whose arcs have other numbers.
        """
        d, edge_of_arc = self.graph, self._edge_of_arc
        if isinstance(data, Batch):
            if data.whole is not self.graph:
                raise GltError("a batch of another graph than the masks are for: train SoftMasked on its own graph")
            loops = data.e_id >= edge_of_arc.numel()
            d, edge_of_arc = _loops_last(data, loops), edge_of_arc[data.e_id[~loops]]
        if not self._fast:
            return *arguments_of(self.model, d, plain=True), edge_of_arc
        assert isinstance(self.model, GNN)
        graph = self.model.soft_operator(d.edge_index, d.get("edge_weight"), int(d.num_nodes or 0), d.x.dtype)
        return (features_of(d.x), graph), {}, edge_of_arc

    def chunked(self, arguments: Prepared, size: int) -> Prepared:
        """The same arguments for an evaluation by chunks, where the model can."""
        inner, options, edge_of_arc = arguments
        if self._fast:
            assert isinstance(self.model, GNN)
            inner = self.model.chunked(inner, size)
        return inner, options, edge_of_arc

    def forward(self, arguments: tuple[Any, ...], options: dict[str, Tensor], edge_of_arc: Tensor) -> Tensor:
        """Logits under the masks, float [nodes, classes]; ``edge_of_arc`` int64 [arcs other than self-loops]."""
        self._arcs = self.edges[edge_of_arc]
        if self._fast:
            x, graph = arguments
            masked_graph = graph.of(self._arcs) if isinstance(graph, Chunked) else graph(self._arcs)
            arguments = (x, masked_graph)
        masked = {
            name: self.model.get_parameter(name) * (mask * kept)
            for name, mask, kept in zip(self.names, self.weights, self._kept, strict=True)
        }
        places = {place: masked[name] for place, name in self._places}
        logits: Tensor = functional_call(self.model, places, arguments, options, tie_weights=False)
        return logits


class Sparsifying(Constraint):
    """l1 on the masks of a :class:`SoftMasked` by subgradient, and edge masks kept at 0 or above.

    After every backward pass sign(m) * l1 is added to the gradient of every mask (Chen et al., ICML 2021).

    Args:
        soft: whose masks.
        optimizer: that trains them.
        edge_l1, weight_l1: weights of the penalty.
        edge_max: edge masks are kept at or below it, if given.
    """

    def __init__(
        self,
        soft: SoftMasked,
        optimizer: Optimizer,
        edge_l1: float = 0.0,
        weight_l1: float = 0.0,
        edge_max: float | None = None,
    ) -> None:
        super().__init__(optimizer, {}, 0)
        self.soft, self.edge_max = soft, edge_max
        masks = [(soft.edges, edge_l1), *((mask, weight_l1) for mask in soft.weights)]
        self._l1 = [(mask, l1) for mask, l1 in masks if l1]
        self._before = optimizer.register_step_pre_hook(lambda *_: self.pull())

    def pull(self) -> None:
        """Add the penalty's gradient, before a step."""
        for mask, l1 in self._l1:
            if mask.grad is not None:
                mask.grad.add_(mask.detach().sign(), alpha=l1)

    @torch.no_grad()
    def apply(self) -> None:
        """Edge masks are weights of a graph: not negative."""
        self.soft.edges.clamp_(min=0.0, max=self.edge_max)

    def remove(self) -> None:
        super().remove()
        self._before.remove()


def _kept_graph(data: Data, edges: PrunableEdges, edge_keep: Tensor) -> tuple[Data, Tensor]:
    """The graph of the kept edges, self-loops moved to the end, and the place of each other arc's edge among them."""
    keep = edges.to_arcs(edge_keep)
    edge = edges.edge_of_arc[keep]
    loops = edge < 0
    place = torch.cumsum(edge_keep, 0) - 1
    return _loops_last(remove_arcs(data, keep), loops), place[edge[~loops]]


def _loops_last(data: Data, loops: Tensor) -> Data:
    """The data with the arcs where ``loops`` (bool [arcs]) is True moved to the end, in order."""
    if not bool(loops.any()):
        return data
    data, order = copy.copy(data), torch.argsort(loops.int(), stable=True)
    for key in data.keys():  # noqa: SIM118 - not a mapping
        if data.is_edge_attr(key) and isinstance(data[key], Tensor):
            data[key] = data[key].index_select(int(data.__cat_dim__(key, data[key])), order)
    return data
