"""How much the loss would change with an edge's mask."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.forward import Forward
from glt.losses import cross_entropy
from glt.maskable import check_soft_masks
from glt.masks import SoftMasked
from glt.registry import register
from glt.scorers.trained import by_source, required


@register("scorers", "gradient")
class Gradient:
    """Size of the loss's gradient by an edge's mask at 1 (SNIP's score of connections; Lee et al., ICLR 2019).

    One mask for both arcs of an edge, 0 of which is the graph without it (:class:`glt.masks.SoftMasked`); the loss is
    the cross-entropy of the training nodes, in evaluation mode, on the whole graph also where training is in batches.
    Edges that reach no training node have 0.
    """

    symmetric: ClassVar[bool] = True
    needs_model: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs], non-negative; 0 for self-loops.

        Args:
            data: a graph with x, y and train_mask.
            model: a trained model; not modified.

        Raises:
            GltError: there is no model, there are no labels, or the model cannot be soft-masked or makes no use of
                edges.

        Cost: a few forward passes and a backward one. The same bits for any order of the arcs on the CPU.
        """
        model = required(model, "gradient")
        if missing := [key for key in ("x", "y", "train_mask") if data.get(key) is None]:
            raise GltError(f"scorer 'gradient' needs data.{missing[0]}: it differentiates the training loss")
        data, order = by_source(data)
        edges = PrunableEdges.of(data.edge_index, int(data.num_nodes), getattr(data, "undirected", True))
        size = _gradient(model, data, edges).abs().float()
        scores = torch.empty(order.numel(), device=size.device)
        scores[order] = torch.cat([size, size.new_zeros(1)])[edges.edge_of_arc]
        return scores


def _gradient(model: nn.Module, data: Data, edges: PrunableEdges) -> Tensor:
    """Gradient of the loss by every edge's mask, at 1: float [edges]."""
    check_soft_masks(model, data, edges)
    everything = torch.ones(edges.num_edges, dtype=torch.bool)
    soft = SoftMasked(model, data, edges, everything, {}).eval()
    with torch.no_grad():
        soft.edges.fill_(1)
    with torch.enable_grad():
        loss = cross_entropy(data)(Forward(soft, data)())
        (gradient,) = torch.autograd.grad(loss, soft.edges, allow_unused=True)
    if gradient is None:
        raise GltError(f"scorer 'gradient' needs a model that uses the graph's edges: {type(model).__name__} does not")
    return gradient
