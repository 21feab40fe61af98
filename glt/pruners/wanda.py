"""Weights times the size of what they are multiplied with."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from glt.errors import GltError
from glt.groups import Pool
from glt.pruners.base import Grouping, Pruning
from glt.registry import register


@register("pruners", "wanda")
class Wanda(Grouping):
    """Absolute weight times the norm of its input over all nodes (Sun et al., "Wanda", ICLR 2024).

    The input is what the linear map sees in PyG's own layers: features where a convolution transforms before it
    aggregates (GCN, GAT), aggregated neighbours where it does so after (GIN, SAGE). The paper compares within a
    row of a weight matrix; here the allocation says who competes with whom. A weight that is not of a linear map has
    no such input and no number on the same scale: an error, not a guess.
    """

    pool: ClassVar[Pool] = "rms"

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """|W_ij| * ||x_j||_2, float64; one forward pass.

        Raises:
            GltError: a weight is not of a linear layer, or of one that the model does not call.
        """
        weights = state.weights()
        with torch.no_grad(), _Inputs(weights) as inputs:
            state.logits(weights, plain=True)
        if missing := [name for name in weights if name not in inputs.squares]:
            raise GltError(
                f"wanda needs the input of every weight, and {missing[0]!r} is not the weight of a linear layer that "
                "the model calls; use magnitude or taylor"
            )
        return {name: weight.double().abs() * inputs.squares[name].sqrt() for name, weight in weights.items()}


class _Inputs(TorchFunctionMode):
    """Sums of squares of what is multiplied with each weight: layers may be called past their hooks (TAGConv)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(weight): name for name, weight in weights.items()}
        self.squares: dict[str, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.linear and len(args) > 1 and (name := self.names.get(id(args[1]))):
            norm = torch.linalg.vector_norm(args[0].flatten(0, -2), dim=0, dtype=torch.float64)
            self.squares[name] = self.squares.get(name, 0) + norm.square()
        return func(*args, **(kwargs or {}))
