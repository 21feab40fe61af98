"""What counts as the same logits."""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 1e-5
ROUNDINGS = 8.0
"""Of dtypes that are coarser than that: so many times their smallest step at 1."""


def tolerance(dtype: torch.dtype) -> float:
    """Largest :func:`difference` that is rounding: 1e-5, in half precision 8e-3, in bfloat16 6e-2."""
    return max(TOLERANCE, ROUNDINGS * torch.finfo(dtype).eps)


def difference(logits: Tensor, reference: Tensor) -> float:
    """Largest absolute difference, divided by the largest logit."""
    if not reference.numel():
        return 0.0
    return float((logits - reference).abs().max()) / max(float(reference.abs().max()), 1e-30)
