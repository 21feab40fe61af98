"""Scalars of a curve, written as they are defined, without care for speed."""

from itertools import pairwise, product

STUDENT = {3: 2.919986, 4: 2.353363, 5: 2.131847, 6: 2.015048}
"""95 % quantile of Student's law by number of values, from a printed table; that of the normal law is 1.644854."""


def exact_lower_bound(gaps):
    """The 5 % quantile of the mean of all n^n resamples of n differences, widened: (lowest, highest) that it may be."""
    n, mean = len(gaps), sum(gaps) / len(gaps)
    means = sorted(sum(draw) / n for draw in product(gaps, repeat=n))
    wider = STUDENT[n] / 1.644854 * (n / (n - 1)) ** 0.5
    found = means[int(0.035 * len(means))], means[min(int(0.065 * len(means)) + 1, len(means) - 1)]
    return [mean + wider * (x - mean) for x in found]


def area(points):
    """Of the polygon under (sparsity, metric) points, by many thin columns."""
    points = sorted(points)
    steps, total = 2_000, 0.0
    width = points[-1][0] / steps
    for i in range(steps):
        x = (i + 0.5) * width
        for (x0, y0), (x1, y1) in pairwise(points):
            if x0 <= x <= x1 and x1 > x0:
                total += (y0 + (y1 - y0) * (x - x0) / (x1 - x0)) * width
                break
    return total


def largest(marks, bounds, points):
    """The largest sparsity whose bound is at least -points; 0 of none."""
    best = 0.0
    for sparsity, bound in zip(marks, bounds, strict=True):
        if bound is not None and 100 * bound >= -points - 1e-9 and sparsity > best:
            best = sparsity
    return best
