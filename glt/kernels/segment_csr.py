"""torch-scatter's sum over CSR segments."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from glt.kernels.base import Kernel, messages
from glt.registry import register


@register("kernels", "segment_csr")
class SegmentCSR(Kernel):
    """torch-scatter's ``segment_csr`` over gathered messages, [entries, k] floats; no atomic sums."""

    deterministic: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    requires: ClassVar[str] = "torch_scatter"

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        from torch_scatter import segment_csr

        return segment_csr(messages(matrix, dense), matrix.crow_indices(), reduce="sum")
