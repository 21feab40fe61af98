"""Which items stay: the one place where scores become a mask, for edges and weights alike."""

from __future__ import annotations

import math
import sys
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from glt.arrays import count, where
from glt.errors import GltError

SAMPLE = 1 << 14
"""Values that are sorted to find out where to look for a quantile."""


def keep_count(total: int, sparsity: float, what: str = "items", least: int = 1) -> int:
    """How many of ``total`` items a sparsity keeps: ``total - round(sparsity * total)``, halves rounded up.

    Args:
        total: number of prunable items, at least 1.
        sparsity: fraction removed, in [0, 1).
        what: plural name of the items, for the error messages.
        least: 0 lets everything go, where the caller says what has to stay.

    Raises:
        GltError: the sparsity is outside [0, 1), there is nothing to prune, or everything would go.
    """
    if not (isinstance(sparsity, Real) and 0.0 <= sparsity < 1.0):
        raise GltError(f"sparsity {sparsity!r} is not in [0, 1): it is the fraction of {what} removed, e.g. 0.4")
    if total < 1:
        raise GltError(f"there are no {what} to prune: the graph or model has none")
    removed = math.floor(float(sparsity) * total + 0.5)
    if total - removed < least:
        largest = math.floor((1.0 - 0.5 / total) * 1e6 - 1) / 1e6
        raise GltError(f"sparsity {sparsity} removes all {total} {what}; use at most {max(largest, 0.0):g}")
    return total - removed


def keep_top(scores: Tensor, keep: int, alive: Tensor | None = None) -> Tensor:
    """Mask of exactly ``keep`` items with the largest scores; among equals the lowest index stays.

    Args:
        scores: [n] float or integer, any device; higher is more worth keeping. Not modified.
        keep: number of items to keep, 0 <= keep <= n (or <= the number alive).
        alive: bool [n]; items outside it are never kept (masks stay nested along a schedule).

    Returns:
        bool [n] with exactly ``keep`` True.

    Raises:
        GltError: scores hold a NaN, or ``keep`` is out of range.

    Cost: O(n) on CPU for float32, O(n log n) otherwise.
    """
    if scores.dim() != 1:
        raise GltError(f"scores must be one number per item, got shape {tuple(scores.shape)}")
    scores = scores.detach()
    if alive is not None:
        if alive.dtype != torch.bool or alive.shape != scores.shape:
            raise GltError(f"alive must be bool [{scores.numel()}], got {alive.dtype} {list(alive.shape)}")
        mask = torch.zeros_like(scores, dtype=torch.bool)
        index = where(alive)
        mask[index[keep_top(scores[index], keep)]] = True
        return mask
    if scores.is_floating_point() and scores.numel() and bool(torch.isnan(scores.max())):
        raise GltError("scores hold NaN: check the features and the model that they were computed from")
    n = scores.numel()
    if not 0 <= keep <= n:
        raise GltError(f"cannot keep {keep} of {n} items")
    if keep in (0, n):
        return torch.full_like(scores, keep == n, dtype=torch.bool)
    threshold = kth_largest(scores, keep)
    mask = scores > threshold
    missing = keep - count(mask)
    mask[where(scores == threshold)[:missing]] = True
    return mask


def keep_top_drawn(scores: Tensor, keep: int, seed: int, alive: Tensor | None = None) -> Tensor:
    """:func:`keep_top` with ties broken by a draw instead of by index, for scores that stop at a bound.

    Args:
        scores: [n]; as of :func:`keep_top`, like the other two.
        keep: number of items to keep.
        seed: of the draw.
        alive: bool [n].
    """
    return keep_top_ordered(scores, keep, drawn_order(scores, seed), alive)


def drawn_order(scores: Tensor, seed: int) -> Tensor:
    """The order of :func:`keep_top_drawn`, for those who need it more than once: int64 [n], on the device of scores."""
    return torch.randperm(scores.numel(), generator=torch.Generator().manual_seed(seed)).to(scores.device)


def keep_top_ordered(scores: Tensor, keep: int, order: Tensor, alive: Tensor | None = None) -> Tensor:
    """:func:`keep_top` where among equals the first of ``order`` (int64 [n], a permutation) stay."""
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask[order] = keep_top(scores[order], keep, None if alive is None else alive[order])
    return mask


def keep_top_unsynced(scores: Tensor, keep: int) -> Tensor:
    """:func:`keep_top` without checks, so that the host need not wait for the device of the scores.

    Args:
        scores: float [n]; with a NaN among them the mask is arbitrary.
        keep: number of items to keep, 1 <= keep <= n.
    """
    threshold = kth_largest(scores, keep)
    above, tied = scores > threshold, scores == threshold
    return above | (tied & (tied.cumsum(0) <= keep - above.sum()))


def kth_largest(scores: Tensor, k: int) -> Tensor:
    """The k-th largest of ``scores`` [n], 0-d, 1 <= k <= n.

    On CPU float32 is selected by counting its upper, then its lower 16 bits: ordered passes, whatever the
    values: partition algorithms slow down where most are equal, as in projected weights.
    A NaN would sort as the largest.
    """
    n = scores.numel()
    if scores.device.type != "cpu":
        return scores.sort().values[n - k]  # kthvalue is refused by torch's deterministic mode
    if scores.dtype == torch.bfloat16:
        scores = scores.float()  # exact, and numpy has no bfloat16
    values = scores.contiguous().numpy()
    if values.dtype == np.float32 and sys.byteorder == "little":
        return torch.as_tensor(_kth_smallest(values, n - k))
    return torch.as_tensor(np.sort(values)[n - k])


def _kth_smallest(values: np.ndarray, k: int) -> np.float32:
    """The k-th smallest, from 0, of float32 values.

    A sample says between which two values it lies, but for a chance of 1 in 10^4; then only those between are
    looked at (Floyd and Rivest 1975).
    """
    n = len(values)
    if (step := n // SAMPLE) >= 16:
        sample = np.sort(values[::step])
        middle, spread = k / n * len(sample), 2 * math.sqrt(len(sample)) + 1
        low = sample[max(int(middle - spread), 0)]
        high = sample[min(int(middle + spread), len(sample) - 1)]
        between = np.flatnonzero((values >= low) & (values <= high))
        below = k - int(np.count_nonzero(values < low))
        if 0 <= below < len(between):
            return low if low == high else _kth_by_counting(values[between], below)
    return _kth_by_counting(values, k)


def _kth_by_counting(values: np.ndarray, k: int) -> np.float32:
    """The same by counting bits, which ascend with the value where the sign is not set."""
    ascending = np.concatenate([np.arange(0xFFFF, 0x7FFF, -1), np.arange(0x8000)])
    upper, lower = values.view(np.uint16)[1::2], values.view(np.uint16)[::2]
    below = np.cumsum(_counts(upper)[ascending])
    bucket = int(np.searchsorted(below, k, side="right"))
    high = int(ascending[bucket])
    rest = k - (int(below[bucket - 1]) if bucket else 0)
    counts = _counts(np.compress(upper == high, lower))
    if high < 0x8000:
        low = int(np.searchsorted(np.cumsum(counts), rest, side="right"))
    else:  # negative: larger bits are smaller values
        low = 0xFFFF - int(np.searchsorted(np.cumsum(counts[::-1]), rest, side="right"))
    return np.uint32(high << 16 | low).view(np.float32)


def _counts(values: np.ndarray) -> np.ndarray:
    """How often each of 2^16 values comes up; in pieces that stay in the cache, since numpy widens what it counts."""
    total = np.zeros(1 << 16, dtype=np.int64)
    for start in range(0, len(values), 1 << 18):
        total += np.bincount(values[start : start + (1 << 18)], minlength=1 << 16)
    return total
