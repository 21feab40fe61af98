"""What every registered control promises."""

from dataclasses import replace

import pytest
import torch
from reference.backbones import small
from torch import nn
from torch_geometric.nn import GCNConv

from glt.constraints import prunable_weights
from glt.controlled import problem_of
from glt.controls.base import reads_of, shared_key
from glt.controls.reinitialised import initialised_anew
from glt.controls.width_matched import narrowed
from glt.errors import GltError
from glt.find import find
from glt.problem import Problem
from glt.registry import build, names
from glt.strategies.base import Taught
from glt.ticket import Ticket
from glt.train import Recipe

QUICK = Recipe(epochs=4, lr=0.05)
TAUGHT = Taught(weight=2.0)
SAME_ARCHITECTURE = set(names("controls")) - {"width_matched", "mlp", "mlp_distilled"}
MASKED = {"degree", "random", "shuffled", "shuffled_global", "reinitialised"}

every = pytest.mark.parametrize("name", names("controls"))
CSBM = {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4}


@pytest.fixture(scope="module")
def data():
    return build("datasets", CSBM)()


def backbone(name="gcn", **options):
    return small(name, **{"hidden": 16, **options})


@pytest.fixture(scope="module")
def ticket(data):
    return find(backbone(), data, 0.4, 0.6, recipe=QUICK, seed=3)


def controlled(name, data, ticket, model=None, teaching=TAUGHT, seed=3, **options):
    ticket.config["seed"] = seed
    problem = problem_of(ticket, data, model or backbone(), QUICK)
    return problem, build("controls", {"name": name, **options})(problem, ticket, teaching)


def kept(masks):
    return sum(int(mask.sum()) for mask in masks.values())


@every
def test_it_is_trained_and_scored_as_the_very_object_it_is(name, data, ticket):
    problem, outcome = controlled(name, data, ticket)
    made = outcome.ticket
    assert made.fingerprint == ticket.fingerprint
    assert outcome.logits.shape == (120, 3)
    for key, mask in made.weight_masks.items():
        assert not made.trained[key][~mask].any()
        assert not torch.equal(made.trained[key], made.initial[key])
    own = build("backbones", made.config["backbone"])(30, 3)
    assert all(check.stored == check.recomputed for check in made.verify(data, own).checks)
    for part in ("val", "test"):
        mask = data[f"{part}_mask"]
        share = (outcome.logits[mask].argmax(-1) == data.y[mask]).double().mean()
        assert made.metrics[part] == pytest.approx(float(share))
    assert made.metrics["metric"] == problem.metric


@every
def test_the_same_seed_gives_the_same_bits_and_another_does_not(name, data, ticket):
    state = torch.get_rng_state()
    one = controlled(name, data, ticket)[1]
    torch.manual_seed(9)
    two = controlled(name, data, ticket)[1]
    torch.manual_seed(0)
    assert torch.equal(one.logits, two.logits)
    assert all(torch.equal(v, two.ticket.trained[k]) for k, v in one.ticket.trained.items())
    assert torch.equal(torch.get_rng_state(), state), "the global random state is left alone"
    other = controlled(name, data, ticket, seed=4)[1]
    assert not torch.equal(one.logits, other.logits)


def another(ticket):
    """A ticket that was found in another way: as many edges and weights, others, also layer by layer."""
    drawn = torch.Generator().manual_seed(7)
    flat = torch.cat([mask.flatten() for mask in ticket.weight_masks.values()])
    parts = flat[torch.randperm(len(flat), generator=drawn)].split([m.numel() for m in ticket.weight_masks.values()])
    return replace(
        ticket,
        edge_keep=ticket.edge_keep[torch.randperm(len(ticket.edge_keep), generator=drawn)],
        weight_masks={k: part.view_as(v) for (k, v), part in zip(ticket.weight_masks.items(), parts, strict=True)},
        trained={k: v + 1 for k, v in ticket.trained.items()},
        metrics={"metric": "accuracy", "val": 0.1, "test": 0.1, "search_epochs": 99},
        config={**ticket.config, "level": 7, "strategy": {"name": "imp"}},
        seconds=9.0,
    )


def outcome_and_key(name, data, ticket, teaching=TAUGHT, **options):
    problem, outcome = controlled(name, data, ticket, teaching=teaching, **options)
    return outcome, shared_key(build("controls", {"name": name, **options}), problem, ticket, teaching)


@every
def test_tickets_with_the_same_key_have_the_same_control(name, data, ticket):
    """And the tickets differ enough for a control that is their own to differ."""
    (one, mine), (two, its) = (outcome_and_key(name, data, t) for t in (ticket, another(ticket)))
    shared = reads_of(build("controls", name)) is not None
    assert its == mine and (mine is not None) is shared
    assert torch.equal(one.logits, two.logits) is shared
    if shared:
        for part in ("trained", "initial", "weight_masks"):
            first, second = getattr(one.ticket, part), getattr(two.ticket, part)
            assert first.keys() == second.keys() and all(torch.equal(v, second[k]) for k, v in first.items())
        assert torch.equal(one.ticket.edge_keep, two.ticket.edge_keep)
        assert one.ticket.metrics == two.ticket.metrics


@every
def test_what_changes_a_control_changes_its_key(name, data, ticket):
    if (mine := outcome_and_key(name, data, ticket)[1]) is None:
        return
    piece = build("controls", name)
    fewer_edges, fewer_weights = ticket.edge_keep.clone(), {k: v.clone() for k, v in ticket.weight_masks.items()}
    fewer_edges[ticket.edge_keep.nonzero()[:20]] = False
    largest = max(fewer_weights.values(), key=torch.numel).view(-1)
    largest[largest.nonzero()[:120]] = False
    changes = {
        "edges": replace(ticket, edge_keep=fewer_edges),
        "weights": replace(ticket, weight_masks=fewer_weights),
        "initial": replace(ticket, initial={k: v + 0.25 for k, v in ticket.initial.items()}),
    }
    first = controlled(name, data, ticket)[1].logits
    for part, changed in changes.items():
        made, key = outcome_and_key(name, data, changed)
        assert (key == mine) is torch.equal(made.logits, first) is (part not in reads_of(piece))
    for teaching in (Taught(weight=9.0), Taught(weight=2.0, temperature=3.0), Taught(weight=2.0, distil="held_out")):
        assert (outcome_and_key(name, data, ticket, teaching)[1] == mine) is not piece.taught
    if hasattr(piece, "seed"):
        problem = problem_of(ticket, data, backbone(), QUICK)
        assert shared_key(replace(piece, seed=5), problem, ticket, TAUGHT) != mine
    weighted = replace(ticket, edge_weights=ticket.edge_keep.float())
    assert shared_key(piece, problem_of(ticket, data, backbone(), QUICK), weighted, TAUGHT) is None


def test_a_control_that_says_nothing_is_not_shared(data, ticket):
    class Own(type(build("controls", "random"))):
        """What its parent says it reads, it need not be."""

    assert reads_of(build("controls", "random")) and reads_of(Own()) is None


@every
def test_the_ticket_and_the_problem_are_left_alone(name, data, ticket):
    before = {k: v.clone() for k, v in ticket.initial.items()}
    masks = {k: v.clone() for k, v in ticket.weight_masks.items()}
    problem, _ = controlled(name, data, ticket)
    assert all(torch.equal(ticket.initial[k], v) and torch.equal(problem.initial[k], v) for k, v in before.items())
    assert all(torch.equal(ticket.weight_masks[k], v) for k, v in masks.items())


@every
def test_it_says_whether_it_is_taught(name, data, ticket):
    piece = build("controls", name)
    assert piece.taught is (name not in ("dense", "mlp"))
    if name == "mlp_distilled":
        return
    with_teacher, without = (controlled(name, data, ticket, teaching=Taught(weight=w))[1] for w in (5.0, 0.0))
    assert torch.equal(with_teacher.logits, without.logits) is not piece.taught


@pytest.mark.parametrize("name", sorted(SAME_ARCHITECTURE))
def test_counts_are_exact(name, data, ticket):
    made = controlled(name, data, ticket)[1].ticket
    every_edge = name in ("dense", "same_weights")
    every_weight = name in ("dense", "same_edges")
    assert int(made.edge_keep.sum()) == (240 if every_edge else 144)
    assert kept(made.weight_masks) == (30 * 16 + 16 * 3 if every_weight else kept(ticket.weight_masks))
    assert made.metrics["graph_sparsity"] == made.graph_sparsity
    if name not in ("dense", "degree", "random", "same_weights"):
        assert torch.equal(made.edge_keep, ticket.edge_keep)
    if name in ("reinitialised", "same_weights"):
        assert all(torch.equal(v, ticket.weight_masks[k]) for k, v in made.weight_masks.items())


@every
def test_the_weights_of_a_ticket_with_biases_are_counted_with_biases(name, data):
    found = find(backbone(), data, 0.4, 0.6, strategy={"name": "teddy", "biases": True}, recipe=QUICK, seed=3)
    made = controlled(name, data, found)[1].ticket
    assert set(made.weight_masks) == set(made.trained)
    if name in ("dense", "same_edges"):
        assert kept(made.weight_masks) == 30 * 16 + 16 + 16 * 3 + 3
    elif name == "width_matched":
        assert made.config["backbone"] == {"name": "gcn", "hidden": 6}  # 34 a unit, and 3
        assert kept(made.weight_masks) == 207 <= kept(found.weight_masks) == 219
    elif name in SAME_ARCHITECTURE:
        assert kept(made.weight_masks) == kept(found.weight_masks)


@pytest.mark.parametrize("name", sorted(SAME_ARCHITECTURE - {"dense", "reinitialised"}))
def test_they_start_where_the_ticket_starts(name, data, ticket):
    moved = replace(ticket, initial={k: v + 0.25 for k, v in ticket.initial.items()}, config=dict(ticket.config))
    made = controlled(name, data, moved)[1].ticket
    assert all(torch.equal(made.initial[k], v) for k, v in moved.initial.items())


def test_shuffling_keeps_the_counts_of_layers_or_the_total(data, ticket):
    own = {k: int(v.sum()) for k, v in ticket.weight_masks.items()}
    layers = controlled("shuffled", data, ticket)[1].ticket.weight_masks
    assert {k: int(v.sum()) for k, v in layers.items()} == own
    anywhere = controlled("shuffled_global", data, ticket)[1].ticket.weight_masks
    assert {k: int(v.sum()) for k, v in anywhere.items()} != own
    for masks in (layers, anywhere):
        assert kept(masks) == kept(ticket.weight_masks)
        assert not any(torch.equal(v, ticket.weight_masks[k]) for k, v in masks.items())


@pytest.mark.parametrize("name", ["random", "shuffled", "shuffled_global"])
def test_another_draw_is_another_mask(name, data, ticket):
    masks = [controlled(name, data, ticket, **options)[1].ticket for options in ({}, {"seed": 5})]
    key = "convs.0.lin.weight"
    assert not torch.equal(masks[0].weight_masks[key], masks[1].weight_masks[key])


def test_the_random_control_of_a_random_ticket_is_another_draw(data):
    found = find(backbone(), data, 0.4, 0.6, strategy="random", recipe=QUICK, seed=3)
    made = controlled("random", data, found)[1].ticket
    assert not torch.equal(made.edge_keep, found.edge_keep)
    assert not torch.equal(made.weight_masks["convs.0.lin.weight"], found.weight_masks["convs.0.lin.weight"])
    assert {k: int(v.sum()) for k, v in made.weight_masks.items()} == {
        k: int(v.sum()) for k, v in found.weight_masks.items()
    }, "both by ERK"


def test_initialised_anew_is_drawn_by_the_same_law(data, ticket):
    problem, outcome = controlled("reinitialised", data, ticket)
    for key, fresh in outcome.ticket.initial.items():
        if key.endswith("lin.weight"):
            assert not torch.equal(fresh, problem.initial[key])
            assert float(fresh.std()) == pytest.approx(float(problem.initial[key].std()), rel=0.3)
            assert float(fresh.abs().max()) <= float(problem.initial[key].abs().max()) * 1.2
        else:
            assert not fresh.any(), "biases start at zero"


@pytest.mark.parametrize("kind", names("backbones"))
def test_every_backbone_can_be_initialised_anew(kind):
    model = backbone(kind)(30, 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fresh = initialised_anew(model, 0, 1)
    assert fresh.keys() == before.keys()
    assert not any(torch.equal(fresh[k], before[k]) for k in prunable_weights(model))


def test_a_parameter_that_nobody_initialises_is_told(data):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = GCNConv(30, 3)
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x, edge_index):
            return self.conv(x, edge_index) * self.scale

    found = find(Own(), data, 0.4, 0.6, recipe=QUICK)
    with pytest.raises(GltError, match="'scale' cannot be initialised anew"):
        controlled("reinitialised", data, found, Own())


@pytest.mark.parametrize("most", [33, 66, 100, 200, 395, 527, 528, 10**6])
@pytest.mark.parametrize(("kind", "options"), [("gcn", {}), ("gat", {"heads": 2}), ("gin", {}), ("sage", {})])
def test_the_narrow_network_is_the_widest_that_fits(most, kind, options, data, ticket):
    problem = problem_of(ticket, data, backbone(), QUICK)
    wide = backbone(kind, **options)

    def weights(hidden, **heads):
        model = replace(wide, hidden=hidden, **heads)(30, 3)
        return sum(p.numel() for p in prunable_weights(model).values())

    fitting = [h for h in range(1, 17) if h % options.get("heads", 1) == 0 and weights(h) <= most]
    if not fitting and options and weights(1, heads=1) <= most:
        wide, fitting = replace(wide, heads=1), [1]
    if not fitting:
        with pytest.raises(GltError, match=f"the ticket {most}"):
            narrowed(wide, most, problem)
        return
    assert narrowed(wide, most, problem) == replace(wide, hidden=max(fitting))


def test_fewer_heads_where_no_unit_for_each_fits(data):
    wide = build("backbones", {"name": "gat", "hidden": 16, "heads": 4})
    problem = Problem(data, wide, QUICK)  # a unit has 30 weights from the features, 3 to the classes
    assert narrowed(wide, 4 * 33, problem) == replace(wide, hidden=4)
    assert narrowed(wide, 4 * 33 - 1, problem) == replace(wide, hidden=3, heads=1), "wider than 2 of 2 heads"
    assert narrowed(wide, 3 * 33 - 1, problem) == replace(wide, hidden=2, heads=2)
    assert narrowed(wide, 2 * 33 - 1, problem) == replace(wide, hidden=1, heads=1)
    with pytest.raises(GltError, match="the narrowest has 33 weights, the ticket 32"):
        narrowed(wide, 32, problem)


def test_width_matched_has_all_edges_and_all_of_its_weights(data, ticket):
    made = controlled("width_matched", data, ticket)[1].ticket
    assert made.graph_sparsity == made.weight_sparsity == 0
    assert made.config["backbone"] == {"name": "gcn", "hidden": 6}  # 33 weights a unit, 211 of 528 kept
    assert kept(made.weight_masks) == 198 <= kept(ticket.weight_masks) < 198 + 33


@pytest.mark.parametrize("name", ["mlp", "mlp_distilled"])
def test_an_mlp_does_not_depend_on_edges(name, data, ticket):
    _, outcome = controlled(name, data, ticket)
    made = outcome.ticket
    assert made.graph_sparsity == 1 and made.weight_sparsity == 0
    model = made.restore(build("backbones", made.config["backbone"])(30, 3)).eval()
    other = torch.randint(120, (2, 50))
    x = data.x.to_dense()
    with torch.no_grad():
        assert torch.equal(model(x, other), model(x, data.edge_index))
        assert torch.allclose(model(x, other), outcome.logits, atol=1e-5)


def test_an_mlp_has_the_shape_of_the_ticket(data, ticket):
    def shape(name, model, **options):
        return controlled(name, data, ticket, model, **options)[1].ticket.config["backbone"]

    assert shape("mlp", backbone(dropout=0.25)) == {"name": "mlp", "hidden": 16, "dropout": 0.25}
    assert shape("mlp_distilled", backbone(), hidden=7) == {"name": "mlp", "hidden": 7}


def test_the_teacher_is_the_dense_gnn_and_heeds_the_track(data, ticket):
    said = {}
    for nodes in ("all", "held_out"):
        said[nodes] = controlled("mlp_distilled", data, ticket, teaching=Taught(weight=5.0, distil=nodes))[1].logits
    assert not torch.equal(said["all"], said["held_out"])
    with pytest.raises(GltError, match="no teacher"):
        controlled("mlp_distilled", data, ticket, teaching=Taught())


def test_the_dense_control_is_the_dense_training(data, ticket):
    problem, outcome = controlled("dense", data, ticket)
    assert outcome.ticket.metrics["test"] == problem.dense.test == ticket.metrics["dense_test"]


@every
@pytest.mark.parametrize("kind", ["gat", "gin", "sage", "mlp"])
def test_every_backbone_can_be_controlled(name, kind, data):
    found = find(backbone(kind, **({"heads": 2} if kind == "gat" else {})), data, 0.4, 0.5, recipe=Recipe(epochs=2))
    model = backbone(kind, **({"heads": 2} if kind == "gat" else {}))
    made = controlled(name, data, found, model)[1].ticket
    assert isinstance(made, Ticket) and 0 <= made.metrics["test"] <= 1


@pytest.mark.parametrize("name", sorted(MASKED | {"same_edges", "same_weights", "dense", "mlp"}))
def test_a_users_own_module_can_be_controlled(name, data):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.last = GCNConv(30, 8), nn.BatchNorm1d(8), GCNConv(8, 3)

        def forward(self, x, edge_index):
            return self.last(self.norm(self.first(x, edge_index)).relu(), edge_index)

    found = find(Own(), data, 0.4, 0.5, recipe=QUICK)
    made = controlled(name, data, found, Own())[1].ticket
    assert 0 <= made.metrics["test"] <= 1
    with pytest.raises(GltError, match="width of this model is not known"):
        controlled("width_matched", data, found, Own())


@pytest.mark.parametrize("kind", ["deepergcn", "gcnii", "transformer"])
def test_deep_backbones_are_narrowed_and_set_beside_an_mlp_that_can_be_trained(kind, data):
    found = find(backbone(kind, layers=3, heads=2), data, 0.4, 0.5, recipe=Recipe(epochs=2))
    narrow = controlled("width_matched", data, found, backbone(kind, layers=3, heads=2))[1].ticket
    assert narrow.config["backbone"]["hidden"] < 16 and kept(narrow.weight_masks) <= kept(found.weight_masks)
    shape = controlled("mlp", data, found, backbone(kind, layers=3, heads=2))[1].ticket.config["backbone"]
    assert shape["layers"] == 3
    assert shape.get("residual", False) == (kind != "transformer")
    assert shape.get("norm", "none") == ("batch" if kind == "deepergcn" else "none")


@pytest.fixture(scope="module")
def fine_tuned(data):
    strategy = {"name": "oneshot", "rewind_to": "none"}
    return find(backbone(), data, 0.4, 0.6, strategy=strategy, recipe=QUICK, seed=3)


@every
def test_nothing_but_same_weights_starts_from_trained_weights(name, data, fine_tuned):
    """The weights that a ticket goes on from know the labels: no control may."""
    problem, outcome = controlled(name, data, fine_tuned)
    trained = {k: not torch.equal(v, problem.initial[k]) for k, v in fine_tuned.initial.items()}
    assert any(trained.values()), "the ticket's own are trained"
    for key, value in outcome.ticket.initial.items():
        if name == "same_weights":
            assert torch.equal(value, fine_tuned.initial[key])
        elif name in SAME_ARCHITECTURE - {"reinitialised"}:
            assert torch.equal(value, problem.initial[key])


def test_fine_tuned_tickets_share_what_starts_from_the_initial_weights(data, fine_tuned):
    other = replace(fine_tuned, initial={k: v + 0.25 for k, v in fine_tuned.initial.items()})
    keys = [outcome_and_key("random", data, each)[1] for each in (fine_tuned, other)]
    assert keys[0] == keys[1] and keys[0] is not None


def test_controls_of_a_fine_tuned_users_module_start_from_the_module_as_given(data):
    model = Lone()
    found = find(model, data, 0.4, 0.5, strategy={"name": "oneshot", "rewind_to": "none"}, recipe=QUICK)
    made = controlled("random", data, found, model, seed=0)[1].ticket
    assert all(torch.equal(made.initial[k], v) for k, v in model.state_dict().items())


class Lone(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = GCNConv(30, 8), GCNConv(8, 3)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu(), edge_index)


UNITS = [
    {"name": "teddy", "granularity": "unit"},
    {"name": "imp", "pruner": {"name": "magnitude", "granularity": "unit"}},
]


@pytest.mark.parametrize("strategy", UNITS, ids=["of the strategy", "of its pruner"])
@pytest.mark.parametrize("name", ["random", "degree", "shuffled", "shuffled_global"])
def test_controls_of_whole_units_are_of_whole_units(name, strategy, data):
    found = find(backbone(), data, 0.05, 0.6, strategy=strategy, recipe=QUICK, seed=3, **rounds_of(strategy))
    own, alive = found.weight_masks["convs.0.lin.weight"], live_units(found)
    assert 0 < alive.sum() < 16
    made = controlled(name, data, found)[1].ticket
    assert torch.equal(live_units(made).sum(), alive.sum())
    assert kept(made.weight_masks) == kept(found.weight_masks)
    assert not torch.equal(made.weight_masks["convs.0.lin.weight"], own)


def rounds_of(strategy):
    return {"rounds": 1} if strategy["name"] == "imp" else {}


def live_units(ticket):
    rows, columns = ticket.weight_masks["convs.0.lin.weight"], ticket.weight_masks["convs.1.lin.weight"]
    assert torch.equal(rows.any(1), rows.all(1)) and torch.equal(rows.any(1), columns.all(0)), "whole"
    return rows.any(1)


def test_tickets_of_another_granularity_do_not_share_drawn_weights(data):
    found = find(backbone(), data, 0.05, 0.6, strategy=UNITS[0], recipe=QUICK, seed=3)
    single = replace(found, config={**found.config, "strategy": {"name": "teddy"}})
    keys = [outcome_and_key("random", data, each)[1] for each in (found, single)]
    assert keys[0] != keys[1] and "granularity" not in keys[1]


@pytest.mark.parametrize("granularity", ["feature", {"name": "block", "size": 4}, {"name": "n:m", "n": 2, "m": 4}])
@pytest.mark.parametrize("name", ["random", "shuffled", "shuffled_global"])
def test_controls_of_other_granularities_keep_no_more(name, granularity, data):
    strategy = {"name": "teddy", "granularity": granularity}
    found = find(backbone(), data, 0.05, 0.6, strategy=strategy, recipe=QUICK, seed=3)
    made = controlled(name, data, found)[1].ticket
    assert 0.8 * kept(found.weight_masks) <= kept(made.weight_masks)
    if name != "shuffled":  # blocks at the edges are smaller
        assert kept(made.weight_masks) <= kept(found.weight_masks)
