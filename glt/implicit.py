"""The implicit term of a min-max: weights that descend know how the edge masks will answer."""

from __future__ import annotations

import torch
from torch import Tensor

from glt.losses import Loss
from glt.masks import SoftMasked


def answered(loss: Loss, soft: SoftMasked, alpha: float, rate: float) -> Loss:
    r"""``loss``, whose gradient by everything but the edge masks holds what their answer adds.

    Edge masks m answer the weights w by a projected step up, :math:`m^* = P_{[0, 1]}(m + \eta \nabla_m L)`, so
    :math:`\partial m^* / \partial w = \eta \nabla_w \nabla_m L` where the step stays within [0, 1], else 0. Added to
    the gradient by w is :math:`\alpha \nabla_m L \cdot \partial m^* / \partial w` (Hui et al., ICLR 2023), everything
    at the present m and w; value, and gradient by m, stay those of ``loss``.

    Args:
        loss: of the logits [nodes, classes], of a batch with their nodes; it and the model have second derivatives
            (``twice`` of :class:`~glt.masks.SoftMasked`, :func:`glt.wasserstein.apart`).
        soft: the model that the logits are of.
        alpha: weight of the term.
        rate: eta.

    Cost: a product with second derivatives, about two further backward passes; nothing of the size edges x weights.
    """
    weights = [p for name, p in soft.named_parameters() if name != "edges" and p.requires_grad]

    def with_answer(logits: Tensor, *nodes: Tensor) -> Tensor:
        value = loss(logits, *nodes)
        (slope,) = torch.autograd.grad(value, soft.edges, create_graph=True, allow_unused=True)
        if slope is None:  # the edges are not used
            return value
        step = slope.detach()
        moved = soft.edges.detach() + rate * step
        step = step.masked_fill((moved < 0) | (moved > 1), 0.0)
        terms = torch.autograd.grad(slope @ step, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        for weight, term in zip(weights, terms, strict=True):
            value = value + alpha * rate * ((weight - weight.detach()) * term).sum()  # 0, with the gradient wanted
        return value

    return with_answer
