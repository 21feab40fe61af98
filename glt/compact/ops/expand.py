"""Channels picked, and constants among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.checks import need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Step, dense


class Expand(Step):
    """A row of constants for every node, with channels ``take`` of the input written to ``put``."""

    kind = "expand"
    row: Tensor

    def check(self, widths: Sequence[int], operators: int) -> None:
        need(self._has("row", self.width) and len(widths) <= 1, f"expand has no row, or reads {list(widths)}")
        if widths:
            taken, put = self._places("take", widths[0]), self._places("put", self.width)
            some = "take" in self._buffers or "put" in self._buffers
            need(some and taken == put, f"expand takes {taken} channels and puts {put}")

    def run(self, graph: Prepared, *values: Any) -> Any:
        if values and "put" not in self._buffers:
            return dense(values[0]).index_select(1, self.get_buffer("take"))
        full = self.row.expand(graph.rows, -1)
        if not values:
            return full.clone(memory_format=torch.contiguous_format)  # which a reader may write into
        x = dense(values[0])
        x = x.index_select(1, self.get_buffer("take")) if "take" in self._buffers else x
        return full.index_copy(1, self.get_buffer("put"), x)
