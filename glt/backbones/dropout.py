"""Dropout whose coin flips cost a fraction of torch's on CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Inverted dropout, as ``torch.nn.functional.dropout`` does it.

    torch draws one random number of its CPU generator per element. Here every 64-bit draw serves eight elements, 8
    bits each, where p is a multiple of 2^-8, and four otherwise, with p rounded to 2^-16. They are numpy's, seeded
    by one draw of torch's global generator, so ``torch.manual_seed`` governs them.

    Args:
        x: float, any shape.
        p: probability of a zero, in [0, 1).
        training: False returns ``x``.
    """
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return torch.nn.functional.dropout(x, p, training)
    bits, dtype = (8, torch.int8) if (p * 2**8).is_integer() else (16, torch.int16)
    values = 2**bits
    dropped = min(round(p * values), values - 1)
    kept = (_draws(x.numel() * bits // 64 + 1).view(dtype)[: x.numel()] >= dropped - values // 2).view(x.shape)
    return x * kept.to(x.dtype).mul_(values / (values - dropped))


def _draws(count: int) -> Tensor:
    """``count`` random numbers of 64 bits, int64 [count]."""
    random = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    return torch.from_numpy(random.integers(-(2**63), 2**63, count, dtype=np.int64))
