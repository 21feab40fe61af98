"""The honest baseline."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.registry import register


@register("scorers", "random")
class Random:
    """A random number per edge, the same for both arcs: what any other score has to beat."""

    symmetric: ClassVar[bool] = True
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of the numbers")] = 0

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs] in [0, 1); the model is not used.

        The number is a hash of (seed, u, v), so it does not depend on the order of the arcs (SplitMix64's
        finaliser; Steele, Lea and Flood, OOPSLA 2014).
        """
        source, target = data.edge_index.cpu().numpy().astype(np.uint64)
        low, high = np.minimum(source, target), np.maximum(source, target)
        if not getattr(data, "undirected", True):
            low, high = source, target
        key = _mix(_mix(low + _mix(np.array([self.seed + 1], dtype=np.uint64))) ^ high)
        return torch.from_numpy((key >> np.uint64(40)).astype(np.float32) / 2**24).to(data.edge_index.device)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
