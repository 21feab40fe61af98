"""torch's ``@``."""

from __future__ import annotations

from torch import Tensor

from glt.kernels.base import Kernel
from glt.registry import register


@register("kernels", "matmul")
class Matmul(Kernel):
    """torch's sparse CSR ``@``: MKL on CPU, cuSPARSE on CUDA, which does not promise equal bits."""

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        return matrix @ dense
