"""Scalars of the leaderboard: hand-worked, against slow references, and as properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import scalars as slow

from glt.leaderboard.scalars import Mark, bound_of, curve, scalars

GAP = st.floats(-0.2, 0.2).map(lambda v: round(v, 4))
GAPS = st.lists(GAP, min_size=3, max_size=5)


def mark(sparsity, *gaps, test=0.8, other=0.0):
    return Mark(sparsity, other, test, gaps)


def test_golden_s_of_constant_differences():
    """Where all seeds lose the same, the bound is that loss: 0, 0.5 and 1 point are just allowed, a bit more is not."""
    marks = [
        mark(0.2, 0.0, 0.0, 0.0),
        mark(0.4, -0.005, -0.005, -0.005),
        mark(0.6, -0.0099, -0.0099, -0.0099),
        mark(0.8, -0.0101, -0.0101, -0.0101),
    ]
    assert scalars(marks, 0.8).s == {0.0: 0.2, 0.5: 0.4, 1.0: 0.6}


def test_golden_bound_of_three_seeds():
    """Of (-1, 0, 1) points 1 of 27 resamples is -1 (3.7 %), 3 are -2/3 (to 14.8 %): the 5 % percentile is -2/3.

    Three values widen it by 2.920 / 1.645 (Student over normal) and by the root of 3 / 2.
    """
    assert bound_of([-0.01, 0.0, 0.01]) == pytest.approx(-0.02 / 3 * 2.919986 / 1.644854 * 1.5**0.5)
    assert scalars([mark(0.3, -0.006, 0.0, 0.006)], 0.8).s == {0.0: 0.0, 0.5: 0.0, 1.0: 0.3}


def test_golden_the_largest_counts_even_behind_one_that_fails():
    marks = [mark(0.2, -0.1, -0.1, -0.1), mark(0.4, 0.01, 0.01, 0.01)]
    assert scalars(marks, 0.8).s == {0.0: 0.4, 0.5: 0.4, 1.0: 0.4}


def test_golden_area():
    """Dense 0.8; 0.8 at 0.5; 0.4 at 1: 0.4 + 0.3."""
    found = scalars([mark(0.5, 0, 0, 0), mark(1.0, -0.4, -0.4, -0.4, test=0.4)], 0.8)
    assert found.area == pytest.approx(0.7) and found.reach == 1.0
    assert scalars([], 0.8).area == 0.0 and scalars([], 0.8).reach == 0.0


def test_of_too_few_seeds_nothing_is_said():
    assert bound_of([0.1, 0.1]) is None
    assert scalars([mark(0.5, 0.1, 0.1)], 0.8).s == {0.0: None, 0.5: None, 1.0: None}


def test_of_a_grid_the_row_with_least_of_the_other_kind_is_the_curve():
    marks = [mark(0.4, other=0.5), mark(0.4, other=0.0), mark(0.2, other=0.9), mark(0.40001, other=0.8)]
    assert [(m.sparsity, m.other) for m in curve(marks)] == [(0.2, 0.9), (0.4, 0.0)]


@given(GAPS)
def test_the_bound_is_the_exact_one_up_to_the_draws(gaps):
    low, high = slow.exact_lower_bound(gaps)
    found = bound_of(gaps)
    assert low - 1e-6 <= found <= high + 1e-6
    assert found <= sum(gaps) / len(gaps) + 0.05
    assert found == bound_of(gaps), "deterministic"


@given(GAPS, st.floats(0, 0.1))
def test_the_bound_moves_with_the_differences(gaps, shift):
    assert bound_of([gap + shift for gap in gaps]) == pytest.approx(bound_of(gaps) + shift, abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 99), GAPS, st.floats(0, 1)), min_size=1, max_size=6, unique_by=lambda t: t[0]))
def test_scalars_are_those_of_the_reference(rows):
    marks = [Mark(x / 100, 0.0, test, tuple(gaps)) for x, gaps, test in rows]
    found = scalars(marks, 0.8)
    assert found.area == pytest.approx(slow.area([(0.0, 0.8), *((m.sparsity, m.test) for m in marks)]), abs=1e-3)
    bounds = [bound_of(m.gaps) for m in marks]
    for points, value in found.s.items():
        assert value == slow.largest([m.sparsity for m in marks], bounds, points)
    assert found.s[0.0] <= found.s[0.5] <= found.s[1.0] <= found.reach


@given(st.lists(st.tuples(st.integers(1, 99), st.floats(0, 1)), min_size=2, max_size=6, unique_by=lambda t: t[0]))
def test_showing_more_never_makes_the_area_smaller(rows):
    marks = sorted((Mark(x / 100, 0.0, test, ()) for x, test in rows), key=lambda m: m.sparsity)
    assert scalars(marks, 0.8).area >= scalars(marks[:-1], 0.8).area - 1e-12
