"""TEDDY's own options."""

import copy

import pytest
import torch

from glt.constraints import prunable_weights
from glt.errors import GltError, TrainingError
from glt.problem import Problem
from glt.registry import build
from glt.schedules.level import Level
from glt.select import keep_count, keep_top
from glt.sparsify import keep_arcs
from glt.train import Recipe

LEVEL = Level(1, 0.4, 0.6)


@pytest.fixture(scope="module")
def data():
    return build("datasets", {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4})()


def problem(data, epochs=5, **options):
    return Problem(data, build("backbones", {"name": "gcn", "hidden": 8}), Recipe(epochs=epochs, lr=0.05), **options)


def teddy(**options):
    return build("strategies", {"name": "teddy", **options})


def ticket(data, level=LEVEL, **options):
    return next(iter(teddy(**options).tickets(problem(data), [level])))


def same(one, two):
    return torch.equal(one.edge_keep, two.edge_keep) and all(
        torch.equal(v, two.trained[k]) for k, v in one.trained.items()
    )


def test_without_distillation_there_is_no_teacher(data, monkeypatch):
    phases = []
    alone = problem(data, on_epoch=lambda phase, epoch, val: phases.append(phase))
    monkeypatch.setattr(Problem, "dense", property(lambda self: pytest.fail("a teacher was trained")))
    found = next(iter(teddy(weight=0).tickets(alone, [LEVEL])))
    assert set(phases) == {"level 1"}
    assert found.metrics["search_epochs"] == 5


def test_with_distillation_the_teacher_counts(data):
    assert ticket(data).metrics["search_epochs"] == 10
    found = list(teddy().tickets(problem(data), [LEVEL, Level(2, 0.5, 0.7)]))
    assert [f.metrics["search_epochs"] for f in found] == [10, 10], "each could have been searched alone"


def test_the_teacher_is_trained_once(data):
    phases = []
    one = problem(data, on_epoch=lambda phase, epoch, val: phases.append(phase))
    list(teddy().tickets(one, [LEVEL, Level(2, 0.5, 0.7)]))
    assert phases == ["dense"] * 5 + ["level 1"] * 5 + ["level 2"] * 5


def blinded(data, mask):
    """A problem whose teacher has no outputs on the nodes of ``mask``."""
    dense = copy.copy(problem(data).dense)
    dense.logits = dense.logits.clone()
    dense.logits[mask] = float("nan")
    blind = problem(data)
    blind.dense = dense
    return blind


def test_held_out_reads_no_teacher_output_on_validation_and_test_nodes(data):
    assert bool((~(data.val_mask | data.test_mask)).any())
    strategy = teddy(distil="held_out")
    blind = blinded(data, data.val_mask | data.test_mask)
    assert same(next(iter(strategy.tickets(blind, [LEVEL]))), ticket(data, distil="held_out"))


def test_held_out_reads_the_teacher_elsewhere(data):
    with pytest.raises(TrainingError, match="nan"):
        next(iter(teddy(distil="held_out").tickets(blinded(data, data.train_mask), [LEVEL])))


def test_all_reads_the_teacher_everywhere(data):
    for mask in (data.val_mask, data.test_mask):
        with pytest.raises(TrainingError, match="nan"):
            next(iter(teddy(distil="all").tickets(blinded(data, mask), [LEVEL])))


def test_held_out_needs_a_node(data):
    full = data.clone()
    full.val_mask = ~data.test_mask  # the training nodes among them
    with pytest.raises(GltError, match="held_out"):
        ticket(full, distil="held_out")


def test_the_student_follows_its_teacher(data):
    dense = copy.copy(problem(data).dense)
    dense.logits = torch.tensor([0.0, 9.0, 0.0]).repeat(120, 1)

    def share_of_class_1(weight):
        one = problem(data, epochs=30)
        one.dense = dense
        found = next(iter(teddy(weight=weight).tickets(one, [LEVEL])))
        sub = found.apply(data)
        model = found.restore(one.model()).eval()
        with torch.no_grad():
            return float((model(sub.x.to_dense(), sub.edge_index).argmax(1) == 1).double().mean())

    assert share_of_class_1(10.0) > 0.95
    assert share_of_class_1(0.0) < 0.6


def test_options_change_the_weights_and_not_the_edges(data):
    one = ticket(data)
    for options in ({"weight": 0}, {"weight": 1}, {"temperature": 3}, {"distil": "held_out"}):
        other = ticket(data, **options)
        assert torch.equal(one.edge_keep, other.edge_keep)
        assert not same(one, other), options


@pytest.mark.parametrize("scorer", ["teddy", "degree", "random", {"name": "random", "seed": 7}])
def test_edges_are_those_of_the_scorer(data, scorer):
    found = ticket(data, scorer=scorer)
    arcs = keep_arcs(data, build("scorers", scorer), LEVEL.graph_sparsity)
    assert torch.equal(found.apply(data).edge_index, data.edge_index[:, arcs])


def test_random_scorers_know_their_seed(data):
    keeps = [ticket(data, scorer={"name": "random", "seed": seed}).edge_keep for seed in (0, 0, 1)]
    assert torch.equal(keeps[0], keeps[1])
    assert not torch.equal(keeps[0], keeps[2])
    assert not torch.equal(keeps[0], ticket(data).edge_keep)


@pytest.mark.parametrize("scorer", ["teddy", "degree", "random"])
def test_directed_graphs_are_scored_as_directed(data, scorer):
    directed = data.clone()
    source, target = data.edge_index
    directed.edge_index = data.edge_index[:, (source < target) | (torch.arange(source.numel()) % 3 == 0)]
    found = next(iter(teddy(scorer=scorer).tickets(problem(directed, undirected=False), [LEVEL])))
    arcs = keep_arcs(directed, build("scorers", scorer), LEVEL.graph_sparsity, undirected=False)
    assert torch.equal(found.apply(directed).edge_index, directed.edge_index[:, arcs])


def test_scores_are_computed_once_and_outlive_every_level(data):
    calls = []

    def scorer(data, model=None):
        calls.append(torch.rand(data.num_edges))
        return calls[-1]

    one = problem(data)
    levels = [Level(1, 0.2, 0.1), Level(2, 0.4, 0.2), Level(3, 0.6, 0.3)]
    found = list(teddy(scorer=scorer).tickets(one, levels))
    assert len(calls) == 1
    pooled = one.edges.pool(calls[0])
    for level, each in zip(levels, found, strict=True):
        assert torch.equal(each.edge_keep, keep_top(pooled, one.edges.count(level.graph_sparsity)))


def test_biases_are_pruned_on_request(data):
    without, with_biases = ticket(data), ticket(data, biases=True)
    assert {name.endswith("bias") for name in without.weight_masks} == {False}
    assert with_biases.weight_masks.keys() == prunable_weights(problem(data).model(), biases=True).keys()
    total = 30 * 8 + 8 + 8 * 3 + 3
    assert sum(mask.numel() for mask in with_biases.weight_masks.values()) == total
    assert sum(int(mask.sum()) for mask in with_biases.weight_masks.values()) == keep_count(total, 0.6)
    for name, mask in with_biases.weight_masks.items():
        assert not with_biases.trained[name][~mask].any()
    assert with_biases.verify(data, build("backbones", {"name": "gcn", "hidden": 8})(30, 3)).ok


def test_masks_are_the_largest_trained_weights(data):
    found = ticket(data)
    kept = torch.cat([found.trained[k][m].abs() for k, m in found.weight_masks.items()])
    assert bool((kept > 0).all())
    assert any(
        not torch.equal(m, ticket(data, Level(1, 0.4, 0.5)).weight_masks[k]) for k, m in found.weight_masks.items()
    )


@pytest.mark.parametrize(
    ("options", "track"),
    [({}, "all"), ({"distil": "held_out"}, "held_out"), ({"weight": 0}, "none"), ({"weight": 0.0}, "none")],
)
def test_the_track_says_which_nodes_the_teacher_spoke_on(options, track):
    assert teddy(**options).track == track


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scorer": "tedy"}, "did you mean 'teddy'"),
        ({"scorer": {"name": "random", "sed": 1}}, "did you mean 'seed'"),
        ({"scorer": 5}, "5"),
        ({"weight": -1}, "'weight' = -1"),
        ({"temperature": 0}, "'temperature' = 0"),
        ({"distil": "some"}, "'distil' = 'some'"),
    ],
)
def test_bad_options_are_refused_when_the_strategy_is_built(options, words):
    with pytest.raises(GltError) as error:
        teddy(**options)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_scorer_that_gives_nan_is_an_error(data):
    with pytest.raises(GltError, match="NaN"):
        ticket(data, scorer=lambda data, model=None: torch.full((data.num_edges,), float("nan")))
    with pytest.raises(GltError, match="one number per arc"):
        ticket(data, scorer=lambda data, model=None: torch.zeros(3))
