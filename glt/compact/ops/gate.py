"""A gate between two values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.checks import need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Gate(Step):
    """sigmoid(g) a + (1 - sigmoid(g)) b for g [nodes, 1], a and b [nodes, width]."""

    kind = "gate"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[1] == known[2], known[1], float("nan"))

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        return [kept.any().view(1), kept, kept]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        inputs = [source.fit(need) for source, need in zip(sources, self.needs(kept, []), strict=True)]
        return self.again(inputs, width=int(kept.sum()))

    def check(self, widths: Sequence[int], operators: int) -> None:
        need(list(widths) == [1, self.width, self.width], f"gate {self.width} wide reads {list(widths)}")

    def run(self, graph: Prepared, *values: Any) -> Any:
        gate, one, other = map(dense, values)
        return torch.lerp(other, one, gate.sigmoid())
