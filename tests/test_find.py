"""find: the whole search in one call."""

import pytest
import torch
from torch import nn
from torch_geometric import nn as pyg

import glt
from glt.errors import GltError, TrainingError
from glt.find import find
from glt.select import keep_count
from glt.train import Recipe

QUICK = Recipe(epochs=4, lr=0.05)


class Plain(nn.Module):
    def __init__(self, out=3):
        super().__init__()
        self.lift = nn.Linear(8, 6)
        self.head = nn.Linear(6, out)

    def forward(self, x, edge_index):
        h = self.lift(x).relu()
        return self.head(h + torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]]))


def test_one_ticket_with_everything_in_it(sbm):
    ticket = find(Plain(), sbm, 0.3, 0.7, recipe=QUICK)
    assert int(ticket.edge_keep.sum()) == keep_count(sbm.num_edges // 2, 0.3)
    assert sum(int(mask.sum()) for mask in ticket.weight_masks.values()) == keep_count(66, 0.7)
    assert ticket.trained is not None
    assert set(ticket.metrics) >= {"metric", "val", "test", "epoch", "dense_val", "dense_test", "search_epochs"}
    assert ticket.verify(sbm, Plain()).ok


def test_the_dense_metric_is_that_of_the_module_trained_alone(sbm):
    module = Plain()
    problem = glt.Problem(sbm, module, QUICK)
    ticket = find(module, sbm, recipe=QUICK)
    assert (ticket.metrics["dense_val"], ticket.metrics["dense_test"]) == (problem.dense.val, problem.dense.test)


def test_present_weights_are_the_initial_ones(sbm):
    module = Plain()
    with torch.no_grad():
        module.head.weight.fill_(0.25)
    ticket = find(module, sbm, recipe=QUICK)
    assert torch.equal(ticket.initial["head.weight"], torch.full((3, 6), 0.25))
    assert torch.equal(module.head.weight, torch.full((3, 6), 0.25))


def test_a_backbone_by_name_or_by_its_spec(sbm):
    one = find(glt.build("backbones", {"name": "sage", "hidden": 4}), sbm, recipe=Recipe(epochs=2), seed=1)
    assert one.initial["convs.0.lin_l.weight"].shape == (4, 8)
    two = find("mlp", sbm, recipe=Recipe(epochs=1))
    assert two.initial["convs.0.weight"].shape == (512, 8)


@pytest.mark.parametrize("strategy", ["teddy", {"name": "teddy", "weight": 0}])
def test_a_strategy_by_name_or_spec(sbm, strategy):
    ticket = find(Plain(), sbm, strategy=strategy, recipe=QUICK)
    assert ticket.metrics["search_epochs"] == (8 if strategy == "teddy" else 4)


def test_a_users_own_strategy(sbm):
    class Half:
        """Every second edge, all weights."""

        def tickets(self, problem, levels):
            for level in levels:
                keep = torch.arange(problem.edges.num_edges) % 2 == 0
                masks = {k: torch.ones_like(v, dtype=torch.bool) for k, v in problem.initial.items() if v.dim() > 1}
                yield problem.ticket(level, keep, masks, problem.fit(problem.subgraph(keep)))

    ticket = find(Plain(), sbm, strategy=Half(), recipe=QUICK)
    assert ticket.weight_sparsity == 0
    assert ticket.edge_keep.tolist() == [i % 2 == 0 for i in range(sbm.num_edges // 2)]
    assert ticket.verify(sbm, Plain()).ok


def test_dense_finds_the_dense_ticket(sbm):
    ticket = find(Plain(), sbm, strategy="dense", recipe=QUICK)
    assert (ticket.graph_sparsity, ticket.weight_sparsity) == (0, 0)
    assert ticket.metrics["test"] == ticket.metrics["dense_test"]


def test_no_sparsity_at_all_is_allowed(sbm):
    ticket = find(Plain(), sbm, 0, 0, recipe=QUICK)
    assert (ticket.graph_sparsity, ticket.weight_sparsity) == (0, 0)
    assert ticket.apply(sbm).num_edges == sbm.num_edges


def test_seeds_and_the_global_state(sbm):
    module = Plain()
    state = torch.get_rng_state()
    one, two = (find(module, sbm, recipe=QUICK).trained["lift.weight"] for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)
    seeds = [find("gcn", sbm, recipe=Recipe(epochs=1), seed=seed).initial["convs.0.lin.weight"] for seed in (0, 1)]
    assert not torch.equal(*seeds)


def test_the_metric_can_be_chosen(sbm):
    sbm.y = sbm.y % 2
    ticket = find(Plain(2), sbm, recipe=QUICK, metric="roc_auc")
    assert ticket.metrics["metric"] == "roc_auc"
    assert ticket.verify(sbm, Plain(2)).ok
    sbm.metric = "roc_auc"
    assert find(Plain(2), sbm, recipe=QUICK).metrics["metric"] == "roc_auc"


def test_progress_is_told(sbm):
    seen = []
    find(Plain(), sbm, recipe=QUICK, on_epoch=lambda phase, epoch, val: seen.append((phase, epoch)))
    assert seen == [(phase, epoch) for phase in ("dense", "level 1") for epoch in (1, 2, 3, 4)]


class NotCallable(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2))

    def forward(self, graph):
        return graph


class OneNumber(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x, edge_index):
        return self.head(x).sum()


def normed():
    """PyG's linear layers keep the weight itself in their state beside what it is made of."""
    model = pyg.GCN(8, 4, 2, 3)
    nn.utils.parametrizations.weight_norm(model.convs[0].lin)
    return model


def not_copyable():
    model = Plain()
    model.lift.weight_now = model.lift.weight * 2
    return model


class NoWeights(nn.Module):
    def forward(self, x, edge_index):
        return x[:, :3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"graph_sparsity": 1.0}, "graph_sparsity 1.0"),
        ({"graph_sparsity": -0.1}, "graph_sparsity -0.1"),
        ({"graph_sparsity": 0.9999}, "removes all"),
        ({"weight_sparsity": 1.0}, "weight_sparsity 1.0"),
        ({"weight_sparsity": 0.9999}, "removes all"),
        ({"strategy": "tedy"}, "did you mean 'teddy'"),
        ({"strategy": {"name": "teddy", "wieght": 1}}, "did you mean 'weight'"),
        ({"strategy": 5}, "5"),
        ({"model": "gcnn"}, "did you mean 'gcn'"),
        ({"model": Plain(2)}, "2 classes"),
        ({"model": nn.Linear(8, 3)}, "model(x, edge_index)"),
        ({"model": NotCallable()}, "model(x, edge_index)"),
        ({"model": OneNumber()}, "logits [60, classes]"),
        ({"model": NoWeights()}, "no trainable weight"),
        ({"model": normed()}, "set to its own state_dict"),
        ({"model": not_copyable()}, "Plain cannot be copied"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"metric": "roc_auc"}, "two classes"),
    ],
)
def test_a_mistake_is_told_before_any_training(sbm, changes, words):
    seen = []
    options = {"model": Plain(), "data": sbm, "recipe": QUICK, **changes}
    with pytest.raises(GltError) as error:
        find(**options, on_epoch=lambda *progress: seen.append(progress))
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not seen


@pytest.mark.parametrize("sparsity", ["0.4", None, float("nan")])
def test_a_sparsity_that_is_no_number_is_refused(sbm, sparsity):
    for name in ("graph_sparsity", "weight_sparsity"):
        with pytest.raises(GltError, match=r"\[0, 1\)"):
            find(Plain(), sbm, **{name: sparsity}, recipe=QUICK)


def test_bad_data_is_refused(sbm):
    sbm.x[3, 1] = float("nan")
    with pytest.raises(GltError, match="NaN"):
        find(Plain(), sbm, recipe=QUICK)


def test_a_training_that_fails_says_so(sbm):
    with pytest.raises(TrainingError, match="lr"):
        find(Plain(), sbm, recipe=Recipe(epochs=4, lr=1e30))


@pytest.mark.parametrize("rounds", [None, 3])
def test_an_iterative_search_takes_its_rounds(sbm, rounds):
    """Not all of it after one training of masks: 0.3 of the edges are 7 times 5 % of what is left."""
    seen = []
    ticket = find(
        "gcn",
        sbm,
        0.3,
        0.5,
        strategy="ugs",
        rounds=rounds,
        recipe=Recipe(epochs=1),
        on_epoch=lambda phase, *_: seen.append(phase),
    )
    count = rounds or 7
    assert [phase for phase in seen if phase.startswith("masks")] == [f"masks {i}" for i in range(1, count + 1)]
    assert ticket.metrics["rounds"] == ticket.config["level"] == count
    assert ticket.metrics["search_epochs"] == count + 1
    assert ticket.metrics["graph_sparsity"] == pytest.approx(0.3, abs=0.01)


def test_rounds_of_a_strategy_without_are_told(sbm):
    with pytest.raises(GltError, match="rounds = 3: strategy 'teddy' finds a level at once"):
        find("gcn", sbm, rounds=3)
