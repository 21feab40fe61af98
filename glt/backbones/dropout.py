"""Dropout whose coin flips cost a fraction of torch's on CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Inverted dropout, as ``torch.nn.functional.dropout`` does it.

    torch draws one random number of its CPU generator per element. Here every 64-bit draw serves four, 16 bits
    each: p is rounded to 2^-16, exact for p = 0.5. The draws come from torch's global generator, so
    ``torch.manual_seed`` governs them.

    Args:
        x: float, any shape.
        p: probability of a zero, in [0, 1).
        training: False returns ``x``.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return torch.nn.functional.dropout(x, p, training)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    dropped = min(round(p * 2**16), 2**16 - 1)  # of 2^16 values of a draw
    kept = (draws.view(torch.int16)[: x.numel()] >= dropped - 2**15).view(x.shape)
    return x * kept.to(x.dtype).mul_(2**16 / (2**16 - dropped))
