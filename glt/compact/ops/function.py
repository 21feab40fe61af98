"""Activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact.checks import need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Step, dense

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "selu": F.selu,
    "relu6": F.relu6,
    "softplus": F.softplus,
}


class Function(Step):
    """An activation, number by number: ``function`` of :data:`FUNCTIONS` with ``arguments``."""

    kind = "function"
    overwrites = True

    def _call(self, x: Tensor) -> Tensor:
        return FUNCTIONS[self.options["function"]](x, **self.options["arguments"])

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[0].isnan(), float("nan"), self._call(known[0].nan_to_num(0.0)))

    def check(self, widths: Sequence[int], operators: int) -> None:
        super().check(widths, operators)
        need(self.options.get("function") in FUNCTIONS, f"there is no function {self.options.get('function')!r}")
        need("inplace" not in self.options["arguments"], "a function may not be told to overwrite its input")
        self._call(torch.zeros(1))  # which raises where its arguments are none

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.options["function"] == "relu" and self.options.get("inplace"):
            return x.relu_()
        return self._call(x)
