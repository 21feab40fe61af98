"""Intervals of means over few seeds: bootstraps that are as wide as so few values make them."""

from __future__ import annotations

import math

import numpy as np

RESAMPLES = 10_000


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of ``values`` float [n], n >= 1; deterministic.

    The percentile bootstrap, widened about the mean as few values need it (after T. Hesterberg, "What Teachers Should
    Know About the Bootstrap", The American Statistician 2015): of 3, 5 and 10 values the plain one covers the mean of a
    normal law 76, 85 and 91 times in 100. Of one value: that value, which says nothing. O(n).
    """
    low, high = _percentiles(values, 0.025, 0.975)
    return low, high


def lower_bound(values: np.ndarray) -> float:
    """Lower one-sided 95 % bound of the mean of ``values`` float [n], n >= 1, likewise widened."""
    (bound,) = _percentiles(values, 0.05)
    return bound


def _percentiles(values: np.ndarray, *chances: float) -> list[float]:
    n, mean = len(values), float(values.mean())
    draws = np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))
    found = np.percentile(values[draws].mean(axis=1), [100 * chance for chance in chances])
    return [mean + (float(x) - mean) * _widening(n, chance) for x, chance in zip(found, chances, strict=True)]


def _widening(n: int, chance: float) -> float:
    """What Student's law asks for over the normal one, times what the bootstrap loses by dividing by n."""
    from scipy.stats import norm, t  # takes long to import

    return float(t.ppf(chance, n - 1) / norm.ppf(chance)) * math.sqrt(n / (n - 1)) if n > 1 else 1.0
