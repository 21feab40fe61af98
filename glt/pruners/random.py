"""The honest baseline."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from glt.groups import Pool
from glt.pruners.base import Grouping, Pruning
from glt.registry import register


@register("pruners", "random")
class Random(Grouping):
    """A random number per weight: what any other score has to beat."""

    pool: ClassVar[Pool] = "first"

    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of the numbers, beside the run's own")] = 0

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """float64 in [0, 1), of (this seed, the run's seed, the weight matrix's place): 53 bits of numpy's Philox."""
        scores = {}
        for i, (name, weight) in enumerate(state.weights().items()):
            bits = np.random.Philox(np.random.SeedSequence([self.seed, state.seed, i])).random_raw(weight.numel())
            numbers = torch.from_numpy((bits >> np.uint64(11)) / 2**53)
            scores[name] = numbers.view(weight.shape).to(weight.device)
        return scores
