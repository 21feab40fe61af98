"""Early-bird tickets: when they are drawn, from what, and what that costs."""

import pytest
import torch

from glt.edges import PrunableEdges
from glt.errors import TrainingError
from glt.masks import SoftMasked
from glt.problem import Problem
from glt.registry import build
from glt.schedules.level import Level
from glt.select import keep_top
from glt.strategies.gebt import EarlyBird, _Proximal
from glt.train import Recipe, fit

LEVEL = Level(1, 0.25, 0.5)


def backbone():
    return build("backbones", {"name": "gcn", "hidden": 8})


def drawn(data, recipe, **options):
    """(ticket, phases with epochs) of one search."""
    seen = []
    problem = Problem(data, backbone(), recipe, on_epoch=lambda phase, epoch, val: seen.append((phase, epoch)))
    strategy = build("strategies", {"name": "gebt", **options})
    return problem, next(strategy.tickets(problem, [LEVEL])), seen


def soft_of(data, model=None):
    edges = PrunableEdges.of(data.edge_index, data.num_nodes)
    keep = torch.ones(edges.num_edges, dtype=torch.bool)
    return SoftMasked(model or backbone()(8, 3), data, edges, keep, {}, edge_options={"lr": 1e-3})


def test_masks_settle_when_three_distances_in_a_row_are_small(sbm):
    soft = soft_of(sbm)
    edges, weights = soft.edges.numel(), [p for p in soft.model.parameters() if p.dim() == 2]
    total = sum(p.numel() for p in weights)
    bird = EarlyBird(edges // 2, 0.5, threshold=0.1)
    swapped = round(0.2 * edges)  # so many edges come, as many go
    with torch.no_grad():
        soft.edges.copy_(torch.arange(edges, 0, -1))
        assert [bird(soft, epoch) for epoch in (1, 2, 3)] == [False] * 3
        assert list(bird.distances) == [0.0, 0.0]
        soft.edges.copy_(torch.arange(edges, 0, -1).roll(swapped))
        assert not bird(soft, 4)
        first = bird.edges
        assert bird.distances[-1] == pytest.approx(2 * swapped / edges)
        assert not bird(soft, 5) and not bird(soft, 6)
        weights[0].view(-1)[weights[0].abs().argmin()] = 1e3  # one weight comes, another goes
        assert bird(soft, 7) and bird.settled
        assert list(bird.distances) == [0.0, 0.0, pytest.approx(2 / total)]
    assert torch.equal(first, bird.edges) and torch.equal(first, keep_top(soft.edges, edges // 2))
    assert sum(int(mask.sum()) for mask in bird.weights.values()) == total // 2


def test_a_small_distance_is_below_the_threshold_not_at_it(sbm):
    soft, bird = soft_of(sbm), EarlyBird(5, 0.5, threshold=0.0)
    assert not any(bird(soft, epoch) for epoch in range(1, 9))


def test_which_of_the_values_at_0_stay_is_drawn_once(sbm):
    soft = soft_of(sbm)
    kept = soft.edges.numel() // 2
    with torch.no_grad():
        soft.edges.zero_()
    one, other = EarlyBird(kept, 0.5, 0.1), EarlyBird(kept, 0.5, 0.1, seed=1)
    for epoch in (1, 2):
        one(soft, epoch), other(soft, epoch)
    assert list(one.distances) == list(other.distances) == [0.0], "the same ones in every epoch"
    assert not torch.equal(one.edges, keep_top(soft.edges, kept)), "by no order of the file"
    assert not torch.equal(one.edges, other.edges) and int(one.edges.sum()) == kept


@pytest.mark.parametrize("where", ["edges", "weights"])
def test_a_value_that_is_none_is_an_error(sbm, where):
    soft, bird = soft_of(sbm), EarlyBird(5, 0.5, 0.1)
    with torch.no_grad():
        values = soft.edges if where == "edges" else next(p for p in soft.model.parameters() if p.dim() == 2)
        values.view(-1)[3] = torch.nan
    with pytest.raises(TrainingError, match="became NaN at epoch 2: lower"):
        bird(soft, 2)


def test_the_ticket_is_drawn_early_and_says_so(sbm):
    _, ticket, seen = drawn(sbm, Recipe(epochs=60), threshold=0.1)
    searching = [epoch for phase, epoch in seen if phase == "masks 1"]
    assert ticket.metrics["settled"] is True
    assert 4 <= ticket.metrics["drawn_at"] < 60
    assert searching == list(range(1, ticket.metrics["drawn_at"] + 1))
    assert ticket.metrics["search_epochs"] == ticket.metrics["drawn_at"] + 60
    assert {phase for phase, _ in seen} == {"masks 1", "level 1"}, "no dense training is needed"


def test_masks_that_never_settle_are_drawn_at_the_end_and_say_so(sbm):
    _, ticket, _ = drawn(sbm, Recipe(epochs=9), threshold=0.0)
    assert (ticket.metrics["drawn_at"], ticket.metrics["settled"]) == (9, False)
    _, ticket, _ = drawn(sbm, Recipe(epochs=9), threshold=0.0, mask_epochs=3)
    assert (ticket.metrics["drawn_at"], ticket.metrics["settled"]) == (3, False)
    assert ticket.metrics["search_epochs"] == 3 + 9


def test_what_is_left_inherits_the_weights_of_that_epoch(sbm):
    recipe = Recipe(epochs=30)
    problem, ticket, _ = drawn(sbm, recipe)
    soft = soft_of(sbm, problem.model())
    bird = EarlyBird(problem.edges.count(0.25), 0.5, 0.1)
    result = fit(soft, sbm, recipe, constrain=lambda m, o: _Proximal(m, o, bird.edges_kept, 1e-3), stop=bird)
    assert result.epochs == ticket.metrics["drawn_at"]
    assert torch.equal(ticket.edge_keep, bird.edges)
    for name, value in soft.model.state_dict().items():
        assert torch.equal(ticket.initial[name], value)
        assert not torch.equal(value, problem.initial[name])
    for name, mask in bird.weights.items():
        assert torch.equal(ticket.weight_masks[name], mask)


def test_rewinding_is_an_option(sbm):
    problem, ticket, _ = drawn(sbm, Recipe(epochs=12), rewind_to=0)
    assert all(torch.equal(ticket.initial[name], value) for name, value in problem.initial.items())


def test_distillation_is_an_option_and_its_teacher_is_paid_for(sbm):
    _, plain, _ = drawn(sbm, Recipe(epochs=12))
    _, taught, _ = drawn(sbm, Recipe(epochs=12), weight=5.0)
    assert taught.metrics["search_epochs"] == 12 + taught.metrics["drawn_at"] + 12
    assert not torch.equal(taught.trained["convs.0.bias"], plain.trained["convs.0.bias"])


def test_the_proximal_term_by_hand(sbm):
    soft = soft_of(sbm)
    optimizer = torch.optim.SGD([soft.edges], lr=1.0)
    with torch.no_grad():
        soft.edges.fill_(0.5)
        soft.edges[:3] = torch.tensor([2.0, 1.0, 3.0])
    with _Proximal(soft, optimizer, keep=2, rho=0.1):
        soft.edges.grad = torch.zeros_like(soft.edges)
        optimizer.step()
        torch.testing.assert_close(soft.edges[:4].detach(), torch.tensor([2.0, 0.9, 3.0, 0.45]))
        soft.edges.grad = torch.full_like(soft.edges, 2.5)
        optimizer.step()
        assert soft.edges.detach()[:4].tolist() == [0.0, 0.0, 0.5, 0.0]
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
