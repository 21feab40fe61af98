"""Intervals over few seeds: by hand, and how often they cover the truth."""

import math

import numpy as np
import pytest

from glt.intervals import bootstrap, lower_bound


def test_the_interval_by_hand():
    """Of (0, 1) each mean of two draws has a chance of a quarter: 0 to 1, widened by 12.706 / 1.960 and root 2."""
    half = 0.5 * 12.706205 / 1.959964 * 2**0.5
    assert bootstrap(np.array([0.0, 1.0])) == pytest.approx((0.5 - half, 0.5 + half))
    assert bootstrap(np.array([0.25])) == (0.25, 0.25)
    assert bootstrap(np.array([2.0, 2.0, 2.0])) == (2, 2)
    assert lower_bound(np.array([0.0, 1.0])) == pytest.approx(0.5 - 0.5 * 6.313752 / 1.644854 * 2**0.5)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_of_few_values_it_covers_the_truth_as_often_as_it_says(n):
    rng, rounds = np.random.default_rng(n), 300
    draws = rng.normal(size=(rounds, n))
    both = [bootstrap(values) for values in draws]
    covered = sum(low <= 0 <= high for low, high in both) / rounds
    below = sum(lower_bound(values) <= 0 for values in draws) / rounds
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / rounds)
    assert abs(below - 0.95) < 3 * math.sqrt(0.95 * 0.05 / rounds)


def test_of_many_values_it_is_that_of_the_normal_law():
    values = np.random.default_rng(3).normal(size=400)
    low, high = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_it_is_the_same_every_time():
    values = np.random.default_rng(0).random(40)
    np.random.seed(1)
    first = bootstrap(values)
    np.random.seed(2)
    assert bootstrap(values.copy()) == first
    assert first[0] < values.mean() < first[1]
