"""Weights times the size of what they are multiplied with."""

from __future__ import annotations

from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor, nn

from glt.constraints import prunable_weights
from glt.errors import GltError
from glt.pruners.base import Pruning
from glt.registry import register


@register("pruners", "wanda")
class Wanda:
    """Absolute weight times the norm of its input over all nodes (Sun et al., "Wanda", ICLR 2024).

    The input is what the linear layer sees in PyG's own layers: features where a convolution transforms before it
    aggregates (GCN, GAT), aggregated neighbours where it does so after (GIN, SAGE). The paper compares within a
    row of a weight matrix; here the allocation says who competes with whom. A weight without a linear layer has no
    such input and no number on the same scale: an error, not a guess.
    """

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """|W_ij| * ||x_j||_2, float64; one forward pass.

        Raises:
            GltError: a weight does not belong to a linear layer that is called.
        """
        owners: dict[int, list[nn.Module]] = {}
        for module in state.model.modules():
            if isinstance(module, (nn.Linear, torch_geometric.nn.Linear)):
                owners.setdefault(id(module.weight), []).append(module)
        squares: dict[nn.Module, Tensor] = {}

        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = (args or tuple(kwargs.values()))[0].flatten(0, -2)
            square = torch.linalg.vector_norm(x, dim=0, dtype=torch.float64).square()
            squares[module] = squares[module] + square if module in squares else square

        weights, scores = state.weights(), {}
        handles = [m.register_forward_pre_hook(see, with_kwargs=True) for group in owners.values() for m in group]
        try:
            with torch.no_grad():
                state.logits(weights, plain=True)
        finally:
            for handle in handles:
                handle.remove()
        for name, parameter in prunable_weights(state.model).items():
            seen = [squares[module] for module in owners.get(id(parameter), ()) if module in squares]
            if not seen:
                raise GltError(
                    f"wanda needs the input of every weight, and {name!r} is not the weight of a linear layer that the "
                    "model calls; use magnitude or taylor"
                )
            scores[name] = weights[name].double().abs() * torch.stack(seen).sum(0).sqrt()
        return scores
