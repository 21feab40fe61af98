"""torch-scatter's scatter sum."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from glt.kernels.base import Kernel, messages, rows_of
from glt.registry import register


@register("kernels", "scatter")
class Scatter(Kernel):
    """torch-scatter's ``scatter`` of gathered messages, [entries, k] floats; PyG's usual aggregation."""

    requires: ClassVar[str] = "torch_scatter"

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        from torch_scatter import scatter

        return scatter(messages(matrix, dense), rows_of(matrix), dim=0, dim_size=matrix.size(0), reduce="sum")
