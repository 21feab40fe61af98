"""The features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.checks import need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step


class Input(Step):
    """The node features, of which ``columns`` are read."""

    kind = "input"

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        columns = self.get_buffer("columns") if "columns" in self._buffers else torch.arange(self.width)
        return Input((), int(kept.sum()), self.name, {"columns": columns[kept]})

    def check(self, widths: Sequence[int], operators: int) -> None:
        need(not widths and "columns" in self._buffers, "the features are an input without columns")
        need(self.get_buffer("columns").shape == (self.width,), f"not {self.width} columns of the features are read")

    def run(self, graph: Prepared, *values: Any) -> Any:
        return values[0]
