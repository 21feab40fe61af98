import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from glt.constraints import Constraint, freeze_weights, largest_weights, project_weights, prunable_weights
from glt.errors import GltError, TrainingError
from glt.evaluate import METRICS, accuracy
from glt.registry import build
from glt.train import Recipe, fit

QUICK = Recipe(epochs=12, lr=0.05)
SHAKY = Recipe(epochs=25, lr=1.0)  # the validation accuracy goes up and down


def gcn(name="gcn", dropout=0.5):
    torch.manual_seed(0)
    return build("backbones", {"name": name, "hidden": 8, "dropout": dropout})(8, 3)


class Linear(nn.Module):
    """A foreign model."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.scale = scale

    def forward(self, x, edge_index):
        return self.linear(x) * self.scale


def same(one, two):
    return one.state.keys() == two.state.keys() and all(torch.equal(v, two.state[k]) for k, v in one.state.items())


def test_training_learns(sbm):
    result = fit(gcn(), sbm, Recipe(epochs=60, lr=0.05))
    assert result.test > 0.6  # three classes
    assert result.epochs == 60
    assert result.seconds > 0


def test_the_same_seed_gives_the_same_bits(sbm):
    one, two = fit(gcn(), sbm, QUICK, seed=3), fit(gcn(), sbm, QUICK, seed=3)
    assert same(one, two)
    assert torch.equal(one.logits, two.logits)
    assert (one.val, one.test, one.epoch, one.last_val) == (two.val, two.test, two.epoch, two.last_val)
    assert not same(one, fit(gcn(), sbm, QUICK, seed=4))


def test_the_global_random_state_is_neither_read_nor_left_changed(sbm):
    one = fit(gcn(), sbm, QUICK)
    model = gcn()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert same(fit(model, sbm, QUICK), one)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
def test_it_is_the_loop_one_would_write(sbm, optimiser):
    model = gcn(dropout=0.0)
    twin = copy.deepcopy(model)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimiser]
    optimizer = kind(twin.parameters(), lr=0.02, weight_decay=0.01, fused=False)
    vals = []
    for _ in range(8):
        optimizer.zero_grad()
        F.cross_entropy(twin(sbm.x, sbm.edge_index)[sbm.train_mask], sbm.y[sbm.train_mask]).backward()
        optimizer.step()
        right = twin(sbm.x, sbm.edge_index).argmax(1) == sbm.y
        vals.append(right[sbm.val_mask].float().mean().item())
    seen = []
    recipe = Recipe(epochs=8, lr=0.02, weight_decay=0.01, optimizer=optimiser)
    result = fit(model, sbm, recipe, on_epoch=lambda epoch, val: seen.append((epoch, val)))
    torch.testing.assert_close(dict(model.named_parameters()), dict(twin.named_parameters()), rtol=1e-3, atol=1e-5)
    assert [epoch for epoch, _ in seen] == list(range(1, 9))
    assert [val for _, val in seen] == pytest.approx(vals)
    assert result.last_val == pytest.approx(vals[-1])
    assert result.last_test == pytest.approx(right[sbm.test_mask].float().mean().item())


@pytest.mark.parametrize("seed", range(4))
def test_the_best_epoch_is_the_latest_of_the_best_validation(sbm, seed):
    vals = []
    result = fit(gcn(), sbm, SHAKY, seed=seed, on_epoch=lambda epoch, val: vals.append(val))
    assert result.val == max(vals)
    assert result.epoch == max(i for i, val in enumerate(vals, 1) if val == max(vals))
    assert result.last_val == vals[-1]


class Sometimes(Constraint):
    """A constraint that holds at the epochs given and changes nothing."""

    def __init__(self, epochs):
        self.asked, self.epochs = 0, epochs

    def apply(self):
        pass

    def holds(self):
        return self.asked in self.epochs

    def __exit__(self, *_):
        pass


def fit_holding(sbm, epochs, **options):
    constraint, vals = Sometimes(epochs), []
    constraint.asked = 1

    def on_epoch(epoch, val):
        vals.append(val)
        constraint.asked = epoch + 1

    return fit(gcn(), sbm, SHAKY, constrain=lambda m, o: constraint, on_epoch=on_epoch, **options), vals


@pytest.mark.parametrize("epochs", [{2, 5, 9}, {1}, {25}, set(range(1, 26, 3))])
def test_only_epochs_at_which_the_constraint_holds_count(sbm, epochs):
    result, vals = fit_holding(sbm, epochs)
    allowed = {epoch: vals[epoch - 1] for epoch in epochs}
    assert result.val == max(allowed.values())
    assert result.epoch == max(e for e, val in allowed.items() if val == result.val)


def test_a_constraint_that_never_holds_is_an_error(sbm):
    with pytest.raises(TrainingError, match="held at no epoch"):
        fit_holding(sbm, set())


def test_everything_is_read_at_the_best_epoch(sbm):
    model = gcn()
    result = fit(model, sbm, SHAKY, seed=4)
    assert result.epoch < result.epochs
    last = {k: v.clone() for k, v in model.state_dict().items()}
    assert any(not torch.equal(v, result.state[k]) for k, v in last.items())  # a copy, not the live weights
    model.load_state_dict(result.state)
    logits = model.eval()(sbm.x, sbm.edge_index)
    torch.testing.assert_close(result.logits, logits, rtol=1e-4, atol=1e-4)
    assert accuracy(result.logits[sbm.val_mask], sbm.y[sbm.val_mask]) == result.val
    assert accuracy(result.logits[sbm.test_mask], sbm.y[sbm.test_mask]) == result.test
    assert not result.logits.requires_grad
    assert not any(v.requires_grad for v in result.state.values())


def test_the_test_nodes_are_looked_at_after_training_only(sbm, monkeypatch):
    sizes = []
    monkeypatch.setitem(METRICS, "spy", lambda logits, y: sizes.append(len(y)) or accuracy(logits, y))
    fit(gcn(), sbm, QUICK, metric="spy")
    val, test = int(sbm.val_mask.sum()), int(sbm.test_mask.sum())
    assert val != test
    assert sizes == [val] * 12 + [test, test]


def test_test_labels_do_not_influence_training(sbm):
    one = fit(gcn(), sbm, QUICK)
    sbm.y = torch.where(sbm.test_mask, (sbm.y + 1) % 3, sbm.y)
    two = fit(gcn(), sbm, QUICK)
    assert same(one, two)
    assert (one.val, one.epoch) == (two.val, two.epoch)
    assert one.test != two.test


def test_weights_end_on_the_ball(sbm):
    model = gcn()
    result = fit(model, sbm, QUICK, constrain=lambda m, o: project_weights(m, o, 0.7))
    weights = [result.state[name] for name in prunable_weights(model)]
    total = sum(w.numel() for w in weights)
    assert sum(int((w == 0).sum()) for w in weights) == int(0.7 * total + 0.5)


def test_frozen_weights_stay_out(sbm):
    model = gcn()
    masks = largest_weights(prunable_weights(model), 0.7)
    result = fit(model, sbm, QUICK, constrain=lambda m, o: freeze_weights(m, o, masks))
    assert all(torch.equal(result.state[name] != 0, mask) for name, mask in masks.items())


def test_a_constraint_ends_with_the_training_even_after_an_error(sbm):
    handles = []

    def constrain(model, optimizer):
        handles.append((optimizer, project_weights(model, optimizer, 0.5)))
        return handles[-1][1]

    fit(gcn(), sbm, QUICK, constrain=constrain)
    with pytest.raises(TrainingError):
        fit(gcn(), sbm, QUICK, constrain=constrain, loss=lambda logits: logits.sum() * torch.nan)
    assert all(not optimizer._optimizer_step_post_hooks for optimizer, _ in handles)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_ends_the_training(value, sbm):
    model, epochs = gcn(), []
    state = torch.get_rng_state()

    def loss(logits):
        return logits.sum() * (value if len(epochs) == 4 else 1.0)

    with pytest.raises(TrainingError, match=r"the loss became -?(nan|inf) at epoch 5: lower train.lr = 0.05"):
        fit(model, sbm, QUICK, loss=loss, on_epoch=lambda epoch, val: epochs.append(epoch))
    assert epochs == [1, 2, 3, 4]
    assert torch.equal(torch.get_rng_state(), state)
    assert TrainingError.exit_code == 1


def test_a_training_can_be_stopped_after_an_epoch(sbm):
    asked = []

    def stop(model, epoch):
        asked.append((model.training, epoch))
        return epoch == 5

    whole, stopped, model = fit(gcn(), sbm, QUICK), fit(gcn(), sbm, QUICK, stop=lambda model, epoch: False), gcn()
    assert same(whole, stopped) and (whole.epochs, whole.last_test) == (stopped.epochs, stopped.last_test)
    vals = []
    result = fit(model, sbm, QUICK, stop=stop, on_epoch=lambda epoch, val: vals.append(val))
    five = fit(gcn(), sbm, Recipe(epochs=5, lr=QUICK.lr))
    assert asked == [(True, epoch) for epoch in range(1, 6)] and len(vals) == 5
    assert same(result, five)
    assert (result.epochs, result.epoch, result.last_test) == (five.epochs, five.epoch, five.last_test)
    assert result.epochs == 5


def test_logits_that_are_no_numbers_when_it_is_stopped_are_an_error(sbm):
    def stop(model, epoch):
        with torch.no_grad():
            next(model.parameters()).fill_(torch.nan)
        return True

    with pytest.raises(TrainingError, match="the logits became NaN or infinite at epoch 1"):
        fit(gcn(), sbm, QUICK, stop=stop)


def test_another_loss_replaces_the_cross_entropy(sbm):
    model = Linear()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fit(model, sbm, Recipe(epochs=3, weight_decay=0.0), loss=lambda logits: logits.sum() * 0.0)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_models_of_others_are_trained_in_place(sbm):
    model = Linear()
    before = model.linear.weight.detach().clone()
    result = fit(model, sbm, QUICK)
    assert not torch.equal(model.linear.weight, before)
    assert result.logits.shape == (60, 3)


def test_roc_auc_can_be_the_metric(sbm):
    sbm.y = (sbm.y > 0).long()
    result = fit(build("backbones", {"name": "gcn", "hidden": 8})(8, 2), sbm, Recipe(epochs=30), metric="roc_auc")
    assert 0.5 < result.test <= 1.0


def test_an_unknown_metric_is_refused(sbm):
    with pytest.raises(GltError, match="unknown metric 'f1'"):
        fit(gcn(), sbm, QUICK, metric="f1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epochs": 0}, "train: option 'epochs' = 0"),
        ({"lr": 0.0}, "train: option 'lr' = 0.0"),
        ({"weight_decay": -1.0}, "train: option 'weight_decay' = -1.0"),
        ({"optimizer": "sgdd"}, "train: option 'optimizer' = 'sgdd': Input should be 'adam'"),
        ({"learning_rate": 0.1}, "train: unknown option 'learning_rate'"),
    ],
)
def test_a_bad_recipe_is_quoted_on_one_line(options, said):
    with pytest.raises(GltError) as error:
        Recipe(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_recipe_of_the_literature_is_the_default():
    assert Recipe() == Recipe(epochs=200, lr=0.01, weight_decay=5e-4, optimizer="adam")
