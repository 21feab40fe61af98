"""A product with the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Step, dense


class Propagate(Step):
    """A x, where A is operator number ``graph``."""

    kind = "propagate"
    work = "propagation"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[0] == 0, 0.0, float("nan"))

    def macs(self, graph: Prepared, x: Any = None) -> int:
        return graph.operators[self.options["graph"]].entries * self.width

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = values[0]
        return graph.multiply(graph.operators[self.options["graph"]], dense(x))
