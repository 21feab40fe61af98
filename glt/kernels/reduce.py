"""torch's own reduction over CSR rows."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from glt.kernels.base import Kernel
from glt.registry import register


@register("kernels", "reduce")
class Reduce(Kernel):
    """``torch.sparse.mm`` with a reduction: torch's vectorised loop over CSR rows, CPU alone."""

    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        return torch.sparse.mm(matrix, dense.contiguous(), "sum")
