"""WD-GLT: who ascends, who descends, on what loss, and within which bounds."""

from functools import partial

import pytest
import torch

from glt.constraints import freeze_weights
from glt.forward import Forward
from glt.losses import cross_entropy
from glt.masks import SoftMasked
from glt.problem import Problem
from glt.registry import build
from glt.schedules.level import Level
from glt.train import Recipe
from glt.wasserstein import class_distance

BOTH = pytest.mark.parametrize("name", ["wd_glt", "wd_glt_joint"])


def problem_of(data, epochs=6):
    return Problem(data, build("backbones", {"name": "gcn", "hidden": 8, "dropout": 0.0}), Recipe(epochs=epochs))


@pytest.fixture
def stepped(monkeypatch):
    """(masked models after mask training, the state and options each began with) of the searches of a test."""
    made, init = [], SoftMasked.__init__

    def noting(self, *args, **options):
        init(self, *args, **options)
        self.began = {k: v.detach().clone() for k, v in self.state_dict().items()}
        if self.names:  # not the one that soft masks are checked with
            made.append(self)

    monkeypatch.setattr(SoftMasked, "__init__", noting)
    return made


@BOTH
def test_one_step_goes_up_on_edges_in_the_min_max_and_down_on_all_else(name, sbm, stepped):
    problem = problem_of(sbm)
    strategy = build("strategies", {"name": name, "mask_epochs": 1})
    next(strategy.tickets(problem, [Level(1, 0.2, 0.2)]))
    soft = stepped[0]
    after = {k: v.detach().clone() for k, v in soft.state_dict().items()}
    soft.load_state_dict(soft.began)
    logits = Forward(soft, problem.data)()
    (cross_entropy(sbm)(logits) - 0.1 * class_distance(logits.softmax(1))).backward()
    up = -1 if name == "wd_glt_joint" else 1
    moved = (soft.began["edges"] + up * 0.01 * soft.edges.grad.sign()).clamp(0, 1)
    large = soft.edges.grad.abs() > 1e-6
    assert int(large.sum()) > 20
    torch.testing.assert_close(after["edges"][large], moved[large], rtol=0, atol=2e-4)
    for key, mask in (("weights.0", soft.weights[0]), ("weights.1", soft.weights[1])):
        large = mask.grad.abs() > 1e-6
        moved = soft.began[key] - 0.01 * mask.grad.sign()
        torch.testing.assert_close(after[key][large], moved[large], rtol=0, atol=2e-4)


@BOTH
def test_edge_masks_end_within_bounds_and_weight_masks_are_free(name, sbm, stepped):
    next(build("strategies", name).tickets(problem_of(sbm, 30), [Level(1, 0.2, 0.2)]))
    edges = stepped[0].edges.detach()
    assert float(edges.min()) >= 0 and float(edges.max()) <= 1
    assert bool((edges == 1).any()) and bool((edges < 0.99).any())
    assert float(stepped[0].weights[0].detach().max()) > 1


def test_the_ascent_has_its_own_rate(sbm, stepped):
    next(
        build("strategies", {"name": "wd_glt", "edge_lr": 0.3, "mask_epochs": 1}).tickets(
            problem_of(sbm), [Level(1, 0.2, 0.2)]
        )
    )
    soft = stepped[0]
    assert float((soft.edges.detach() - soft.began["edges"]).abs().max()) == pytest.approx(0.3, abs=1e-3)
    assert float((soft.weights[0].detach() - soft.began["weights.0"]).abs().max()) == pytest.approx(0.01, abs=1e-4)


def test_the_two_prune_different_edges_and_the_distance_matters(sbm):
    found = {}
    for spec in ("wd_glt", "wd_glt_joint", {"name": "wd_glt_joint", "wasserstein": 0.0}):
        found[str(spec)] = next(build("strategies", spec).tickets(problem_of(sbm, 30), [Level(1, 0.3, 0.3)])).edge_keep
    one, two, three = found.values()
    assert not torch.equal(one, two) and not torch.equal(two, three)


def test_a_sample_of_nodes_is_repeatable_and_follows_the_seed(sbm, tmp_path):
    def digest(nodes, seed=0):
        problem = Problem(sbm, build("backbones", {"name": "gcn", "hidden": 8}), Recipe(epochs=6), seed)
        strategy = build("strategies", {"name": "wd_glt_joint", "nodes": nodes})
        return next(strategy.tickets(problem, [Level(1, 0.3, 0.3)])).save(tmp_path / "it.safetensors")

    assert digest(20) == digest(20) != digest(None)
    assert digest(60) == digest(None) == digest(4096)


def test_the_ticket_itself_is_trained_without_the_distance(sbm):
    problem = problem_of(sbm, 10)
    ticket = next(build("strategies", "wd_glt").tickets(problem, [Level(1, 0.2, 0.2)]))
    again = problem.fit(
        problem.subgraph(ticket.edge_keep), constrain=partial(freeze_weights, masks=ticket.weight_masks)
    )
    assert all(torch.equal(again.state[name], value) for name, value in ticket.trained.items())
