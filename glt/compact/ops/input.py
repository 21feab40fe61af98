"""The features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step


class Input(Step):
    """The node features, of which ``columns`` are read."""

    kind = "input"

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        columns = self.get_buffer("columns") if "columns" in self._buffers else torch.arange(self.width)
        return Input((), int(kept.sum()), self.name, {"columns": columns[kept]})

    def run(self, graph: Prepared, *values: Any) -> Any:
        return values[0]
