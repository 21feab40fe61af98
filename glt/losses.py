"""Training losses: cross-entropy on the labelled nodes, and distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError

Loss = Callable[[Tensor], Tensor]
DistilNodes = Literal["all", "held_out"]


def cross_entropy(data: Data) -> Loss:
    """Mean cross-entropy over ``data.train_mask``; a function of the logits [nodes, classes]."""
    index = data.train_mask.nonzero().squeeze(1)
    labels = data.y[index]
    return lambda logits: F.cross_entropy(logits[index], labels)


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
    index = None if nodes == "all" else (~(data.val_mask | data.test_mask)).nonzero().squeeze(1)
    if index is not None and index.numel() == 0:
        raise GltError("distil = 'held_out' leaves no node: every node is in the validation or test set")
    target = torch.log_softmax((teacher if index is None else teacher[index]) / temperature, dim=-1)

    def loss(logits: Tensor) -> Tensor:
        student = torch.log_softmax((logits if index is None else logits[index]) / temperature, dim=-1)
        divergence = F.kl_div(student, target, reduction="batchmean", log_target=True)
        return supervised(logits) + weight * temperature**2 * divergence

    return loss
