import math
import warnings

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import allocation as reference

from glt.allocate import ALLOCATIONS, allocate, densities, top_of_each
from glt.errors import GltError
from glt.registry import build
from glt.select import keep_count

RULES = [how for how in ALLOCATIONS if how != "global"]
pytestmark = pytest.mark.filterwarnings("ignore:sparsity .* without a weight")


def scores_of(*shapes):
    """Random scores of layers named a.0.weight, b.0.weight, ..., each in a module of its own."""
    return {f"{'abcdefgh'[i]}.0.weight": torch.rand(shape) for i, shape in enumerate(shapes)}


def counts(masks):
    return [int(mask.sum()) for mask in masks.values()]


def message(*args, **kwargs):
    with pytest.raises(GltError) as error:
        allocate(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@st.composite
def layers(draw):
    shapes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5))
    number = st.integers(-3, 3)  # few values: many ties
    return {
        f"convs.{i}.lin.weight": torch.tensor(
            draw(st.lists(number, min_size=a * b, max_size=a * b)), dtype=torch.float32
        ).view(a, b)
        for i, (a, b) in enumerate(shapes)
    }


@st.composite
def budgets(draw):
    """(scores, sparsity, floor, alive), where some are dead; the sparsity can be had."""
    scores = draw(layers())
    flags = {k: draw(st.lists(st.integers(0, 3), min_size=s.numel(), max_size=s.numel())) for k, s in scores.items()}
    alive = {k: torch.tensor(flags[k]).view(s.shape) > 0 for k, s in scores.items()} if draw(st.booleans()) else None
    sparsity = draw(st.floats(0, 0.99))
    total = sum(s.numel() for s in scores.values())
    living = total if alive is None else sum(counts(alive))
    assume(math.floor(sparsity * total + 0.5) < total)
    assume(0 < keep_count(total, sparsity) <= living)
    return scores, sparsity, draw(st.one_of(st.none(), st.sampled_from([0.0, 0.2, 0.5, 1.0]))), alive


def limits(scores, keep, how, floor, alive):
    """(least, most) of every layer, as the documentation says."""
    most = [s.numel() for s in scores.values()] if alive is None else counts(alive)
    least = [0 if how == "global" else min(1, m) for m in most]
    size = list(scores.values())[-1].numel()
    if floor is None:
        floor = 0 if how == "global" else min(0.2, keep / size / 2)
    least[-1] = max(least[-1], min(math.ceil(floor * size - 1e-9), most[-1]))
    if how == "uniform_plus":
        least[0] = most[0]
    return least, most


@pytest.mark.parametrize("how", ALLOCATIONS)
@given(budgets())
def test_totals_are_exact_and_limits_hold_or_it_is_refused(how, budget):
    scores, sparsity, floor, alive = budget
    before = {k: s.clone() for k, s in scores.items()}
    keep = keep_count(sum(s.numel() for s in scores.values()), sparsity)
    least, most = limits(scores, keep, how, floor, alive)
    if sum(least) > keep:
        assert f"needs at least {sum(least)};" in message(scores, sparsity, how, floor, alive)
        return
    masks = allocate(scores, sparsity, how, floor, alive)
    assert list(masks) == list(scores)
    assert all(masks[k].dtype == torch.bool and masks[k].shape == s.shape for k, s in scores.items())
    assert sum(counts(masks)) == keep
    assert all(a <= n <= b for a, n, b in zip(least, counts(masks), most, strict=True))
    assert alive is None or not any(bool((masks[k] & ~alive[k]).any()) for k in masks)
    assert all(torch.equal(scores[k], before[k]) for k in scores)


@pytest.mark.parametrize("how", RULES)
@given(budgets())
def test_rules_share_in_proportion_and_keep_the_best_of_each_layer(how, budget):
    scores, sparsity, floor, alive = budget
    keep = keep_count(sum(s.numel() for s in scores.values()), sparsity)
    least, most = limits(scores, keep, how, floor, alive)
    assume(sum(least) <= keep)
    masks = allocate(scores, sparsity, how, floor, alive)
    parts = [sum(s.shape) if how == "erk" else s.numel() for s in scores.values()]
    real = reference.shares(keep, parts, least, most)
    assert all(abs(n - r) < 1 + 1e-6 for n, r in zip(counts(masks), real, strict=True))
    for name, n in zip(scores, counts(masks), strict=True):
        living = torch.ones_like(masks[name]) if alive is None else alive[name]
        kept = reference.best([scores[name].flatten().tolist()], n, [0], [living.flatten().tolist()])
        assert kept == {(0, j) for j in masks[name].flatten().nonzero().flatten().tolist()}


@given(budgets())
def test_global_keeps_the_best_of_all(budget):
    scores, sparsity, floor, alive = budget
    keep = keep_count(sum(s.numel() for s in scores.values()), sparsity)
    least, _ = limits(scores, keep, "global", floor, alive)
    assume(sum(least) <= keep)
    masks = allocate(scores, sparsity, "global", floor, alive)
    living = [m.flatten().tolist() for m in (alive or {k: torch.ones_like(m) for k, m in masks.items()}).values()]
    want = reference.best([s.flatten().tolist() for s in scores.values()], keep, least, living)
    got = {(i, j) for i, m in enumerate(masks.values()) for j in m.flatten().nonzero().flatten().tolist()}
    assert got == want


@given(st.lists(st.tuples(st.integers(2, 30), st.integers(2, 30)), min_size=1, max_size=5), st.floats(0.3, 0.9))
def test_erk_is_the_published_iteration(shapes, sparsity):
    scores = scores_of(*shapes)
    got = counts(allocate(scores, sparsity, "erk", floor=0))
    total = sum(a * b for a, b in shapes)
    density = keep_count(total, sparsity) / total
    want = [d * a * b for d, (a, b) in zip(reference.erk(shapes, density), shapes, strict=True)]
    assume(min(want) > 1)  # the least that a layer keeps
    assert all(abs(n - w) < 1 + 1e-6 for n, w in zip(got, want, strict=True))


@pytest.mark.parametrize(
    ("sparsity", "want"),
    [
        (0.5, [13, 7]),  # parts 12 and 6, eps = 20 / 18: 13.3 and 6.7
        (0.25, [22, 8]),  # eps = 30 / 18 would give 20 and 10 of 8: dense, and 22 for the other
        (0.775, [6, 3]),  # eps = 1/2
        (0.0, [32, 8]),
    ],
)
def test_erk_by_hand(sparsity, want):
    assert counts(allocate(scores_of((4, 8), (2, 4)), sparsity, "erk")) == want


def test_erk_saturates_one_layer_after_another():
    """Parts 101, 20 and 5 of 100, 100 and 6: eps = 146 / 126 makes the first too many, the rest then the last."""
    assert counts(allocate(scores_of((1, 100), (10, 10), (2, 3)), 60 / 206, "erk", floor=0)) == [100, 40, 6]


def test_uniform_by_hand():
    scores = scores_of((10, 10), (5, 10), (2, 5))
    assert counts(allocate(scores, 0.5, "uniform")) == [50, 25, 5]
    assert counts(allocate(scores, 0.9, "uniform")) == [9, 5, 2]  # 2 of 10 are the floor; 14 on 100 and 50: 9.3, 4.7
    assert counts(allocate(scores, 0.9, "uniform", floor=0)) == [10, 5, 1]
    assert counts(allocate(scores, 0.9, "uniform", floor=1.0)) == [4, 2, 10]


def test_uniform_plus_by_hand():
    scores = scores_of((2, 5), (10, 10), (5, 10))
    assert counts(allocate(scores, 0.5, "uniform_plus")) == [10, 47, 23]  # 70 on 100 and 50: 46.7, 23.3
    assert counts(allocate(scores, 0.85, "uniform_plus")) == [10, 4, 10]  # 24: the first dense, 0.2 of the last
    said = message(scores_of((100, 10), (2, 5)), 0.5, "uniform_plus")
    assert "keeps 505 weights" in said and "needs at least 1002" in said and "uniform_plus" in said


def test_the_floor_protects_the_last_layer_of_a_wide_network():
    scores = scores_of((512, 1433), (7, 512))
    at = allocate(scores, 0.98, "uniform")
    assert densities(at)["b.0.weight"] == pytest.approx(0.2, abs=1e-3)
    assert densities(allocate(scores, 0.98, "uniform", floor=0))["b.0.weight"] == pytest.approx(0.02, abs=1e-3)
    assert densities(allocate(scores, 0.98, "erk", floor=0))["b.0.weight"] > 0.8  # no need of a floor
    low = {name: score * (0.5 if name == "b.0.weight" else 1) for name, score in scores.items()}
    assert densities(allocate(low, 0.6))["b.0.weight"] == 0
    assert densities(allocate(low, 0.6, floor=0.3))["b.0.weight"] == pytest.approx(0.3, abs=1e-3)
    assert counts(allocate(scores, 0.5, floor=0.3)) == counts(allocate(scores, 0.5))  # it held anyway


def test_the_default_floor_leaves_half_of_a_small_budget_to_the_others():
    scores = scores_of((256, 128), (256, 256), (40, 256))
    for how in ("uniform", "erk"):
        first, middle, last = counts(allocate(scores, 0.9885, how))
        assert first + middle + last == keep_count(108_544, 0.9885) == 1248
        assert min(first, middle) > 200 and (how == "erk" or last == 624)
    assert "needs at least 2050" in message(scores, 0.9885, "uniform", floor=0.2)


@pytest.mark.parametrize(
    ("name", "last"), [("gcn", 1), ("sage", 2), ("gin", 2), ("gat", 1), ("mlp", 1), ("transformer", 4), ("gcnii", 1)]
)
def test_the_last_layer_is_all_of_its_matrices(name, last):
    model = build("backbones", {"name": name, "hidden": 64})(300, 5)
    scores = {k: torch.rand_like(p) for k, p in model.named_parameters() if p.dim() == 2}
    kept = densities(allocate(scores, 0.98, "uniform"))
    assert [d >= 0.2 for d in kept.values()] == [False] * (len(kept) - last) + [True] * last


def test_the_first_layer_is_all_of_its_matrices():
    names = ["convs.0.lin_l.weight", "convs.0.lin_r.weight", "convs.1.lin_l.weight", "convs.1.lin_r.weight"]
    scores = dict(zip(names, [torch.rand(4, 3), torch.rand(4, 3), torch.rand(50, 4), torch.rand(50, 4)], strict=True))
    assert list(densities(allocate(scores, 0.5, "uniform_plus")).values())[:2] == [1.0, 1.0]
    same = {f"convs.{i}.lin.weight": torch.rand(4, 4) for i in range(5)}  # as wide as the features
    assert counts(allocate(same, 0.5, "uniform_plus"))[:2] != [16, 16]


@pytest.mark.parametrize("how", ["global", "uniform", "erk"])
def test_masks_are_nested_along_a_schedule(how):
    alive = None
    for k in range(1, 12):
        scores = scores_of((20, 30), (10, 20), (3, 10))  # other scores in every round
        masks = allocate(scores, 1 - 0.8**k, how, alive=alive)
        assert sum(counts(masks)) == keep_count(830, 1 - 0.8**k)
        assert alive is None or all(bool((alive[name] >= mask).all()) for name, mask in masks.items())
        alive = masks


def test_what_a_layer_cannot_take_goes_to_the_others():
    scores = scores_of((10, 10), (10, 10), (10, 10))
    alive = {name: torch.ones(10, 10, dtype=torch.bool) for name in scores}
    alive["a.0.weight"][1:] = False
    assert counts(allocate(scores, 0.5, "uniform", alive=alive)) == [10, 70, 70]
    alive["b.0.weight"][6:] = False
    assert counts(allocate(scores, 0.5, "uniform", alive=alive)) == [10, 60, 80]


@pytest.mark.parametrize("how", ALLOCATIONS)
def test_ties_go_by_index(how):
    scores = {"a.0.weight": torch.zeros(4, 5), "b.0.weight": torch.zeros(5, 4)}
    for mask in allocate(scores, 0.4 if how == "uniform_plus" else 0.6, how).values():
        kept = mask.flatten().int()
        assert bool((kept[:-1] >= kept[1:]).all())


def test_equal_remainders_favour_the_first_layer():
    assert counts(allocate(scores_of((3, 3), (3, 3)), 0.5, "uniform")) == [5, 4]


def test_a_layer_without_weights_is_told():
    scores = {"a.0.weight": torch.ones(4, 5), "b.0.weight": torch.zeros(5, 4)}
    with pytest.warns(UserWarning, match=r"leaves b\.0\.weight without a weight"):
        allocate(scores, 0.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert counts(allocate(scores, 0.6, floor=0.05)) == [15, 1]
        assert min(counts(allocate(scores, 0.9, "uniform", floor=0))) == 2
        assert min(counts(allocate(scores_of((40, 40), (1, 2)), 0.99, "uniform", floor=0))) == 1


def test_mistakes_are_one_line():
    scores = scores_of((4, 5), (5, 4))
    alive = {name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}
    assert "'erk'?" in message(scores, 0.5, "erc")
    for floor in (-0.1, 1.5, float("nan"), "a"):
        assert "floor" in message(scores, 0.5, floor=floor)
    assert "[0, 1)" in message(scores, 1.0)
    assert "empty" in message({}, 0.5)
    assert "alive" in message(scores, 0.5, alive={"a.0.weight": alive["a.0.weight"]})
    assert "alive" in message(scores, 0.5, alive=alive | {"c": torch.ones(1, dtype=torch.bool)})
    assert "int64" in message(scores, 0.5, alive={name: mask.long() for name, mask in alive.items()})
    assert "[3]" in message(scores, 0.5, alive=alive | {"b.0.weight": torch.ones(3, dtype=torch.bool)})
    assert "schedule" in message(scores, 0.2, alive={name: score > 0.9 for name, score in scores.items()})
    assert "NaN" in message(scores | {"b.0.weight": torch.full((5, 4), float("nan"))}, 0.5)
    assert "floor" in message(scores_of((40, 40), (40, 40)), 0.9, "uniform", floor=0.5)


def test_biases_may_be_among_the_weights():
    scores = {"convs.0.bias": torch.rand(8), "convs.0.lin.weight": torch.rand(8, 30), "last.scale": torch.rand(())}
    for how in ("global", "uniform", "erk"):
        assert sum(counts(allocate(scores, 0.5, how))) == keep_count(249, 0.5)


def test_top_of_each_layer():
    masks = top_of_each({"a": torch.tensor([[1.0, 3.0], [3.0, 2.0]]), "b": torch.tensor([5.0])}, [2, 0])
    assert masks["a"].tolist() == [[False, True], [True, False]] and masks["b"].tolist() == [False]


def test_densities():
    masks = {"a": torch.tensor([[True, False], [False, False]]), "b": torch.ones(3, dtype=torch.bool)}
    assert densities(masks) == {"a": 0.25, "b": 1.0}
