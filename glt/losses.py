"""Training losses: cross-entropy on the labelled nodes, and distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError
from glt.tasks import divergence, is_multilabel, log_probabilities, supervised

Loss = Callable[[Tensor], Tensor]
DistilNodes = Literal["all", "held_out"]


def cross_entropy(data: Data) -> Loss:
    """:func:`glt.tasks.supervised` over ``data.train_mask``; a function of the logits [nodes, outputs]."""
    index = data.train_mask.nonzero().squeeze(1)
    labels = data.y[index]
    return lambda logits: supervised(logits[index], labels)


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
    index = None if nodes == "all" else (~(data.val_mask | data.test_mask)).nonzero().squeeze(1)
    if index is not None and index.numel() == 0:
        raise GltError("distil = 'held_out' leaves no node: every node is in the validation or test set")
    target = log_probabilities((teacher if index is None else teacher[index]) / temperature, multilabel)

    def loss(logits: Tensor) -> Tensor:
        student = log_probabilities((logits if index is None else logits[index]) / temperature, multilabel)
        return labels(logits) + weight * temperature**2 * divergence(student, target)

    return loss
