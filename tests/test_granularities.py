import math
import warnings
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import groups as reference
from reference.backbones import STACKS, small
from torch import nn

from glt.allocate import ALLOCATIONS, allocate
from glt.config import Config
from glt.constraints import largest_weights, project_weights, prunable_weights
from glt.errors import GltError, GltWarning, TrainingError
from glt.groups import layers_of
from glt.registry import build
from glt.select import keep_count

WHOLE = {"unit": "unit", "feature": "feature", "block": {"name": "block", "size": 2}}
N_M = {"name": "n:m", "n": 2, "m": 4}
pytestmark = pytest.mark.filterwarnings("ignore:sparsity .* without a")
EVERY = [*WHOLE.values(), N_M, "element"]


def layers_by(granularity, shapes):
    if granularity == "unit":
        return reference.units(shapes), 1
    if granularity == "feature":
        return reference.features(shapes), 1
    return reference.blocks(shapes, 2), 0


@st.composite
def stacks(draw):
    """Scores of matrices whose widths fit, named as a stack's; quarters, so that sums are exact and ties are many."""
    widths = draw(st.lists(st.integers(1, 5), min_size=3, max_size=4))
    values = {}
    for i, (into, out) in enumerate(pairwise(widths)):
        numbers = draw(st.lists(st.integers(-6, 6), min_size=into * out, max_size=into * out))
        values[f"convs.{i}.lin.weight"] = torch.tensor(numbers).view(out, into) / 4
    return values


def entries(masks):
    return {(name, *at) for name, mask in masks.items() for at in map(tuple, mask.nonzero().tolist())}


def message(call, *args, **kwargs):
    with pytest.raises(GltError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def possible(scores, sparsity):
    total = sum(s.numel() for s in scores.values())
    assume(math.floor(sparsity * total + 0.5) < total)


def numpy_of(tensors):
    return None if tensors is None else {name: t.numpy() for name, t in tensors.items()}


@pytest.mark.parametrize("pool", ["mean", "rms"])
@pytest.mark.parametrize("name", WHOLE)
@given(stacks(), st.floats(0, 0.9))
def test_the_best_whole_groups_that_fit_are_kept(name, pool, scores, sparsity):
    possible(scores, sparsity)
    layers, least = layers_by(name, {k: s.shape for k, s in scores.items()})
    want = reference.best(layers, numpy_of(scores), sparsity, pool, least)
    before = {k: s.clone() for k, s in scores.items()}
    choice = build("granularities", WHOLE[name])
    if want is None:
        assert repr(name) in message(choice.masks, scores, sparsity, pool=pool)
        return
    masks = choice.masks(scores, sparsity, pool=pool)
    assert list(masks) == list(scores)
    assert all(masks[k].dtype == torch.bool and masks[k].shape == s.shape for k, s in scores.items())
    assert entries(masks) == want
    assert all(torch.equal(scores[k], s) for k, s in before.items())


@pytest.mark.parametrize("how", ["uniform", "erk"])
@pytest.mark.parametrize("name", WHOLE)
@given(stacks(), st.floats(0, 0.9))
def test_allocations_share_groups_among_layers(name, how, scores, sparsity):
    possible(scores, sparsity)
    shapes = {k: s.shape for k, s in scores.items()}
    layers, _ = layers_by(name, shapes)
    density = [(a + b) / (a * b) if how == "erk" else 1.0 for a, b in shapes.values()]
    if name != "block":  # a unit's layer is that of its row; layers without groups are left out
        density = [density[list(shapes).index(layer[0][0][0])] for layer in layers]
    want = reference.best(layers, numpy_of(scores), sparsity, "mean", 1, density)
    choice = build("granularities", WHOLE[name])
    if want is None:
        assert repr(name) in message(choice.masks, scores, sparsity, how, 0)
        return
    assert entries(choice.masks(scores, sparsity, how, 0)) == want


@pytest.mark.parametrize("name", WHOLE)
@given(stacks(), st.lists(st.floats(0, 0.9), min_size=2, max_size=4))
def test_masks_are_nested_along_a_schedule(name, scores, sparsities):
    choice, alive = build("granularities", WHOLE[name]), None
    layers, least = layers_by(name, {k: s.shape for k, s in scores.items()})
    for sparsity in sorted(sparsities):
        possible(scores, sparsity)
        want = reference.best(layers, numpy_of(scores), sparsity, "rms", least, alive=numpy_of(alive))
        if want is None:
            assert repr(name) in message(choice.masks, scores, sparsity, alive=alive, pool="rms")
            return
        masks = choice.masks(scores, sparsity, alive=alive, pool="rms")
        assert entries(masks) == want
        assert alive is None or not any(bool((masks[k] & ~alive[k]).any()) for k in masks)
        alive = masks
        scores = {k: s.flip(0) for k, s in scores.items()}  # other scores in every round


@given(stacks(), st.integers(2, 4), st.data())
def test_at_most_n_of_m_neighbours_stay_and_the_count_is_exact(scores, m, data):
    n = data.draw(st.integers(1, m - 1))
    sparsity = data.draw(st.floats(1 - n / m, 0.95))
    possible(scores, sparsity)
    masks = build("granularities", {"name": "n:m", "n": n, "m": m}).masks(scores, sparsity)
    total = sum(s.numel() for s in scores.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == keep_count(total, sparsity)
    ranked = []
    for i, (name, score) in enumerate(scores.items()):
        for row in range(score.size(0)):
            for start in range(0, score.size(1), m):
                assert int(masks[name][row, start : start + m].sum()) <= n
                here = sorted((-float(v), i, row, start + j) for j, v in enumerate(score[row, start : start + m]))
                ranked += here[:n]
    want = {(list(scores)[i], row, j) for _, i, row, j in sorted(ranked)[: keep_count(total, sparsity)]}
    assert entries(masks) == want


def test_two_of_four_by_hand():
    weight = torch.tensor([[1.0, -3.0, 2.0, 4.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0]])
    masks = largest_weights({"w": weight}, 0.5, granularity=N_M)  # 7 of 14; the last three are a rest
    assert masks["w"].int().tolist() == [[0, 1, 0, 1, 1, 1, 0], [1, 0, 0, 0, 1, 0, 1]]


def test_n_m_refuses_what_it_cannot_have():
    scores = {"w": torch.rand(4, 8)}
    said = message(build("granularities", N_M).masks, scores, 0.3)
    assert "keeps 22 of 32 weights, but 2:4 keeps at most 16: use at least 0.5" in said
    assert "n = 4 is not below m = 4" in message(build, "granularities", {"name": "n:m", "n": 4, "m": 4})


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


def test_a_unit_is_a_row_and_a_column():
    weights = {"0.weight": torch.ones(3, 2), "2.weight": torch.ones(4, 3)}
    weights["0.weight"][1] = 0.5
    masks = largest_weights(weights, 0.4, granularity="unit")  # 18 weights, 6 a unit: 11 hold one
    assert masks["0.weight"].int().tolist() == [[1, 1], [0, 0], [0, 0]]
    assert masks["2.weight"].int().tolist() == [[1, 0, 0]] * 4
    masks = largest_weights(weights, 0.3, granularity="unit")
    assert masks["2.weight"].int().tolist() == [[1, 0, 1]] * 4


def test_weights_between_two_units_are_counted_once():
    weights = {f"{i}.weight": torch.ones(2, 2) for i in range(3)}
    masks = largest_weights(weights, 0.3, granularity="unit")  # 8 may stay: without the last unit, 4 + 2 + 2
    assert [m.int().tolist() for m in masks.values()] == [[[1, 1], [1, 1]], [[1, 1], [0, 0]], [[1, 0], [1, 0]]]
    masks = largest_weights(weights, 0.4, granularity="unit")  # 7: one unit of each layer, 2 + 1 + 2
    assert [m.int().tolist() for m in masks.values()] == [[[1, 1], [0, 0]], [[1, 0], [0, 0]], [[1, 0], [1, 0]]]
    for sparsity in (0.7, 0.9999):  # of which the other keeps no weight at all
        assert "is 5: use at most 0.583" in message(largest_weights, weights, sparsity, granularity="unit")


@pytest.mark.parametrize("kind", STACKS)
def test_the_model_without_its_units_gives_the_same_logits(kind, sbm):
    """Where a unit has gone, what is left of it (bias, attention) may be anything, unless it is skipped to."""
    model = small(kind, layers=3, heads=2)(8, 3).eval()
    masks = largest_weights(prunable_weights(model), 0.7, granularity="unit")
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    before = model(sbm.x, sbm.edge_index)
    changed = 0
    with torch.no_grad():
        for layer in layers_of({name: mask.shape for name, mask in masks.items()})[:-1]:
            gone = ~torch.stack([masks[name] for name in layer]).any(0).any(1)
            changed += int(gone.sum())
            module = model.get_submodule(layer[0].rpartition(".")[0])
            biases = [module.bias] if getattr(module, "bias", None) is not None else []
            for name in layer:
                parent = model.get_submodule(name.rsplit(".", 2)[0])
                biases += [parent.bias] if getattr(parent, "bias", None) is not None else []
            assert biases or kind == "sage"
            for bias in biases:
                bias[gone] = 7.0
    assert changed > 0
    torch.testing.assert_close(model(sbm.x, sbm.edge_index), before, rtol=1e-5, atol=1e-5)


def test_rows_that_are_no_hidden_units_are_never_taken():
    weights = {"a.lin.weight": torch.rand(4, 6), "b.lin.weight": torch.rand(3, 4), "out.weight": torch.rand(3, 7)}
    masks = largest_weights(weights, 0.4, granularity="unit")
    assert bool(masks["out.weight"].all()) and bool(masks["b.lin.weight"].any(1).all())
    assert "no layer has as many outputs" in message(largest_weights, {"w": torch.rand(3, 4)}, 0.5, granularity="unit")


def test_layers_are_told_by_names_and_shapes():
    def of(kind, **options):
        model = build("backbones", {"name": kind, "hidden": 8, **options})(5, 3)
        return [len(layer) for layer in layers_of({k: p.shape for k, p in prunable_weights(model).items()})]

    assert of("gcn", layers=3) == of("mlp", layers=3) == [1, 1, 1]
    assert of("sage", layers=3) == [2, 2, 2]
    assert of("gin", layers=3) == [1] * 6
    assert layers_of({"a.bias": (3,), "a.0.weight": (4, 3), "a.1.weight": (4, 3)}) == [["a.0.weight", "a.1.weight"]]


def test_a_feature_is_a_column_of_the_first_layer():
    model = build("backbones", {"name": "sage", "hidden": 4})(6, 3)
    masks = largest_weights(prunable_weights(model), 0.5, granularity="feature")
    first = [mask for name, mask in masks.items() if name.startswith("convs.0")]
    assert torch.equal(*first) and bool((first[0].any(0) == first[0].all(0)).all())
    assert all(bool(mask.all()) for name, mask in masks.items() if name.startswith("convs.1"))
    assert int(first[0].all(0).sum()) == (72 - 36 - 24) // 8
    assert "use at most 0.555" in message(largest_weights, prunable_weights(model), 0.6, granularity="feature")
    assert largest_weights(prunable_weights(model), 0.5555, granularity="feature")


def test_groups_of_other_sizes_are_compared_per_weight():
    weights = {"w": torch.tensor([[1.0, 1.0, 1.5], [1.0, 1.0, 1.5], [1.0, 1.0, 1.5]])}
    masks = largest_weights(weights, 0.5, granularity={"name": "block", "size": 2})
    assert masks["w"].int().tolist() == [[0, 0, 1]] * 3  # two of the smaller tiles


def test_a_layer_without_blocks_is_told():
    scores = {"a.0.weight": torch.rand(8, 8), "b.0.weight": torch.rand(4, 8) + 1}
    masks = build("granularities", {"name": "block", "size": 4}).masks
    with pytest.warns(UserWarning, match="leaves matrix 1 of 2 without a block"):
        masks(scores, 0.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks(scores, 0.5)
        masks(scores, 0.6, "uniform", 0)


def test_a_layer_without_blocks_is_told_while_weights_are_projected():
    """Whose last block goes in some step, not when the projection is set up."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight[:, 4:] *= 0.01
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    project_weights(model, optimizer, 0.6, granularity={"name": "block", "size": 4})
    with pytest.warns(GltWarning, match="sparsity 0.6 leaves matrix 2 of 2 without a block"):
        model[1].weight.grad = model[1].weight.detach().clone()
        optimizer.step()


def test_the_share_of_the_last_layer_has_its_floor_in_blocks():
    scores = {"a.0.weight": torch.rand(32, 64) + 1, "b.0.weight": torch.rand(8, 32)}
    block = build("granularities", {"name": "block", "size": 4})
    last = [float(block.masks(scores, 0.8, how, floor)["b.0.weight"].float().mean()) for how, floor in
            [("global", None), ("global", 0.25), ("uniform", None), ("uniform", 0.5)]]  # fmt: skip
    assert last[:2] == [0.0, 0.25] and 0.1 < last[2] <= 0.3 and last[3] == 0.5
    dense = block.masks(scores, 0.05, "uniform_plus")
    assert bool(dense["a.0.weight"].all()) and not bool(dense["b.0.weight"].all())
    assert "uniform_plus" in message(block.masks, scores, 0.8, "uniform_plus")


@pytest.mark.parametrize("granularity", EVERY, ids=str)
@pytest.mark.parametrize("sparsity", [0.5, 0.8])
def test_every_step_ends_on_whole_groups(granularity, sparsity):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    if granularity == "feature":  # 40 of the 106 weights are of the first layer
        sparsity /= 4
    constraint = project_weights(model, optimizer, sparsity, granularity=granularity)
    x = torch.rand(20, 5)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), torch.arange(20) % 3).backward()
        optimizer.step()
        weights = prunable_weights(model)
        assert constraint.holds()
        masks = largest_weights(weights, sparsity, granularity=granularity)
        assert all(not weights[name][~mask].any() for name, mask in masks.items())
        assert sum(int((w != 0).sum()) for w in weights.values()) == sum(int(m.sum()) for m in masks.values())
        assert constraint.keep == keep_count(106, sparsity)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    optimizer.zero_grad()
    with pytest.raises(TrainingError, match="NaN"):
        constraint.apply()


@pytest.mark.parametrize("granularity", EVERY, ids=str)
def test_projecting_twice_is_projecting_once(granularity):
    model = network()
    sparsity = 0.2 if granularity == "feature" else 0.6
    constraint = project_weights(model, torch.optim.SGD(model.parameters()), sparsity, granularity=granularity)
    constraint.apply()
    once = [p.detach().clone() for p in model.parameters()]
    constraint.apply()
    assert all(torch.equal(a, b) for a, b in zip(once, model.parameters(), strict=True))


@pytest.mark.parametrize("how", ALLOCATIONS)
@settings(max_examples=15)
@given(stacks(), st.floats(0, 0.9))
def test_element_is_what_allocate_does(how, scores, sparsity):
    possible(scores, sparsity)
    try:
        want = allocate(scores, sparsity, how)
    except GltError as error:
        assert message(build("granularities", "element").masks, scores, sparsity, how) == str(error)
        return
    got = build("granularities", "element").masks(scores, sparsity, how, pool="rms")
    assert all(torch.equal(got[name], mask) for name, mask in want.items())


@pytest.mark.parametrize("granularity", [*WHOLE.values()], ids=str)
def test_mistakes_are_one_line(granularity):
    scores = {"a.0.weight": torch.rand(4, 6), "b.0.weight": torch.rand(3, 4)}
    masks = build("granularities", granularity).masks
    assert "[0, 1)" in message(masks, scores, 1.0)
    assert "use at most" in message(masks, scores, 0.95)
    assert "'erk'?" in message(masks, scores, 0.5, "erc")
    assert "alive" in message(masks, scores, 0.5, alive={"a.0.weight": torch.ones(4, 6, dtype=torch.bool)})
    assert "NaN" in message(masks, scores | {"a.0.weight": torch.full((4, 6), torch.nan)}, 0.3)
    assert "did you mean 'unit'" in message(largest_weights, scores, 0.5, granularity="units")


@pytest.mark.parametrize("granularity", [*WHOLE.values()], ids=str)
def test_other_tensors_than_matrices_are_kept(granularity):
    scores = {
        "a.0.weight": torch.rand(4, 6),
        "a.0.bias": torch.zeros(4),
        "a.0.att": torch.zeros(1, 2, 2),
        "b.0.weight": torch.rand(3, 4),
    }
    masks = build("granularities", granularity).masks(scores, 0.2)
    assert bool(masks["a.0.bias"].all()) and bool(masks["a.0.att"].all())
    assert sum(int(mask.sum()) for mask in masks.values()) <= keep_count(44, 0.2)
    again = build("granularities", granularity).masks(scores, 0.2, alive=masks)
    assert all(torch.equal(again[name], mask) for name, mask in masks.items())


def test_random_numbers_of_groups_are_not_averages():
    """Small tiles at the edge are as likely to stay as whole ones."""
    block = build("granularities", {"name": "block", "size": 8})
    edge = whole = 0
    for seed in range(40):
        torch.manual_seed(seed)
        mask = block.masks({"w": torch.rand(64, 65)}, 0.8, pool="first")["w"]
        edge, whole = edge + int(mask[::8, 64].sum()), whole + int(mask[::8, :64:8].sum())
    assert 0.12 < edge / (40 * 8) < 0.3 and 0.15 < whole / (40 * 64) < 0.25


def test_no_experiment_is_renamed():
    plain = Config(strategy="imp")
    assert plain.id == Config(strategy={"name": "imp", "pruner": {"name": "magnitude", "granularity": "element"}}).id
    assert plain.id != Config(strategy={"name": "imp", "pruner": {"name": "magnitude", "granularity": "unit"}}).id
    teddy = Config(strategy={"name": "teddy", "granularity": {"name": "block", "size": 8}})
    assert teddy.spec()["strategy"] == {"name": "teddy", "granularity": {"name": "block", "size": 8}}
    assert Config(strategy="teddy").id == Config(strategy={"name": "teddy", "granularity": "element"}).id
    assert Config.load(None, ["strategy.granularity={name: n:m, n: 1, m: 4}"]).strategy.granularity.m == 4
