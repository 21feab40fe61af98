"""The honest baseline."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.hashing import hash_arcs
from glt.registry import register


@register("scorers", "random")
class Random:
    """A random number per edge, the same for both arcs: what any other score has to beat."""

    symmetric: ClassVar[bool] = True
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of the numbers")] = 0

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs] in [0, 1); the model is not used.

        The number is a hash of (seed, u, v), so it does not depend on the order of the arcs.
        """
        key = hash_arcs(data, self.seed)
        return torch.from_numpy((key >> np.uint64(40)).astype(np.float32) / 2**24).to(data.edge_index.device)
