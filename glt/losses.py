"""Training losses: cross-entropy on the labelled nodes, and distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError

Loss = Callable[..., Tensor]
"""``loss(logits)``, the logits of all nodes, [nodes, classes]; of a batch ``loss(logits, nodes)``, those of some.

``nodes``: int64 [n], which nodes of the whole graph the rows of the logits [n, classes] are.
"""
DistilNodes = Literal["all", "held_out"]


def cross_entropy(data: Data) -> Loss:
    """Mean cross-entropy over ``data.train_mask``; a function of the logits [nodes, classes].

    Of a batch the mean is over its own training nodes, and 0 where it has none.
    """
    index = data.train_mask.nonzero().squeeze(1)
    labels = data.y[index]

    def loss(logits: Tensor, nodes: Tensor | None = None) -> Tensor:
        if nodes is None:
            return F.cross_entropy(logits[index], labels)
        rows = data.train_mask[nodes].nonzero().squeeze(1)
        if not rows.numel():
            return logits[rows].sum()  # of no number: 0, with a gradient of 0
        return F.cross_entropy(logits[rows], data.y[nodes[rows]])

    return loss


def distilled(data: Data, teacher: Tensor, weight: float, temperature: float, nodes: DistilNodes) -> Loss:
    r"""Cross-entropy plus ``weight`` times KL(softmax(teacher / t) || softmax(student / t)) * t^2.

    The divergence is averaged over the nodes that it looks at (Seo et al., ICLR 2024, with t = 1;
    Hinton et al. 2015 for the temperature).

    Args:
        data: labels and masks.
        teacher: logits, float [nodes, classes].
        weight: lambda of the paper.
        temperature: t > 0.
        nodes: ``"all"`` as published: the teacher's outputs on validation and test nodes reach the student;
            ``"held_out"``: they are withheld.
    """
    supervised = cross_entropy(data)
    allowed = None if nodes == "all" else ~(data.val_mask | data.test_mask)
    index = None if allowed is None else allowed.nonzero().squeeze(1)
    if index is not None and index.numel() == 0:
        raise GltError("distil = 'held_out' leaves no node: every node is in the validation or test set")
    target = torch.log_softmax((teacher if index is None else teacher[index]) / temperature, dim=-1)

    def divergence(logits: Tensor, target: Tensor) -> Tensor:
        student = torch.log_softmax(logits / temperature, dim=-1)
        return F.kl_div(student, target, reduction="batchmean", log_target=True)

    def loss(logits: Tensor, nodes: Tensor | None = None) -> Tensor:
        if nodes is None:
            taught = divergence(logits if index is None else logits[index], target)
            return supervised(logits) + weight * temperature**2 * taught
        rows = (
            torch.arange(nodes.numel(), device=nodes.device) if allowed is None else allowed[nodes].nonzero().squeeze(1)
        )
        if not rows.numel():
            return supervised(logits, nodes)
        taught = divergence(logits[rows], torch.log_softmax(teacher[nodes[rows]] / temperature, dim=-1))
        return supervised(logits, nodes) + weight * temperature**2 * taught

    return loss
