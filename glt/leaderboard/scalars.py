"""One number for a whole curve: accuracy over sparsity, and how far pruning costs no more than so many points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from glt.intervals import lower_bound

LEAST_SEEDS = 3
"""A bound over fewer seeds says nothing."""
LOSSES = (0.0, 0.5, 1.0)
"""Points that may be lost: of S_0, S_0.5 and S_1."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Mark:
    """One operating point of a curve.

    Attributes:
        sparsity: on the curve's axis, in [0, 1].
        other: the sparsity of the other kind.
        test: mean metric, a fraction.
        gaps: (ticket - dense) by seed, fractions.
    """

    sparsity: float
    other: float
    test: float
    gaps: tuple[float, ...]


@dataclass(frozen=True)
class Scalars:
    """Of one curve.

    Attributes:
        area: under the metric over sparsity, from 0 to the largest sparsity shown; what is not shown adds nothing.
        reach: that largest sparsity.
        s: by points that may be lost (0, 0.5, 1): the largest sparsity whose lower one-sided 95 % bound of
            (ticket - dense) is at least minus that. 0: none but dense. None: too few seeds for a bound.
    """

    area: float
    reach: float
    s: dict[float, float | None]


def bound_of(gaps: Sequence[float]) -> float | None:
    """Lower one-sided 95 % bound of the mean of paired differences [seeds]; None of fewer than 3 seeds.

    See :func:`glt.intervals.lower_bound`.
    """
    return lower_bound(np.asarray(gaps, dtype=np.float64)) if len(gaps) >= LEAST_SEEDS else None


def curve(marks: Iterable[Mark]) -> list[Mark]:
    """Marks in order of sparsity, one for each: of several with the same, the one with least of the other kind."""
    best: dict[float, Mark] = {}
    for mark in marks:
        x = round(mark.sparsity, 4)  # seeds and rounding to whole edges move it by less
        if x not in best or mark.other < best[x].other:
            best[x] = mark
    return [best[x] for x in sorted(best)]


def scalars(marks: Iterable[Mark], dense: float) -> Scalars:
    """Scalars of a curve that starts at the dense model.

    Args:
        marks: the operating points, dense or not.
        dense: mean metric of the dense model.
    """
    line = [mark for mark in curve(marks) if mark.sparsity > _ROUNDING]
    x = np.array([0.0, *(mark.sparsity for mark in line)])
    y = np.array([dense, *(mark.test for mark in line)])
    area = float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())
    bounds = [bound_of(mark.gaps) for mark in line]
    s: dict[float, float | None] = {}
    for points in LOSSES:
        good = [
            mark.sparsity
            for mark, bound in zip(line, bounds, strict=True)
            if bound is not None and 100 * bound >= -points - _ROUNDING
        ]
        known = not line or any(bound is not None for bound in bounds)
        s[points] = max(good, default=0.0) if known else None
    return Scalars(area, float(x[-1]), s)
