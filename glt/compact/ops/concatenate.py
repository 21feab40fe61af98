"""Values side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.checks import need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Concatenate(Step):
    """Its inputs' channels one after the other; ``sizes`` of each."""

    kind = "concatenate"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.cat(known)

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        return list(kept.split(self.options["sizes"]))

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        parts = [(source, part) for source, part in zip(sources, self.needs(kept, []), strict=True) if bool(part.any())]
        inputs, sizes = [source.fit(part) for source, part in parts], [int(part.sum()) for _, part in parts]
        return inputs[0] if len(inputs) == 1 else self.again(inputs, width=sum(sizes), sizes=sizes)

    def check(self, widths: Sequence[int], operators: int) -> None:
        fine = list(widths) == self.options.get("sizes") and sum(widths) == self.width
        need(fine, f"concatenate {self.width} wide reads {list(widths)}")

    def run(self, graph: Prepared, *values: Any) -> Any:
        return torch.cat([dense(value) for value in values], dim=1)
