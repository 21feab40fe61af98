"""Gradient signal preservation."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from glt.errors import GltError
from glt.pruners.base import Grouping, Pruning, derivative
from glt.registry import register


@register("pruners", "grasp")
class Grasp(Grouping):
    """Weights without which the gradient would shrink (Wang et al., "GraSP", ICLR 2020).

    To first order, taking weight q away changes the squared norm of the gradient g by -2 theta_q (H g)_q. The paper
    prunes where -theta_q (H g)_q is largest; so theta_q (H g)_q, with its sign, is the number to keep.
    """

    temperature: Annotated[float, Field(gt=0, description="logits are divided by it (the authors' code: 200)")] = 200.0

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """Theta * H g, with H and g over the prunable weights alone; a forward and two backward passes.

        Raises:
            GltError: a layer cannot be differentiated twice.
        """
        weights = state.weights()
        with torch.enable_grad():
            leaves = [weight.requires_grad_() for weight in weights.values()]
            loss = state.loss(state.logits(weights, plain=True) / self.temperature)
            try:
                slopes = derivative(loss, leaves, again=True)
                # backward runs into what cannot be differentiated twice, where autograd.grad would take it for zero
                torch.stack([(slope.detach() * slope).sum() for slope in slopes]).sum().backward()
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise GltError(
                    f"grasp needs second derivatives, which {type(state.model).__name__} does not have: {reason}"
                ) from None
        return {
            name: torch.zeros_like(weight) if weight.grad is None else weight.detach() * weight.grad
            for name, weight in weights.items()
        }
