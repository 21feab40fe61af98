"""Numbers that somebody wrote."""

from __future__ import annotations

from typing import Any

LARGEST = 1e15
"""Nothing that is measured here is larger; sums and squares of such numbers are still numbers."""


def number(value: Any) -> float | None:
    """``value`` if it is a number that can be computed with (no bool, no NaN, at most 1e15 in size); else None."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if real and -LARGEST <= value <= LARGEST else None  # NaN is in no range
