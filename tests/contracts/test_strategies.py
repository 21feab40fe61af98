"""What every registered strategy promises."""

import copy
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from reference.backbones import small
from torch import nn
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from glt.constraints import prunable_weights
from glt.edges import PrunableEdges
from glt.errors import GltError, TrainingError
from glt.find import find
from glt.problem import Problem
from glt.registry import build, get, names
from glt.schedules.geometric import Geometric
from glt.schedules.level import Level
from glt.select import keep_count
from glt.ticket import Ticket
from glt.train import Recipe

FINDS_NOTHING = {"dense"}  # has no level besides the dense one, which every run has
QUICK = Recipe(epochs=4, lr=0.05)
LEVELS = [Level(2, 0.15, 0.3), Level(5, 0.333, 0.0), Level(7, 0.0, 0.77), Level(9, 0.61, 0.9)]
ASCENDING = [Level(2, 0.15, 0.0), Level(5, 0.333, 0.3), Level(7, 0.333, 0.77), Level(9, 0.61, 0.9)]
PATH = Geometric(graph_rate=0.2, weight_rate=0.2, levels=4)

every = pytest.mark.parametrize("name", names("strategies"))
searching = pytest.mark.parametrize("name", [name for name in names("strategies") if name not in FINDS_NOTHING])
iterative = pytest.mark.parametrize("name", [name for name in names("strategies") if get("strategies", name).iterative])


@pytest.fixture(scope="module")
def data():
    return build("datasets", {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4})()


def backbone(name="gcn"):
    return small(name)


def levels_of(name):
    """Levels that the strategy can visit; where it finds each by itself they go up and down."""
    return ASCENDING if get("strategies", name).iterative else LEVELS


def tickets(name, data, levels=None, seed=0, start=None):
    problem = Problem(data, backbone(), QUICK, seed)
    return problem, list(build("strategies", name).tickets(problem, levels or levels_of(name), start))


def rewinds(name):
    """Whether tickets start from the problem's initial weights."""
    return getattr(build("strategies", name), "rewind_to", 0.0) == 0.0


class Convolutions(nn.Module):
    """A user's stack of PyG's layers."""

    def __init__(self, layer, **options):
        super().__init__()
        self.first = layer(30, 8, **options)
        self.last = layer(8, 3, **options)

    def forward(self, x, edge_index):
        x = self.first(x, edge_index).relu()
        return self.last(nn.functional.dropout(x, 0.5, self.training), edge_index)


class Plain(nn.Module):
    """A user's module that knows nothing of PyG, with a buffer, a norm and an unused parameter."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(30, 8)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 3)
        self.unused = nn.Parameter(torch.ones(2, 2))
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x, edge_index):
        h = self.norm(self.lift(x)).relu()
        return self.head(h + self.scale * torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]]))


MODULES = {
    "GCNConv": lambda: Convolutions(GCNConv),
    "SAGEConv": lambda: Convolutions(SAGEConv),
    "GATConv": lambda: Convolutions(GATConv, heads=1),
    "plain": Plain,
}


@every
def test_a_ticket_per_level_in_their_order(name, data):
    _, found = tickets(name, data)
    assert [ticket.config["level"] for ticket in found] == [] if name in FINDS_NOTHING else [2, 5, 7, 9]


@searching
def test_sparsities_are_exact(name, data):
    _, found = tickets(name, data)
    for level, ticket in zip(levels_of(name), found, strict=True):
        weights = sum(mask.numel() for mask in ticket.weight_masks.values())
        kept = sum(int(mask.sum()) for mask in ticket.weight_masks.values())
        assert weights == 30 * 8 + 8 * 3
        assert kept == keep_count(weights, level.weight_sparsity)
        assert int(ticket.edge_keep.sum()) == keep_count(240, level.graph_sparsity)
        assert ticket.metrics["graph_sparsity"] == ticket.graph_sparsity == 1 - float(ticket.edge_keep.double().mean())
        assert ticket.metrics["weight_sparsity"] == ticket.weight_sparsity


@searching
def test_both_arcs_go_and_come_together(name, data):
    _, found = tickets(name, data)
    for ticket in found:
        arcs = {tuple(arc) for arc in ticket.apply(data).edge_index.t().tolist()}
        assert len(arcs) == 2 * int(ticket.edge_keep.sum())
        assert arcs == {(v, u) for u, v in arcs}
        assert ticket.fingerprint == PrunableEdges.of(data.edge_index, 120).fingerprint()


@searching
def test_initial_weights_are_the_problems_own(name, data):
    problem = Problem(data, backbone(), QUICK)
    before = {k: v.clone() for k, v in problem.initial.items()}
    for ticket in build("strategies", name).tickets(problem, levels_of(name)[:2]):
        for state in (problem.initial, problem.model().state_dict()):
            assert state.keys() == before.keys()
            assert all(torch.equal(state[k], v) for k, v in before.items())
        assert ticket.initial.keys() == before.keys()
        assert all(torch.equal(ticket.initial[k], v) for k, v in before.items()) == rewinds(name)


@searching
def test_trained_weights_are_zero_where_pruned_and_were_trained(name, data):
    _, found = tickets(name, data)
    for ticket in found:
        for key, mask in ticket.weight_masks.items():
            assert mask.dtype == torch.bool and mask.shape == ticket.trained[key].shape
            assert not ticket.trained[key][~mask].any()
            if bool(mask.any()):
                assert not torch.equal(ticket.trained[key][mask], ticket.initial[key][mask])


@searching
def test_the_metric_is_of_this_very_object(name, data):
    _, found = tickets(name, data)
    for ticket in found:
        result = ticket.verify(data, backbone()(30, 3))
        assert result.ok
        assert all(check.stored == check.recomputed for check in result.checks)
        assert ticket.metrics["metric"] == "accuracy"
        assert 1 <= ticket.metrics["epoch"] <= QUICK.epochs


@searching
def test_edge_masks_are_nested_along_a_schedule(name, data):
    if get("strategies", name).soft_masks and not get("strategies", name).iterative:
        pytest.skip("trained masks, anew at every level")
    _, found = tickets(name, data, PATH)
    for one, two in pairwise(found):
        assert not bool((two.edge_keep & ~one.edge_keep).any())
        assert int(two.edge_keep.sum()) < int(one.edge_keep.sum())


@searching
def test_a_level_does_not_depend_on_the_levels_asked_for(name, data, tmp_path):
    if get("strategies", name).iterative:  # it depends on the path, which is one along a geometric schedule
        _, found = tickets(name, data, PATH)
        _, some = tickets(name, data, Geometric(graph_rate=0.2, weight_rate=0.2, levels=(2, 4)))
        assert [digest(ticket, tmp_path) for ticket in some] == [digest(found[i], tmp_path) for i in (1, 3)]
        return
    _, found = tickets(name, data)
    _, alone = tickets(name, data, LEVELS[2:3])
    assert digest(alone[0], tmp_path) == digest(found[2], tmp_path)


@iterative
def test_masks_are_nested_along_the_rounds(name, data):
    _, found = tickets(name, data, PATH)
    for one, two in pairwise(found):
        assert not bool((two.edge_keep & ~one.edge_keep).any())
        for key, mask in two.weight_masks.items():
            assert not bool((mask & ~one.weight_masks[key]).any())


@iterative
@pytest.mark.parametrize(
    "levels",
    [
        LEVELS,
        [Level(2, 0.3, 0.3), Level(3, 0.2, 0.4)],
        [Level(2, 0.3, 0.3), Level(3, 0.4, 0.2)],
        [Level(2, 0.3, 0.3), Level(2, 0.4, 0.4)],
        [Level(3, 0.3, 0.3), Level(2, 0.4, 0.4)],
    ],
)
def test_levels_have_to_ascend_where_one_leads_to_the_next(name, levels, data):
    with pytest.raises(GltError, match="an iterative strategy needs ascending levels") as error:
        tickets(name, data, levels)
    assert "\n" not in str(error.value)


@iterative
def test_the_rates_of_ugs_are_met_to_the_unit(name, data):
    _, found = tickets(name, data, Geometric(graph_rate=0.05, weight_rate=0.2, levels=6))
    for k, ticket in enumerate(found, start=1):
        assert int(ticket.edge_keep.sum()) == keep_count(240, 1 - 0.95**k)
        weights = sum(int(mask.sum()) for mask in ticket.weight_masks.values())
        assert weights == keep_count(30 * 8 + 8 * 3, 1 - 0.8**k)


@iterative
def test_a_search_goes_on_from_the_ticket_of_any_level(name, data, tmp_path):
    whole = [digest(ticket, tmp_path / f"{i}") for i, ticket in enumerate(tickets(name, data)[1])]
    for done in range(len(whole)):
        start = Ticket.load(tmp_path / f"{done}" / "it.safetensors")
        _, rest = tickets(name, data, start=start)
        assert [digest(ticket, tmp_path) for ticket in rest] == whole[done + 1 :]


@iterative
@pytest.mark.parametrize("options", [{}, {"rewind_to": 0.5}, {"rewind_to": "none"}])
def test_a_search_goes_on_from_every_round(name, options, data, tmp_path):
    if options and not hasattr(get("strategies", name), "rewind_to"):
        pytest.skip("always rewinds to the initial weights")
    strategy, handed = build("strategies", {"name": name, **options}), []
    problem = Problem(data, backbone(), QUICK)
    problem.on_round = handed.append
    whole = list(strategy.tickets(problem, ASCENDING))
    numbers = [ticket.config["level"] for ticket in handed]
    assert {1, 3, 4, 6, 8} <= set(numbers) and numbers == sorted(set(numbers)), "every round without a level, in order"
    for number, ticket in zip(numbers, handed, strict=True):
        digest(ticket, tmp_path)
        seen = []
        again = Problem(data, backbone(), QUICK, on_epoch=lambda phase, *_, seen=seen: seen.append(phase))
        assert again.dense.val
        rest = list(strategy.tickets(again, ASCENDING, Ticket.load(tmp_path / "it.safetensors")))
        after = [one for one in whole if one.config["level"] >= number + ("val" in ticket.metrics)]
        assert [digest(one, tmp_path) for one in rest] == [digest(one, tmp_path) for one in after]
        assert not {f"masks {number}", "dense, early"} & set(seen), "what was handed on is not trained again"


def digest(ticket, folder):
    folder.mkdir(exist_ok=True)
    return ticket.save(folder / "it.safetensors")


@searching
def test_the_same_seed_gives_the_same_bits_and_another_does_not(name, data, tmp_path):
    torch.manual_seed(5)
    one = digest(tickets(name, data, ASCENDING[:1])[1][0], tmp_path)
    torch.manual_seed(6)
    assert digest(tickets(name, data, ASCENDING[:1])[1][0], tmp_path) == one
    assert digest(tickets(name, data, ASCENDING[:1], seed=1)[1][0], tmp_path) != one


@searching
def test_the_global_random_state_and_the_graph_are_left_alone(name, data):
    before, state = data.clone(), torch.get_rng_state()
    tickets(name, data, ASCENDING[:1])
    assert torch.equal(torch.get_rng_state(), state)
    assert data.to_dict().keys() == before.to_dict().keys()
    assert torch.equal(data.edge_index, before.edge_index)
    assert torch.equal(data.x.to_dense(), before.x.to_dense())


@searching
def test_tickets_come_one_by_one(name, data):
    phases = []
    problem = Problem(data, backbone(), QUICK, on_epoch=lambda phase, epoch, val: phases.append(phase))
    iterator = build("strategies", name).tickets(problem, iter(levels_of(name)))
    next(iterator)
    first = len(phases)
    next(iterator)
    assert 0 < first < len(phases)
    assert "level 2" in phases[:first] and "level 5" not in phases[:first]


@searching
@pytest.mark.parametrize("kind", names("backbones"))
def test_every_backbone_can_be_searched(name, kind, data):
    ticket = find(backbone(kind), data, 0.4, 0.5, strategy=name, recipe=Recipe(epochs=2))
    assert ticket.graph_sparsity == 0.4
    assert ticket.verify(data, backbone(kind)(30, 3)).ok


@searching
@pytest.mark.parametrize("kind", MODULES)
def test_a_users_own_module_is_searched_and_not_touched(name, kind, data):
    module = MODULES[kind]().eval()
    if kind == "plain" and get("strategies", name).soft_masks:
        with pytest.raises(GltError, match=r"the model cannot be soft-masked.* a strategy without soft masks"):
            find(module, data, 0.25, 0.5, strategy=name, recipe=QUICK)
        return
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    ticket = find(module, data, 0.25, 0.5, strategy=name, recipe=QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    assert module.state_dict().keys() == before.keys() == ticket.initial.keys()
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
        assert torch.equal(value, ticket.initial[key]) or not rewinds(name)
    assert all(p.grad is None and not p._backward_hooks for p in module.parameters())
    assert not module._forward_hooks and not module._forward_pre_hooks
    assert ticket.weight_masks.keys() == prunable_weights(module).keys()
    weights = sum(mask.numel() for mask in ticket.weight_masks.values())
    assert sum(int(mask.sum()) for mask in ticket.weight_masks.values()) == keep_count(weights, 0.5)
    assert ticket.graph_sparsity == 0.25
    assert ticket.verify(data, MODULES[kind]()).ok


@searching
def test_a_directed_graph_loses_arcs(name, data):
    directed = data.clone()
    directed.edge_index = data.edge_index[:, ::3]
    ticket = find(backbone(), directed, 0.25, 0.5, strategy=name, recipe=QUICK, undirected=False)
    assert not ticket.undirected
    assert ticket.apply(directed).num_edges == keep_count(160, 0.25)
    with pytest.raises(GltError, match="undirected"):
        find(backbone(), directed, 0.25, 0.5, strategy=name, recipe=QUICK)


class Watched(Convolutions):
    """Says of every forward that is differentiated whether it was in training mode; may break down."""

    seen: ClassVar[list[bool]] = []
    broken: ClassVar[bool] = False

    def __init__(self):
        super().__init__(GCNConv)

    def forward(self, x, edge_index):
        if torch.is_grad_enabled():
            self.seen.append(self.training)
        out = super().forward(x, edge_index)
        return out * torch.nan if self.broken and self.training else out


@searching
def test_dropout_is_active_in_every_epoch_of_a_search(name, data, monkeypatch):
    epochs = []
    monkeypatch.setattr(Watched, "seen", [])
    problem = Problem(data, Watched(), QUICK, on_epoch=lambda phase, epoch, val: epochs.append(phase))
    list(build("strategies", name).tickets(problem, [Level(1, 0.2, 0.2)]))
    assert Watched.seen == [True] * len(epochs)


@searching
def test_a_number_that_is_none_ends_a_search(name, data, monkeypatch):
    problem = Problem(data, Watched(), QUICK)
    assert problem.dense.val
    monkeypatch.setattr(Watched, "broken", True)
    with pytest.raises(TrainingError, match=r"the loss became nan at epoch 1: lower train\.lr"):
        list(build("strategies", name).tickets(problem, [Level(1, 0.2, 0.2)]))
