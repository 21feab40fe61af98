"""torch's ``index_add``."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from glt.kernels.base import Kernel, messages, rows_of
from glt.registry import register


@register("kernels", "index_add")
class IndexAdd(Kernel):
    """torch's ``index_add`` of gathered messages, [entries, k] floats; atomic sums on CUDA.

    In torch's deterministic mode it is the sorted sum there, which gives the same bits every time.
    """

    deterministic: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        out = dense.new_zeros(matrix.size(0), dense.size(1))
        return out.index_add_(0, rows_of(matrix), messages(matrix, dense))
