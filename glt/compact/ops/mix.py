"""Functions of all channels of a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact.checks import is_number, need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense

SOFTMAXES = {"log_softmax": torch.log_softmax, "softmax": torch.softmax}


class Mix(Step):
    """A function of all channels of a node: ``log_softmax``, ``softmax``, ``layer_norm``."""

    kind = "mix"

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        return [torch.ones(self.width, dtype=torch.bool)]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        return self.again([sources[0].fit(torch.ones(self.width, dtype=torch.bool))])

    def check(self, widths: Sequence[int], operators: int) -> None:
        super().check(widths, operators)
        name = self.options.get("function")
        need(name in (*SOFTMAXES, "layer_norm"), f"there is no mix {name!r}")
        need(name != "layer_norm" or is_number(self.options.get("eps")), "layer_norm has no eps")
        self._has("weight", self.width)
        self._has("bias", self.width)

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.options["function"] == "layer_norm":
            weight, bias = self._buffers.get("weight"), self._buffers.get("bias")
            return F.layer_norm(x, (self.width,), weight, bias, self.options["eps"])
        return SOFTMAXES[self.options["function"]](x, dim=-1)
