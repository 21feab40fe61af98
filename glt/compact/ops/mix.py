"""Functions of all channels of a node."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Mix(Step):
    """A function of all channels of a node: ``log_softmax``, ``softmax``, ``layer_norm``."""

    kind = "mix"

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        return [torch.ones(self.width, dtype=torch.bool)]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        return self.again([sources[0].fit(torch.ones(self.width, dtype=torch.bool))])

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.options["function"] == "layer_norm":
            weight, bias = self._buffers.get("weight"), self._buffers.get("bias")
            return F.layer_norm(x, (self.width,), weight, bias, self.options["eps"])
        return getattr(torch, self.options["function"])(x, dim=-1)
