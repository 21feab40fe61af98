"""Channels picked, and constants among them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Step, dense


class Expand(Step):
    """A row of constants for every node, with channels ``take`` of the input written to ``put``."""

    kind = "expand"
    row: Tensor

    def run(self, graph: Prepared, *values: Any) -> Any:
        if values and "put" not in self._buffers:
            return dense(values[0]).index_select(1, self.get_buffer("take"))
        full = self.row.expand(graph.rows, -1)
        if not values:
            return full.contiguous()
        x = dense(values[0])
        x = x.index_select(1, self.get_buffer("take")) if "take" in self._buffers else x
        return full.index_copy(1, self.get_buffer("put"), x)
