"""Picking items: numpy's single pass is several times faster on CPU than torch's indexing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def where(mask: Tensor) -> Tensor:
    """Positions of True in ``mask`` (bool [n]): int64, ascending."""
    if mask.device.type != "cpu":
        return mask.nonzero().squeeze(1)
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def take(values: Tensor, index: Tensor, dim: int = 0) -> Tensor:
    """``values.index_select(dim, index)``, outside autograd; ``index`` (int64) must be in range."""
    values = values.detach()
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:
        return values.index_select(dim, index)
    return torch.from_numpy(np.take(values.numpy(), index.numpy(), axis=dim, mode="clip"))
