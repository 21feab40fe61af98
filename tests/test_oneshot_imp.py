"""What oneshot, imp and random have besides the contract of every strategy."""

import pytest
import torch

from glt.constraints import largest_weights, prunable_weights
from glt.errors import GltError
from glt.forward import Forward
from glt.losses import cross_entropy
from glt.problem import Problem
from glt.pruners.base import Pruning
from glt.registry import build
from glt.schedules.geometric import Geometric
from glt.schedules.level import Level
from glt.select import keep_top
from glt.ticket import Ticket
from glt.train import Recipe, fit

EPOCHS = 6
LEVELS = Geometric(graph_rate=0.1, weight_rate=0.2, levels=3)


def problem(sbm, seed=0, backbone="gcn"):
    return Problem(sbm, build("backbones", {"name": backbone, "hidden": 8}), Recipe(epochs=EPOCHS), seed)


def tickets(problem, strategy, levels=LEVELS):
    return list(build("strategies", strategy).tickets(problem, levels))


@pytest.mark.parametrize("strategy", ["random", {"name": "teddy", "scorer": "random"}, "imp"])
def test_what_is_random_is_drawn_anew_for_every_seed(strategy, sbm):
    one, two = (tickets(problem(sbm, seed), strategy)[0].edge_keep for seed in (0, 1))
    assert torch.equal(one, two) == (strategy == "imp")  # whose edges TEDDY's score chooses


def test_seeds_reach_the_scorers_inside_scorers(sbm):
    base = {"name": "teddy", "scorer": {"name": "spanning_forest", "base": "random"}}
    blend = {"name": "teddy", "selection": {"blend": ["random"]}}
    for strategy in (base, blend):
        one, two = (tickets(problem(sbm, seed), strategy)[1].edge_keep for seed in (0, 1))
        assert not torch.equal(one, two)


def test_a_selection_is_asked_for_the_edges(sbm):
    p = problem(sbm)
    scores = p.edges.pool(build("scorers", "teddy")(sbm))
    for name in ("teddy", "imp", "oneshot"):
        for level, ticket in zip(LEVELS, tickets(p, {"name": name, "selection": {"inverse": True}}), strict=True):
            assert torch.equal(ticket.edge_keep, keep_top(-scores, p.edges.count(level.graph_sparsity)))


def test_levels_and_per_node_would_both_say_how_many_edges_stay():
    with pytest.raises(GltError, match=r"selection.per_node = 3 says how many edges stay, and so do the levels"):
        build("strategies", {"name": "teddy", "selection": {"per_node": 3}})


def test_oneshot_prunes_the_trained_dense_model_once(sbm):
    p = problem(sbm)
    dense = {name: p.dense.state[name] for name in prunable_weights(p.model())}
    for level, ticket in zip(LEVELS, tickets(p, "oneshot"), strict=True):
        want = largest_weights(dense, level.weight_sparsity)
        assert all(torch.equal(mask, want[name]) for name, mask in ticket.weight_masks.items())
        assert ticket.metrics["search_epochs"] == 2 * EPOCHS


def test_pruning_before_training_trains_no_dense_model(sbm):
    p = problem(sbm)
    (ticket,) = tickets(p, {"name": "oneshot", "pruner": "snip", "at": "initial"}, [Level(1, 0.0, 0.5)])
    assert "dense" not in vars(p)
    assert ticket.metrics["search_epochs"] == EPOCHS
    scores = build("pruners", "snip")(Pruning(p.model(), sbm, cross_entropy(sbm)))
    want = largest_weights(scores, 0.5)
    assert all(torch.equal(mask, want[name]) for name, mask in ticket.weight_masks.items())


def test_imp_prunes_what_the_round_before_has_trained(sbm):
    p = problem(sbm)
    found = tickets(p, "imp")
    state, alive = p.dense.state, None
    for number, (level, ticket) in enumerate(zip(LEVELS, found, strict=True), start=1):
        weights = {name: state[name] for name in ticket.weight_masks}
        alive = largest_weights(weights, level.weight_sparsity, alive)
        assert all(torch.equal(mask, alive[name]) for name, mask in ticket.weight_masks.items())
        assert ticket.metrics["search_epochs"] == (1 + number) * EPOCHS
        state = ticket.trained


def test_a_level_that_is_not_asked_for_is_a_round_all_the_same(sbm):
    (last,) = tickets(problem(sbm), "imp", Geometric(graph_rate=0.1, weight_rate=0.2, levels=(3,)))
    every = tickets(problem(sbm), "imp")[-1]
    assert all(torch.equal(mask, every.weight_masks[name]) for name, mask in last.weight_masks.items())
    assert last.metrics == every.metrics


@pytest.mark.parametrize("name", ["imp", "oneshot"])
def test_late_rewinding_starts_from_the_dense_training_so_far(name, sbm):
    p = problem(sbm)
    model = p.model()
    fit(model, sbm, Recipe(epochs=2), seed=0)
    for ticket in tickets(p, {"name": name, "rewind_to": 2 / EPOCHS}):
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in ticket.initial.items())
    assert all(torch.equal(value, p.initial[key]) for key, value in tickets(p, name)[0].initial.items())


@pytest.mark.parametrize("name", ["imp", "oneshot"])
def test_without_rewinding_training_goes_on_from_the_trained_weights(name, sbm):
    p = problem(sbm)
    first = tickets(p, {"name": name, "rewind_to": "none"})[0]
    assert all(torch.equal(value, p.dense.state[key]) for key, value in first.initial.items())


@pytest.mark.parametrize("to", [-0.1, 1.5, "never"])
def test_rewinding_to_nowhere_is_an_error(to):
    with pytest.raises(GltError, match=rf"option 'rewind_to' = {to!r}: Input should be [^_]*, or 'none'$"):
        build("strategies", {"name": "imp", "rewind_to": to})


def test_a_scorer_that_needs_a_model_gets_the_trained_dense_one(sbm, monkeypatch):
    seen = []
    scorer = build("scorers", "gradient")
    call = type(scorer).__call__
    monkeypatch.setattr(
        type(scorer), "__call__", lambda self, data, model=None: seen.append(model) or call(self, data, model)
    )
    p = problem(sbm)
    (ticket,) = tickets(p, {"name": "teddy", "scorer": "gradient", "weight": 0}, [Level(1, 0.5, 0.5)])
    assert torch.equal(Forward(seen[-1], sbm).evaluate(), p.dense.logits)
    assert ticket.metrics["search_epochs"] == 2 * EPOCHS


def test_imp_does_not_go_on_from_a_ticket_without_trained_weights(sbm, tmp_path):
    p = problem(sbm)
    tickets(p, "imp")[0].save(tmp_path / "bare.safetensors", trained=False)
    start = Ticket.load(tmp_path / "bare.safetensors")
    with pytest.raises(GltError, match="level 1 was saved without trained weights"):
        next(build("strategies", "imp").tickets(p, list(LEVELS), start))


@pytest.mark.parametrize(("name", "other"), [("imp", EPOCHS), ("oneshot", EPOCHS), ("random", 0)])
def test_the_early_training_is_in_the_cost(name, other, sbm, tmp_path):
    p = problem(sbm)
    found = tickets(p, {"name": name, "rewind_to": 0.5})
    rounds = (1, 2, 3) if name == "imp" else (1, 1, 1)
    assert [t.metrics["search_epochs"] for t in found] == [EPOCHS // 2 + other + n * EPOCHS for n in rounds]
    if name == "imp":
        found[0].save(tmp_path / "level1.safetensors")
        start = Ticket.load(tmp_path / "level1.safetensors")
        again = build("strategies", {"name": name, "rewind_to": 0.5}).tickets(problem(sbm), list(LEVELS), start)
        assert [t.metrics for t in again] == [t.metrics for t in found[1:]]
