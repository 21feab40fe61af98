"""Training losses: cross-entropy on the labelled nodes, and distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError
from glt.tasks import divergence, is_multilabel, log_probabilities, supervised

Loss = Callable[..., Tensor]
"""``loss(logits)``, the logits of all nodes, [nodes, classes]; of a batch ``loss(logits, nodes)``, those of some.

``nodes``: int64 [n], which nodes of the whole graph the rows of the logits [n, classes] are.
"""
DistilNodes = Literal["all", "held_out"]


def cross_entropy(data: Data) -> Loss:
    """:func:`glt.tasks.supervised` over ``data.train_mask``; a function of the logits [nodes, outputs].

    Of a batch the mean is over its own training nodes, and 0 where it has none.
    """
    index = data.train_mask.nonzero().squeeze(1)
    labels = data.y[index]

    def loss(logits: Tensor, nodes: Tensor | None = None) -> Tensor:
        if nodes is None:
            return supervised(logits[index], labels)
        rows = data.train_mask[nodes].nonzero().squeeze(1)
        if not rows.numel():
            return logits[rows].sum()  # of no number: 0, with a gradient of 0
        return supervised(logits[rows], data.y[nodes[rows]])

    return loss


def distilled(data: Data, teacher: Tensor, weight: float, temperature: float, nodes: DistilNodes) -> Loss:
    r"""Cross-entropy plus ``weight`` times KL(softmax(teacher / t) || softmax(student / t)) * t^2.

    The divergence is averaged over the nodes that it looks at (Seo et al., ICLR 2024, with t = 1;
    Hinton et al. 2015 for the temperature). Of several yes-or-no tasks it is that of Bernoulli variables of
    sigmoid(teacher / t) and sigmoid(student / t), averaged over nodes and tasks, as the cross-entropy is.

    Args:
        data: labels and masks.
        teacher: logits, float [nodes, outputs].
        weight: lambda of the paper.
        temperature: t > 0.
        nodes: ``"all"`` as published: the teacher's outputs on validation and test nodes reach the student;
            ``"held_out"``: they are withheld.
    """
    labels, multilabel = cross_entropy(data), is_multilabel(data.y)
    allowed = None if nodes == "all" else ~(data.val_mask | data.test_mask)
    index = None if allowed is None else allowed.nonzero().squeeze(1)
    if index is not None and index.numel() == 0:
        raise GltError("distil = 'held_out' leaves no node: every node is in the validation or test set")

    def predicted(logits: Tensor) -> Tensor:
        return log_probabilities(logits / temperature, multilabel)

    target = predicted(teacher if index is None else teacher[index])

    def loss(logits: Tensor, nodes: Tensor | None = None) -> Tensor:
        if nodes is None:
            taught = divergence(predicted(logits if index is None else logits[index]), target)
            return labels(logits) + weight * temperature**2 * taught
        known = torch.ones_like(nodes, dtype=torch.bool) if allowed is None else allowed[nodes]
        rows = known.nonzero().squeeze(1)
        if not rows.numel():
            return labels(logits, nodes)
        taught = divergence(predicted(logits[rows]), predicted(teacher[nodes[rows]]))
        return labels(logits, nodes) + weight * temperature**2 * taught

    return loss
