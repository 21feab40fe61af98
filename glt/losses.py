"""Training losses: cross-entropy on the labelled nodes, and distillation from a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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

    target = log_probabilities((teacher if index is None else teacher[index]) / temperature, multilabel)
    return Distilled(data, labels, teacher, target, weight, temperature, allowed, index, multilabel)


@dataclass(frozen=True, eq=False)
class Distilled:
    """What :func:`distilled` returns.

    Attributes:
        data: labels and masks.
        labels: the cross-entropy.
        teacher: logits, float [nodes, outputs].
        target: what the teacher predicts on the nodes of ``index``.
        weight, temperature: as given.
        allowed: bool [nodes], where the teacher is looked at; None is everywhere.
        index: those nodes, int64 [n]; None is all.
        multilabel: whether the labels are of several tasks.
    """

    data: Data
    labels: Loss
    teacher: Tensor
    target: Tensor
    weight: float
    temperature: float
    allowed: Tensor | None
    index: Tensor | None
    multilabel: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """Losses of one kind differ in their teachers alone."""
        everywhere = self.allowed is None
        return self.weight, self.temperature, everywhere, *(id(self.data[key]) for key in ("y", "train_mask"))

    def __call__(self, logits: Tensor, nodes: Tensor | None = None) -> Tensor:
        """A :data:`Loss`."""
        if nodes is None:
            return self.of(logits, self.target)
        known = torch.ones_like(nodes, dtype=torch.bool) if self.allowed is None else self.allowed[nodes]
        rows = known.nonzero().squeeze(1)
        if not rows.numel():
            return self.labels(logits, nodes)
        taught = divergence(self._predicted(logits[rows]), self._predicted(self.teacher[nodes[rows]]))
        return self.labels(logits, nodes) + self.weight * self.temperature**2 * taught

    def of(self, logits: Tensor, target: Tensor, divergence: Callable[[Tensor, Tensor], Tensor] = divergence) -> Tensor:
        """The loss of all nodes' logits, taught by ``target``."""
        taught = divergence(self._predicted(logits if self.index is None else logits[self.index]), target)
        return self.labels(logits) + self.weight * self.temperature**2 * taught

    def _predicted(self, logits: Tensor) -> Tensor:
        return log_probabilities(logits / self.temperature, self.multilabel)


def side_by_side(losses: Sequence[Loss | None], data: Data) -> Callable[[Tensor], Tensor]:
    """The losses of several models as a function of their logits, [nodes, models, outputs]: float [models].

    Those of cross-entropy (None), and those of one weight of distillation by any teachers, are computed at once; each
    other one by itself. Their graphs have the same labels and masks.
    """
    groups: dict[object, list[int]] = {}
    for t, loss in enumerate(losses):
        groups.setdefault("labels" if loss is None else loss.kind if isinstance(loss, Distilled) else t, []).append(t)
    order = torch.tensor([t for group in groups.values() for t in group], device=data.y.device)
    back, sorted_already = order.argsort(), list(groups.values()) == [list(range(len(losses)))]
    parts = [(len(group), _at_once([losses[t] for t in group], data)) for group in groups.values()]

    def values(logits: Tensor) -> Tensor:
        if sorted_already:
            return parts[0][1](logits)
        pieces = logits[:, order].split([count for count, _ in parts], dim=1)
        return torch.cat([part(piece) for (_, part), piece in zip(parts, pieces, strict=True)])[back]

    return values


def _at_once(losses: Sequence[Loss | None], data: Data) -> Callable[[Tensor], Tensor]:
    """The losses of one group of :func:`side_by_side`."""
    first = losses[0]
    if first is None:
        labels: Callable[[Tensor], Tensor] = torch.vmap(cross_entropy(data), in_dims=1)
        return labels
    if not isinstance(first, Distilled):
        return lambda logits: first(logits[:, 0]).view(1)
    targets = torch.stack([loss.target for loss in losses if isinstance(loss, Distilled)])
    taught = torch.vmap(partial(first.of, divergence=_divergence), in_dims=(1, 0))
    return lambda logits: taught(logits, targets)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """:func:`glt.tasks.divergence` in operations that vmap knows."""
    return (teacher.exp() * (teacher - student)).sum() / student.size(0)
