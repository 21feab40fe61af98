"""torch's ``segment_reduce``."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from glt.kernels.base import Kernel, messages
from glt.registry import register


@register("kernels", "segment_reduce")
class SegmentReduce(Kernel):
    """torch's ``segment_reduce`` over gathered messages, [entries, k] floats; no atomic sums."""

    deterministic: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        if not dense.size(1):
            return dense.new_zeros(matrix.size(0), 0)
        # unsafe: the row pointers are right, and looking at them would wait for the device
        return torch.segment_reduce(
            messages(matrix, dense), "sum", offsets=matrix.crow_indices(), axis=0, initial=0.0, unsafe=True
        )
