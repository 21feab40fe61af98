"""Training the live part of a network alone is the training of the whole under its masks."""

import copy

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.graphs import small_sbm
from test_pipeline import VOLATILE, every, experiment
from torch import nn
from torch_geometric.nn import GATConv, GCNConv, SAGEConv, Sequential

from glt.constraints import largest_weights, prunable_weights
from glt.frozen import fit_frozen, whole_lines
from glt.problem import Problem
from glt.registry import build
from glt.train import Recipe

CLASSES = 3
EPOCHS = 8
BACKBONES = (
    {"name": "gcn"},
    {"name": "gcn", "layers": 3, "residual": True},
    {"name": "sage", "layers": 3},
    {"name": "gin", "layers": 3},
    {"name": "gin", "layers": 2, "residual": True},
    {"name": "mlp", "layers": 1},
    {"name": "mlp", "layers": 4},
    {"name": "gat", "heads": 4, "layers": 3},
    {"name": "gcn", "norm": "layer"},
    {"name": "gcnii", "layers": 2},
    {"name": "deepergcn", "layers": 2, "mlp_layers": 2, "norm": "layer"},
    {"name": "transformer", "heads": 4},
)


def graph(words=1.0):
    """In double precision: Adam divides what is nothing but rounding by its size."""
    data = small_sbm()
    data.x = data.x.double()
    data.x[torch.rand(data.x.shape, generator=torch.Generator().manual_seed(3)) >= words] = 0
    return data


def model_of(spec, features=8):
    torch.manual_seed(0)
    spec = {"hidden": 12, "dropout": 0.0, **spec}
    return build("backbones", spec)(features, CLASSES).double()


def random_masks(model, density, seed=0, biases=False):
    generator = torch.Generator().manual_seed(seed)
    weights = prunable_weights(model, biases)
    return {name: torch.rand(p.shape, generator=generator) < density for name, p in weights.items()}


def both(model, data, masks, without=(), **options):
    """(result of the live part, parameters that it had of how many), held to the training of the whole."""
    one, two = copy.deepcopy(model), copy.deepcopy(model)
    how = {"epochs": EPOCHS, "lr": 0.02, "weight_decay": 0.01, **options}
    whole = fit_frozen(one, data, masks, Recipe(**how, live=False))
    part = fit_frozen(two, data, masks, Recipe(**how, live=True))
    assert (whole.live, part.epoch, part.val, part.test) == ("", whole.epoch, whole.val, whole.test)
    assert (part.last_val, part.last_test, part.epochs) == (whole.last_val, whole.last_test, whole.epochs)
    torch.testing.assert_close(part.logits, whole.logits, rtol=1e-7, atol=1e-7)
    for mine, theirs in ((part.state, whole.state), (two.state_dict(), one.state_dict())):
        assert list(mine) == list(theirs)
        for name in mine.keys() - set(without):
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-7, atol=1e-7, msg=name)
    for name, mask in masks.items():
        assert not part.state[name][~mask].any()
    return part, said(part)


def said(result):
    """The numbers of ``live``; None where the whole was trained."""
    if not result.live.startswith("yes"):
        return None
    part, whole = (int(word.replace(",", "")) for word in result.live.split() if word[0].isdigit())
    return part, whole


@pytest.mark.parametrize("density", [0.05, 0.3])
@pytest.mark.parametrize("spec", BACKBONES, ids=str)
def test_the_same_training(spec, density):
    model = model_of(spec)
    kept = 0.2 if spec.get("layers") == 1 else density  # classes without a weight are tied, and rounding would decide
    result, sizes = both(model, graph(0.1 if density > 0.1 else 1.0), random_masks(model, kept))
    assert sizes is None or sizes[0] < sizes[1] == sum(p.numel() for p in model.parameters())
    if spec["name"] == "transformer":
        assert (
            result.live
            == "no: every unit and every input feature is used; attention by inner products takes every unit"
        )
    elif density < 0.1 and spec["name"] in ("gcn", "sage", "gin") and "norm" not in spec:
        assert sizes


@settings(max_examples=12)
@given(
    st.sampled_from(BACKBONES[:8]),
    st.floats(0.01, 0.6),
    st.integers(0, 99),
    st.sampled_from(["adam", "adamw"]),
    st.booleans(),
)
def test_any_masks(spec, density, seed, optimizer, biases):
    model = model_of(spec)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # with biases of 0, classes without a weight would be tied, and rounding decide
            if name.endswith("bias") and (seed % 2 or parameter.numel() == CLASSES):
                parameter.normal_()
    both(model, graph(), random_masks(model, density, seed, biases), optimizer=optimizer, epochs=4)


@pytest.mark.parametrize("granularity", ["unit", "feature"])
@pytest.mark.parametrize("name", ["gcn", "sage", "gin", "gat", "mlp"])
def test_whole_units_and_features_are_gone_and_auto_sees_them(name, granularity):
    model, data = model_of({"name": name, **({"heads": 2} if name == "gat" else {})}), graph()
    weights = prunable_weights(model)
    first = [p for p in weights.values() if p.size(1) == 8]
    total, half = sum(p.numel() for p in weights.values()), sum(p.numel() for p in first) // 2
    masks = largest_weights(weights, 0.5 if granularity == "unit" else half / total, granularity=granularity)
    both(model, data, masks)
    result = fit_frozen(copy.deepcopy(model), data, masks, Recipe(epochs=1))
    kept = sum(int(mask.sum()) for mask in masks.values())
    others = sum(p.numel() for name, p in model.named_parameters() if name not in weights)
    assert said(result)
    if name != "gat":  # whose heads stay as wide as the widest
        assert kept <= said(result)[0] <= kept + others
    elements = random_masks(model, 0.3)
    assert whole_lines(masks) and not whole_lines(elements)
    assert fit_frozen(copy.deepcopy(model), data, elements, Recipe(epochs=1)).live == ""


def test_a_unit_lives_by_its_bias():
    """Without an incoming weight it gives relu(b): nothing, and for ever, only where b is 0 to begin with."""
    model, data = model_of({"name": "gcn", "hidden": 4}), graph()
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in prunable_weights(model).items()}
    masks["convs.0.lin.weight"][1:] = False
    _, sizes = both(model, data, masks)
    assert sizes == (1 * 8 + 1 + CLASSES * 1 + CLASSES, 4 * 8 + 4 + CLASSES * 4 + CLASSES)
    with torch.no_grad():
        model.convs[0].bias[1] = 0.5
        model.convs[0].bias[2] = -0.001  # decay may take it past 0
    assert both(model, data, masks, epochs=20)[1][0] == 3 * 8 + 3 + CLASSES * 3 + CLASSES


def test_what_is_left_out_decays_as_it_would():
    model, data = model_of({"name": "gcn", "hidden": 4}), graph()
    with torch.no_grad():
        model.convs[0].bias.fill_(0.5)
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in prunable_weights(model).items()}
    masks["convs.1.lin.weight"][:, 2:] = False
    result, sizes = both(model, data, masks)
    assert sizes[0] == 2 * 8 + 2 + CLASSES * 2 + CLASSES
    before = model.convs[0].lin.weight[2:].abs()
    assert bool((result.state["convs.0.lin.weight"][2:].abs() < before).all())
    assert bool((result.state["convs.0.bias"][2:] < 0.5).all())


def test_batch_norm():
    """Statistics of units that nothing reads stay; a bias before batch norm has no gradient but rounding."""
    model, data = model_of({"name": "gcn", "norm": "batch"}), graph()
    masks = largest_weights(prunable_weights(model), 0.5, granularity="unit")
    model.convs[0].bias.requires_grad_(False)
    kept = masks["convs.1.lin.weight"].any(0)
    result, sizes = both(model, data, masks, without=("norms.0.running_mean", "norms.0.running_var"))
    assert sizes
    statistics = result.state["norms.0.running_mean"]
    assert bool((statistics[kept] != 0).all()) and not statistics[~kept].any()


def test_mini_batches_and_a_late_best_epoch():
    model, data = model_of({"name": "sage"}), graph()
    masks = largest_weights(prunable_weights(model), 0.5, granularity="unit")
    batches = {"name": "parts", "num_parts": 3}
    assert both(model, data, masks, batches=batches, eval_every=3)[1]
    assert both(model, data, masks, eval_chunk=7)[1]


def test_sparse_features_shrink():
    data = graph()
    data.x = (data.x * (torch.rand(data.x.shape, generator=torch.Generator().manual_seed(1)) < 0.1)).to_sparse_csr()
    model = model_of({"name": "gcn"})
    masks = random_masks(model, 0.05)
    assert both(model, data, masks)[1]


class Own(nn.Module):
    """A user's model: a skip connection by concatenation, and a layer that is not known."""

    def __init__(self, last):
        super().__init__()
        self.one, self.two = GCNConv(8, 6), SAGEConv(6, 5)
        self.attends = GATConv(5, 4, heads=2, concat=False)
        self.scale = nn.Parameter(torch.ones(6))  # not known by name where it multiplies: as wide as ever
        self.last = last

    def forward(self, x, edge_index):
        one = self.one(x, edge_index).relu()
        two = self.two(one * self.scale, edge_index).relu()
        three = self.attends(two, edge_index).tanh()
        return self.last(torch.cat([one, two, three], dim=1))


def test_a_users_own_model():
    torch.manual_seed(0)
    model = Own(nn.Linear(15, CLASSES)).double()
    assert both(model, graph(), random_masks(model, 0.15))[1]


@pytest.mark.parametrize("slopes", [1, 12])
def test_learned_slopes(slopes):
    torch.manual_seed(0)
    parts = [
        *((GCNConv(8, 12), "x, edge_index -> x"), nn.PReLU(slopes)),
        *((SAGEConv(12, 12), "x, edge_index -> x"), nn.PReLU(), nn.Linear(12, CLASSES)),
    ]
    model = Sequential("x, edge_index", parts).double()
    _, (part, whole) = both(model, graph(), random_masks(model, 0.1))
    assert part < whole / 2, "it is as narrow as with a ReLU"


class Twice(nn.Module):
    """The same weights in two layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = GCNConv(8, 8), nn.Linear(8, CLASSES)

    def forward(self, x, edge_index):
        x = self.conv(x, edge_index).relu()
        return self.last(self.conv(x, edge_index).relu())


def test_weights_that_are_used_twice():
    torch.manual_seed(0)
    model = Twice().double()
    result, sizes = both(model, graph(), random_masks(model, 0.15))
    assert sizes is None and result.live == "no: 'conv.lin.weight' is used more than once"


def test_what_is_not_the_same_network_is_found_out():
    """As many features live as there are hidden units: the residual connection would see a layer of its width."""
    model = model_of({"name": "gcn", "hidden": 4, "residual": True})
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in prunable_weights(model).items()}
    masks["convs.0.lin.weight"][:, ::2] = False
    result, sizes = both(model, graph(), masks)
    assert sizes is None and result.live.startswith("no: the live part is not the same network: off by ")


def test_a_model_without_a_rule_is_trained_as_ever():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(CLASSES, 8, dtype=torch.float64))

        def forward(self, x, edge_index):
            return (x.unsqueeze(1) * self.weight).sum(2)

    model = Odd()
    result, sizes = both(model, graph(), {"weight": torch.rand(CLASSES, 8) < 0.2})
    assert sizes is None and result.live.startswith("no: ")


STRATEGIES = {
    "random": "{name: random, pruner: {name: random, granularity: unit}}",
    "oneshot": "{name: oneshot, pruner: {name: magnitude, granularity: unit}}",
    "imp": "{name: imp, pruner: {name: magnitude, granularity: unit}}",
    "ugs": "{name: ugs, mask_epochs: 2, granularity: unit}",
    "gebt": "{name: gebt, mask_epochs: 2, granularity: unit}",
}


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.filterwarnings("ignore:sparsity .* without a")
def test_every_strategy_with_frozen_masks_gives_the_same_tickets(name, sbm):
    spec = {"name": "gcn", "hidden": 8, "dropout": 0.0}
    found = []
    for live in (False, "auto"):
        data = copy.copy(sbm)
        problem = Problem(data, build("backbones", spec), Recipe(epochs=3, live=live))
        levels = list(build("schedules", {"name": "geometric", "levels": 2, "weight_rate": 0.3}))
        found.append(list(build("strategies", yaml.safe_load(STRATEGIES[name])).tickets(problem, levels)))
    for whole, part in zip(*found, strict=True):
        assert "live" not in whole.metrics and part.metrics["live"].startswith("yes")
        for key, mask in whole.weight_masks.items():
            assert torch.equal(part.weight_masks[key], mask)
        for key, tensor in whole.trained.items():
            torch.testing.assert_close(part.trained[key], tensor, rtol=1e-3, atol=1e-5)


def steady(records):
    return [{k: v for k, v in r.items() if k not in VOLATILE} for r in records]


def test_runs_resume_verify_and_record_it(tmp_path, main):
    how = ("strategy=" + STRATEGIES["imp"], "schedule.levels=2", "controls=[reinitialised, shuffled]")
    run = experiment(tmp_path / "a", *how)
    records = every(run)
    levels = [r for r in records if r["level"] and not r.get("control")]
    assert [r["live"][:3] for r in levels] == ["yes", "yes"]
    assert {r["control"]: r.get("live", "")[:3] for r in records if r.get("control")} == {
        "reinitialised": "yes",
        "shuffled": "yes",  # whole units, as the ticket's
    }
    path = run.path(0, 2)
    kept = path.read_bytes()
    assert main("verify", path, "--rerun")[0] == 0
    lines = run.results.path.read_text().splitlines(keepends=True)
    run.results.path.write_text("".join(lines[:2]))  # the dense model and level 1
    path.unlink()
    again = every(run)
    assert path.read_bytes() == kept
    assert steady([r for r in again if not r.get("control")]) == steady([r for r in records if not r.get("control")])


def test_together_live_parts_are_trained_one_by_one(tmp_path):
    how = ("strategy=" + STRATEGIES["random"], "schedule.levels=2")
    one, two = (every(experiment(tmp_path / name, *how, f"together={name}")) for name in ("false", "true"))
    assert [r["val"] for r in one] == [r["val"] for r in two]
    assert [r.get("together") for r in two if r["level"]] == ["no: a live part has a shape of its own"] * 2


def test_live_is_part_of_what_a_run_is_and_its_default_is_not(tmp_path):
    plain, same, other = (experiment(tmp_path, *how) for how in ((), ("train.live=auto",), ("train.live=true",)))
    assert plain.config.id == same.config.id != other.config.id
    assert "live" not in plain.config.spec()["train"]


def test_test_nodes_that_come_later_are_read_by_the_whole_model(tmp_path):
    how = ("strategy=" + STRATEGIES["oneshot"], "schedule.levels=2", "backbone.dropout=0", "train.inductive=true")
    one, two = (
        [r for r in every(experiment(tmp_path / live, *how, f"train.live={live}")) if r["level"]]
        for live in ("false", "auto")
    )
    assert [r["live"][:3] for r in two] == ["yes", "yes"]
    for name in ("val", "test", "last_val", "last_test"):
        assert [r[name] for r in one] == pytest.approx([r[name] for r in two], abs=0.03)
