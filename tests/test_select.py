import math

import numpy as np
import pytest
import reference.keep_top
import torch
from hypothesis import given
from hypothesis import strategies as st

from glt.errors import GltError
from glt.select import keep_count, keep_top, keep_top_drawn, kth_largest

inf = math.inf
TIED = st.sampled_from([-inf, -2.5, -0.0, 0.0, 1e-30, 1.0, 3.0, inf])
SCORES = st.one_of(
    st.lists(TIED, max_size=30),
    st.lists(st.floats(width=32, allow_nan=False), max_size=30),
    st.lists(st.integers(-3, 3), max_size=30),
    st.tuples(TIED, st.integers(0, 30)).map(lambda pair: [pair[0]] * pair[1]),
)


def tensor(scores):
    kind = torch.int64 if scores and all(isinstance(s, int) for s in scores) else torch.float32
    return torch.tensor(scores, dtype=kind)


@given(SCORES, st.data())
def test_keeps_exactly_the_largest_and_the_first_among_equals(scores, data):
    keep = data.draw(st.integers(0, len(scores)))
    mask = keep_top(tensor(scores), keep)
    assert mask.dtype == torch.bool
    assert mask.tolist() == reference.keep_top.keep_top(scores, keep)


@given(SCORES, st.data())
def test_masks_are_nested_in_the_number_kept(scores, data):
    less, more = sorted(data.draw(st.tuples(*[st.integers(0, len(scores))] * 2)))
    fewer = keep_top(tensor(scores), less)
    assert bool((keep_top(tensor(scores), more) | ~fewer).all())


@given(st.lists(st.tuples(TIED, st.booleans()), min_size=1, max_size=30), st.data())
def test_what_is_not_alive_never_stays(items, data):
    scores, alive = [s for s, _ in items], [a for _, a in items]
    keep = data.draw(st.integers(0, sum(alive)))
    living = iter(reference.keep_top.keep_top([s for s, a in items if a], keep))
    expected = [a and next(living) for a in alive]
    assert keep_top(tensor(scores), keep, torch.tensor(alive)).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int8, torch.int32, torch.int64])
def test_every_dtype_is_ordered(dtype):
    scores = torch.tensor([3, 1, 2, 3, 1], dtype=dtype)
    assert keep_top(scores, 3).tolist() == [True, False, True, True, False]
    assert keep_top(scores, 4).tolist() == [True, True, True, True, False]


def test_large_integers_are_not_rounded():
    scores = torch.tensor([2**60, 2**60 + 1, 2**60 - 1])
    assert keep_top(scores, 1).tolist() == [False, True, False]


def test_scores_are_left_alone():
    scores = torch.tensor([2.0, 1.0, 2.0, 0.5], requires_grad=True)
    before = scores.detach().clone()
    mask = keep_top(scores, 2, torch.tensor([True, True, False, True]))
    mask.fill_(False)
    keep_top(scores, 2).fill_(False)
    assert torch.equal(scores.detach(), before)
    assert not mask.requires_grad


def test_views_with_strides_are_ordered_as_they_read():
    table = torch.tensor([[1.0, 9.0], [3.0, 8.0], [2.0, 7.0]])
    assert keep_top(table[:, 0], 1).tolist() == [False, True, False]


@pytest.mark.parametrize("alive", [None, torch.tensor([True, True, True, False])])
def test_nan_has_no_place_in_an_order(alive):
    with pytest.raises(GltError, match="NaN"):
        keep_top(torch.tensor([1.0, float("nan"), 2.0, 0.0]), 2, alive)


def test_nan_outside_the_living_does_not_matter():
    alive = torch.tensor([True, False, True])
    assert keep_top(torch.tensor([1.0, float("nan"), 2.0]), 1, alive).tolist() == [False, False, True]


@pytest.mark.parametrize("keep", [-1, 4])
def test_a_number_out_of_range_is_quoted(keep):
    with pytest.raises(GltError, match=f"cannot keep {keep} of 3"):
        keep_top(torch.ones(3), keep)


def test_more_than_are_alive_cannot_be_kept():
    with pytest.raises(GltError, match="cannot keep 2 of 1"):
        keep_top(torch.ones(3), 2, torch.tensor([False, True, False]))


def test_a_matrix_of_scores_is_refused():
    with pytest.raises(GltError, match=r"\(2, 3\)"):
        keep_top(torch.ones(2, 3), 1)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40), st.data())
def test_kth_largest_is_the_one_a_sort_finds(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    assert float(kth_largest(tensor(scores).float(), k)) == sorted(scores, reverse=True)[k - 1]


@given(st.integers(1, 10**7), st.floats(0, 1, exclude_max=True))
def test_the_number_removed_is_the_nearest_to_the_sparsity(total, sparsity):
    try:
        kept = keep_count(total, sparsity)
    except GltError:
        assert sparsity * total >= total - 0.5
        return
    assert 1 <= kept <= total
    assert abs((total - kept) - sparsity * total) <= 0.5


@pytest.mark.parametrize(
    ("total", "sparsity", "kept"),
    [(10, 0.25, 7), (10, 0.75, 2), (2, 0.25, 1), (4, 0.1, 4), (5278, 0.05, 5014), (7, 0, 7)],
)
def test_halves_are_rounded_up(total, sparsity, kept):
    assert keep_count(total, sparsity) == kept


@pytest.mark.parametrize("sparsity", [1.0, 1, -0.1, 2.0, float("nan"), inf, "0.4", None])
def test_a_sparsity_outside_its_range_is_quoted(sparsity):
    with pytest.raises(GltError, match=r"not in \[0, 1\).*weights") as error:
        keep_count(10, sparsity, "weights")
    assert repr(sparsity) in str(error.value)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 997, 10**6])
def test_removing_everything_is_refused_with_a_sparsity_that_works(total):
    with pytest.raises(GltError, match=f"removes all {total} edges") as error:
        keep_count(total, 1 - 0.4 / total, "edges")
    allowed = float(str(error.value).rsplit(" ", 1)[1])
    assert keep_count(total, allowed, "edges") >= 1


def test_nothing_to_prune_is_an_error():
    with pytest.raises(GltError, match="no edges to prune"):
        keep_count(0, 0.0, "edges")


def test_numpy_floats_are_sparsities():
    assert keep_count(10, np.float64(0.4)) == 6


LARGE = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "projected": lambda rng, n: np.maximum(rng.standard_normal(n), 0),
    "few values": lambda rng, n: rng.integers(4, size=n),
    "ascending": lambda rng, n: np.arange(n),
    "periodic": lambda rng, n: np.arange(n) % 16,  # the sample, one in 16, sees a single value
    "constant": lambda rng, n: np.full(n, -1.5),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.5, -inf, inf),
}


@pytest.mark.parametrize("kind", LARGE)
def test_many_values_are_selected_as_by_sorting(kind):
    values = LARGE[kind](np.random.default_rng(0), 2**18 + 5).astype(np.float32)
    descending = np.sort(values)[::-1]
    for k in (1, 2, 1000, 2**17, 2**18 - 17, 2**18 + 5):
        assert float(kth_largest(torch.from_numpy(values), k)) == descending[k - 1]


@given(SCORES, st.data(), st.integers(0, 9))
def test_drawn_ties_keep_as_many_and_the_same_values(scores, data, seed):
    keep = data.draw(st.integers(0, len(scores)))
    mask = keep_top_drawn(tensor(scores), keep, seed)
    assert sorted(tensor(scores)[mask].tolist()) == sorted(tensor(scores)[keep_top(tensor(scores), keep)].tolist())
    assert torch.equal(keep_top_drawn(tensor(scores), keep, seed), mask)


def test_drawn_ties_do_not_go_by_index():
    kept = [keep_top_drawn(torch.zeros(1000), 500, seed) for seed in (0, 1)]
    assert all(int(mask.sum()) == 500 and 150 < int(mask[:500].sum()) < 350 for mask in kept)
    assert not torch.equal(*kept)
    alive = torch.arange(1000) % 2 == 0
    assert bool((alive | ~keep_top_drawn(torch.zeros(1000), 300, 0, alive)).all())
