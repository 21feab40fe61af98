"""How much the loss would change with an edge's weight."""

from __future__ import annotations

import inspect
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.forward import logits_of
from glt.losses import cross_entropy
from glt.registry import register
from glt.scorers.trained import by_source, call, required


@register("scorers", "gradient")
class Gradient:
    """Size of the loss's gradient by an edge's mask at 1 (SNIP's score of connections; Lee et al., ICLR 2019).

    The mask multiplies the weights of both arcs of an edge; the loss is the cross-entropy of the training nodes, in
    evaluation mode. Edges that reach no training node have 0.
    """

    symmetric: ClassVar[bool] = True
    needs_model: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float [arcs], non-negative, of the model's dtype; 0 for self-loops.

        Args:
            data: a graph with x, y and train_mask.
            model: a trained model whose ``forward`` takes ``edge_weight``, such as the built-in GCN. Not modified.

        Raises:
            GltError: there is no model, no labels, or the model makes no use of ``edge_weight``.

        Cost: one forward and backward pass. The same bits for any order of the arcs on the CPU.
        """
        model = required(model, "gradient")
        if missing := [key for key in ("x", "y", "train_mask") if data.get(key) is None]:
            raise GltError(f"scorer 'gradient' needs data.{missing[0]}: it differentiates the training loss")
        data, order = by_source(data)
        edges = PrunableEdges.of(data.edge_index, int(data.num_nodes), getattr(data, "undirected", True))
        gradient = logits_of(model, lambda: _gradient(model, data, edges))
        scores = torch.empty(order.numel(), dtype=gradient.dtype, device=gradient.device)
        scores[order] = torch.cat([gradient.abs(), gradient.new_zeros(1)])[edges.edge_of_arc]
        return scores


def _gradient(model: nn.Module, data: Data, edges: PrunableEdges) -> Tensor:
    """Gradient of the loss by one mask per edge, at 1: float [edges]."""
    with torch.enable_grad():
        mask = torch.ones(edges.num_edges, dtype=data.x.dtype, device=data.x.device, requires_grad=True)
        weight = torch.cat([mask, mask.new_ones(1)])[edges.edge_of_arc]
        data.edge_weight = weight if data.get("edge_weight") is None else weight * data.edge_weight
        loss, gradient = None, None
        if "edge_weight" in inspect.signature(model.forward).parameters:
            loss = cross_entropy(data)(call(model, data))
        if loss is not None and loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, mask, allow_unused=True)
    if gradient is None:
        raise GltError(
            f"scorer 'gradient' needs a model that uses edge_weight, such as GCN: {type(model).__name__} does not; its "
            "edges would need soft masks"
        )
    return gradient
