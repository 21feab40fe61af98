"""Trainings at once are those one by one, to rounding: in float64, whose rounding Adam does not make steps of."""

import copy
from dataclasses import fields
from functools import partial

import pytest
import torch
from reference.backbones import small
from reference.waits import DRAWS, Waits
from torch import nn

from glt import bests, soft, together
from glt.constraints import freeze_weights, largest_weights, project_weights, prunable_weights
from glt.errors import GltError, TrainingError
from glt.evaluate import DEVICE_METRICS
from glt.losses import cross_entropy, distilled
from glt.registry import build
from glt.sparsify import keep_arcs, remove_arcs
from glt.together import fit_together
from glt.train import FitResult, Recipe, fit

RECIPE = Recipe(epochs=8, lr=0.05)
BATCH = Recipe(epochs=8, lr=0.05, weight_decay=0)
"""With batch normalisation: a bias before it has a gradient of rounding alone, which Adam with a penalty blows up."""
SEEDS = (3, 1, 4, 1)
STACKS = ("gcn", "sage", "gin", "gat", "mlp")


@pytest.fixture
def data(sbm):
    sbm.x = sbm.x.double()
    return sbm


def models(name="gcn", count=4, outputs=3, **spec):
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(small(name, **{"layers": 3, "residual": True, **spec})(8, outputs).double())
    return made


def alone(ones, graphs, recipe=RECIPE, seeds=SEEDS, losses=(None,) * 4, constrains=(None,) * 4, **options):
    """What each gives by itself: its result, or its error."""
    found = []
    for model, data, seed, loss, constrain in zip(ones, graphs, seeds, losses, constrains, strict=True):
        try:
            found.append(fit(model, data, recipe, seed=seed, loss=loss, constrain=constrain, **options))
        except TrainingError as error:
            found.append(error)
    return found


def assert_same(one, two):
    assert type(one) is type(two), (one, two)
    if isinstance(one, TrainingError):
        assert str(one) == str(two)
        return
    assert one.state.keys() == two.state.keys()
    for name, value in one.state.items():
        torch.testing.assert_close(two.state[name], value, rtol=1e-6, atol=1e-7)
        assert torch.equal(value == 0, two.state[name] == 0) or "bias" in name
    torch.testing.assert_close(two.logits, one.logits, rtol=1e-6, atol=1e-7)
    for name in ("val", "test", "epoch", "last_val", "last_test", "epochs"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-12), name


def compared(ones, graphs, recipe=RECIPE, seeds=SEEDS, metric="accuracy", **options):
    """The results at once, after comparing them with those one by one; and those models."""
    copies = [copy.deepcopy(model) for model in ones]
    wanted = alone(copies, graphs, recipe, seeds, metric=metric, **options)
    found = fit_together(ones, graphs, recipe, seeds=seeds, metric=metric, **options)
    for one, two in zip(wanted, found, strict=True):
        assert_same(one, two)
    return found, copies


def pruned(data):
    """Four graphs of other edges each, of as many arcs twice."""
    cut = partial(keep_arcs, data)
    scorers = [build("scorers", {"name": "random", "seed": seed}) for seed in range(4)]
    return [remove_arcs(data, cut(one, sparsity)) for one, sparsity in zip(scorers, (0.3, 0.3, 0, 0.6), strict=True)]


def taught(data):
    """Two teachers, another temperature, and none."""
    teachers = [torch.linspace(-2, 2, 180, dtype=torch.float64).mul(k).sin().view(60, 3) for k in (7, 11, 13)]
    return [
        distilled(data, teachers[0], 10.0, 1.0, "all"),
        None,
        distilled(data, teachers[1], 10.0, 1.0, "all"),
        distilled(data, teachers[2], 2.0, 3.0, "held_out"),
    ]


@pytest.mark.parametrize("graphs", ["shared", "own"])
@pytest.mark.parametrize("name", STACKS)
def test_every_backbone_projected_frozen_and_taught(data, name, graphs):
    ones = models(name)
    masks = largest_weights(prunable_weights(ones[3]), 0.5)
    constrains = [
        partial(project_weights, sparsity=0.6),
        None,
        partial(project_weights, sparsity=0.5, granularity="unit"),
        partial(freeze_weights, masks=masks),
    ]
    found, _ = compared(
        ones, [data] * 4 if graphs == "shared" else pruned(data), losses=taught(data), constrains=constrains
    )
    assert [one.together for one in found] == [4] * 4


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("name", STACKS)
def test_norms(data, name, norm):
    compared(models(name, norm=norm), pruned(data), BATCH)


def test_edge_weights_of_their_own(data):
    graphs = [copy.copy(data) for _ in range(4)]
    for t, graph in enumerate(graphs):
        graph.edge_weight = torch.linspace(0.5 + t, 2, graph.num_edges, dtype=torch.float64)
    compared(models("gcn"), graphs)


def test_residual_of_the_features(data):
    data.x = data.x.repeat(1, 2)[:, :8]  # as wide as a layer, and a layer of half the width
    found, _ = compared(models("gcn", hidden=8), [data] * 4)
    assert found[0].together == 4
    compared(models("gcn", hidden=2), [data] * 4)  # as wide as the four of them


def test_sparse_features(data):
    data.x = data.x * (data.x > 1.2)
    compared(models("gcn"), pruned(data))


def test_one_mask_each_is_one_mask_for_all(data, monkeypatch):
    ones = models()
    sparsities = (0, 0.3, 0.6, 0.9)
    masks = [largest_weights(prunable_weights(one), s) for one, s in zip(ones, sparsities, strict=True)]
    constrains = [partial(freeze_weights, masks=each) for each in masks]
    monkeypatch.setattr(together._Told, "step", lambda *_: pytest.fail("one by one"))
    found, _ = compared(ones, [data] * 4, constrains=constrains)
    for one, each in zip(found, masks, strict=True):
        assert all(bool((one.state[name][~mask] == 0).all()) for name, mask in each.items())


def test_weights_end_in_place_and_in_their_own_memory(data):
    ones = models(norm="batch")
    state = torch.random.get_rng_state()
    parameters = [list(one.parameters()) for one in ones]
    _, copies = compared(ones, [data] * 4, BATCH)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other, before in zip(ones, copies, parameters, strict=True):
        assert all(a is b for a, b in zip(one.parameters(), before, strict=True))
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-6, atol=1e-7)
            assert value.untyped_storage().nbytes() == value.nbytes


def test_the_same_again_is_the_same_bits(data):
    one, two = (fit_together(models(), pruned(data), RECIPE, seeds=SEEDS) for _ in range(2))
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(one, two, strict=True))


# --- one that fails


def failing(data):
    """Losses of which the second is NaN in the third epoch, and the third has such a gradient."""
    calls = []

    def late(logits, nodes=None):
        calls.append(None)
        return cross_entropy(data)(logits) * (float("nan") if len(calls) == 3 else 1)

    return [None, late, lambda logits: cross_entropy(data)(logits) + (logits * 0).sum().sqrt(), None]


@pytest.mark.parametrize("device", ["host", "device"])
def test_what_fails_fails_alone(data, device, monkeypatch):
    constrains = [partial(project_weights, sparsity=0.5)] * 4
    wanted = alone(models(), [data] * 4, losses=failing(data), constrains=constrains)
    if device == "device":
        as_on_a_device(monkeypatch)
    found = fit_together(models(), [data] * 4, RECIPE, seeds=SEEDS, losses=failing(data), constrains=constrains)
    for one, two in zip(wanted, found, strict=True):
        assert_same(one, two)
    assert [isinstance(one, FitResult) for one in found] == [True, False, False, True]
    assert "nan at epoch 3" in str(found[1]) and "NaN" in str(found[2])


def test_where_all_fail_it_ends(data):
    told = []
    nan = [lambda logits: logits.sum() * float("nan")] * 4
    watch = [lambda epoch, val: told.append(epoch)] * 4
    found = fit_together(models(), [data] * 4, RECIPE, seeds=SEEDS, losses=nan, on_epochs=watch)
    assert all("the loss became nan at epoch 1" in str(one) for one in found) and not told


# --- the best epoch


def as_on_a_device(monkeypatch):
    """Tensors on CPU stand in for a device's: nothing is looked at until the end."""
    made = bests.Bests.__init__

    def init(self, models, data, metric, *others):
        made(self, models, data, metric, *others)
        self._on_cpu, self._known = False, DEVICE_METRICS[metric]

    monkeypatch.setattr(bests.Bests, "__init__", init)
    plain = together._Constraints
    monkeypatch.setattr(together, "_Constraints", lambda *args, deferred: plain(*args, deferred=True))


@pytest.mark.parametrize("constrained", ["projected", "frozen", "some", "none"])
def test_kept_on_a_device(data, monkeypatch, constrained):
    as_on_a_device(monkeypatch)
    ones = models(norm="batch")
    project = partial(project_weights, sparsity=0.5)
    frozen = [partial(freeze_weights, masks=largest_weights(prunable_weights(one), 0.5)) for one in ones]
    constrains = {"projected": [project] * 4, "frozen": frozen, "some": [None, project] * 2, "none": [None] * 4}
    compared(ones, [data] * 4, Recipe(epochs=20, lr=0.3, weight_decay=0), constrains=constrains[constrained])


@pytest.mark.parametrize("constrained", ["projected", "frozen"])
@pytest.mark.parametrize("name", STACKS)
def test_no_epoch_would_wait_for_a_device(data, monkeypatch, name, constrained):
    as_on_a_device(monkeypatch)
    monkeypatch.setattr(soft, "waits", lambda x: True)
    ones, steps, waits = models(name), [], Waits()
    frozen = [partial(freeze_weights, masks=largest_weights(prunable_weights(one), 0.5)) for one in ones]
    constrains = {"projected": [partial(project_weights, sparsity=0.5)] * 4, "frozen": frozen}[constrained]
    step = together._Together._step

    def watched(self):
        steps.append(None)
        waits.on = 2 < len(steps) < 6
        step(self)

    monkeypatch.setattr(together._Together, "_step", watched)
    with waits:
        found = fit_together(
            ones, [data] * 4, Recipe(epochs=6), seeds=SEEDS, losses=taught(data), constrains=constrains
        )
    assert found[0].together == 4 and len(steps) == 6
    assert waits.seen - {DRAWS} == set()


def test_an_epoch_counts_only_where_the_constraint_holds(data):
    def late(model, optimizer):
        constraint = project_weights(model, optimizer, 0.5)
        calls = []
        plain = constraint.apply
        constraint.apply = lambda: (calls.append(None), len(calls) > 5 and plain())
        return constraint

    found, _ = compared(models(), [data] * 4, constrains=[late, None, late, late])
    assert found[0].epoch > 5


@pytest.mark.parametrize(("metric", "every"), [("accuracy", 3), ("micro_f1", 1), ("roc_auc", 1)])
def test_metrics_and_epochs_between_looks(data, metric, every):
    data.y = (data.y > 0).long()
    compared(models(outputs=2), [data] * 4, Recipe(epochs=8, lr=0.05, eval_every=every), metric=metric)


@pytest.mark.parametrize("device", ["host", "device"])
def test_a_metric_that_cannot_be_had_is_the_same_error(data, device, monkeypatch):
    if device == "device":
        as_on_a_device(monkeypatch)
    data.y = (data.y > 0).long().masked_fill(data.val_mask, 1)  # no area without both classes
    with pytest.raises(GltError, match="needs both classes among the nodes it looks at"):
        fit_together(models(outputs=2), [data] * 4, RECIPE, seeds=SEEDS, metric="roc_auc")


def test_several_tasks(data):
    data.y = torch.stack([data.y > 0, data.y > 1], dim=1).float()
    data.y[::7, 0] = float("nan")
    teacher = torch.linspace(-2, 2, 120, dtype=torch.float64).sin().view(60, 2)
    losses = [distilled(data, teacher, 3.0, 2.0, "all"), None, distilled(data, -teacher, 3.0, 2.0, "all"), None]
    compared(models(outputs=2), [data] * 4, losses=losses, metric="roc_auc")


def test_progress_of_each(data):
    told = [[] for _ in range(4)]
    wanted = [[] for _ in range(4)]
    for model, seed, seen in zip(models(), SEEDS, wanted, strict=True):
        fit(model, data, RECIPE, seed=seed, on_epoch=lambda epoch, val, seen=seen: seen.append((epoch, val)))
    watches = [lambda epoch, val, seen=seen: seen.append((epoch, val)) for seen in told[:3]] + [None]
    fit_together(models(), [data] * 4, RECIPE, seeds=SEEDS, on_epochs=watches)
    assert told[:3] == wanted[:3] and not told[3]


# --- what is trained one after the other


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(8, 3)

    def forward(self, x, edge_index):
        return self.map(x)


def mixed():
    return [*models(count=3), small("gcn", layers=3, dropout=0.25)(8, 3).double()]


def hooked():
    ones = models()
    ones[1].convs[0].register_forward_hook(lambda *_: None)
    return ones


def other_eps():
    ones = models("gin")
    for conv in ones[2].convs:
        conv.eps.fill_(0.5)
    return ones


ALONE = {
    "Mine is no backbone": (lambda: [Mine().double() for _ in range(4)], {}),
    "GCNIIModel is no backbone": (lambda: models("gcnii"), {}),
    "attention dropout": (lambda: models("gat", attention_dropout=0.5), {}),
    "the models differ": (mixed, {}),
    "the models differ in": (other_eps, {}),
    "a model has hooks": (hooked, {}),
    "mini-batches": (models, {"batches": {"name": "parts", "num_parts": 2}}),
    "evaluation by chunks": (models, {"eval_chunk": 10}),
}


@pytest.mark.parametrize("reason", ALONE)
def test_others_one_after_the_other(data, reason):
    make, options = ALONE[reason]
    ones, recipe = make(), Recipe(epochs=3, lr=0.05, **options)
    copies = [copy.deepcopy(one) for one in ones]
    found = fit_together(ones, [data] * 4, recipe, seeds=SEEDS)
    for one, two in zip(alone(copies, [data] * 4, recipe), found, strict=True):
        assert two.together.startswith(f"no: {reason}")
        same = [f.name for f in fields(FitResult) if f.name not in ("seconds", "together", "state", "logits")]
        assert [getattr(one, name) for name in same] == [getattr(two, name) for name in same]
        assert torch.equal(one.logits, two.logits)


def test_a_subclass_may_compute_anything(data):
    ones = models()
    for one in ones:
        one.__class__ = type("Mine", (type(one),), {})
    assert fit_together(ones, [data] * 4, RECIPE, seeds=SEEDS)[0].together.startswith("no: Mine")


def test_other_labels_one_after_the_other(data):
    other = copy.copy(data)
    other.y = data.y.roll(1)
    found, _ = compared(models(), [data, data, other, data])
    assert found[0].together == "no: the graphs differ in more than their edges"


def test_one_is_no_group(data):
    assert fit_together(models(count=1), [data], RECIPE, seeds=[0])[0].together == 1


# --- on a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("capture", ["on", "off"])
@pytest.mark.parametrize("graphs", ["shared", "own"])
@pytest.mark.parametrize("name", STACKS)
def test_on_cuda(data, monkeypatch, name, graphs, capture):
    monkeypatch.setenv("GLT_CUDA_GRAPH", capture)
    several = [graph.to("cuda") for graph in ([data] * 4 if graphs == "shared" else pruned(data))]
    losses = [distilled(several[0], loss.teacher.cuda(), 10.0, 1.0, "all") if loss else None for loss in taught(data)]
    constrains = [partial(project_weights, sparsity=0.5)] * 4
    ones = [one.cuda() for one in models(name)]
    found, _ = compared(ones, several, losses=losses, constrains=constrains)
    assert found[0].together == 4
    if capture == "on":
        assert found[0].captured == "yes"
