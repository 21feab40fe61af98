"""The best epoch kept on a device is the one kept on the host. Tensors on CPU stand in for a device's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glt import best, train
from glt.best import Best, DeviceBest, tracker
from glt.constraints import SPOILED, _Projection, freeze_weights, largest_weights, project_weights, prunable_weights
from glt.errors import GltError, TrainingError
from glt.evaluate import DEVICE_METRICS, METRICS, accuracy
from glt.registry import build
from glt.select import keep_top, keep_top_unsynced
from glt.train import Recipe, fit

SHAKY = Recipe(epochs=30, lr=1.0)  # the validation accuracy goes up and down


def gcn(classes=3):
    torch.manual_seed(0)
    return build("backbones", {"name": "gcn", "hidden": 8})(8, classes)


def both(monkeypatch, run):
    """What ``run`` gives with the host's tracker and with the device's."""
    host = run()
    monkeypatch.setattr(train, "tracker", DeviceBest)
    return host, run()


def assert_same(one, two):
    assert all(torch.equal(value, two.state[name]) for name, value in one.state.items())
    assert torch.equal(one.logits, two.logits)
    for name in ("val", "test", "epoch", "last_val", "last_test", "epochs"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-12)


def test_on_cpu_the_host_looks(sbm):
    assert type(tracker(gcn(), sbm, "accuracy", 1, 0.1)) is Best


@pytest.mark.parametrize("seed", range(3))
def test_both_find_the_same_epoch(sbm, monkeypatch, seed):
    told = []

    def run():
        told.append([])
        return fit(gcn(), sbm, SHAKY, seed=seed, on_epoch=lambda *now: told[-1].append(now))

    assert_same(*both(monkeypatch, run))
    assert told[0] == told[1]
    assert len(told[0]) == 30


@pytest.mark.parametrize(
    "constrain",
    [
        lambda m, o: project_weights(m, o, 0.7),
        lambda m, o: freeze_weights(m, o, largest_weights(prunable_weights(m), 0.7)),
    ],
)
def test_with_constraints(sbm, monkeypatch, constrain):
    assert_same(*both(monkeypatch, lambda: fit(gcn(), sbm, SHAKY, constrain=constrain)))


def test_with_another_metric(sbm, monkeypatch):
    sbm.y = (sbm.y > 0).long()
    assert_same(*both(monkeypatch, lambda: fit(gcn(2), sbm, SHAKY, metric="roc_auc")))


def test_a_metric_that_cannot_be_had_is_the_same_error(sbm, monkeypatch):
    sbm.y = (sbm.y > 0).long().masked_fill(sbm.val_mask, 1)  # no area without both classes
    for track in (train.tracker, DeviceBest):
        monkeypatch.setattr(train, "tracker", track)
        with pytest.raises(GltError, match="needs both classes among the nodes it looks at"):
            fit(gcn(2), sbm, Recipe(epochs=3), metric="roc_auc")


def test_a_metric_of_the_host_is_taken_there(sbm, monkeypatch):
    monkeypatch.setitem(METRICS, "mine", accuracy)
    made = DeviceBest(gcn(), sbm, "mine", 1, 0.1)
    assert made.waits and not DeviceBest(gcn(), sbm, "accuracy", 1, 0.1).waits
    assert_same(*both(monkeypatch, lambda: fit(gcn(), sbm, SHAKY, metric="mine")))


def test_a_training_that_is_stopped(sbm, monkeypatch):
    assert_same(*both(monkeypatch, lambda: fit(gcn(), sbm, SHAKY, stop=lambda model, epoch: epoch == 7)))


@pytest.mark.parametrize(("epochs", "bursts"), [(7, [7]), (10, [4, 4, 2]), (8, [4, 4])])
def test_news_come_in_bursts(sbm, monkeypatch, epochs, bursts):
    monkeypatch.setattr(best, "INTERVAL", 4)
    made = DeviceBest(gcn(), sbm, "accuracy", epochs, 0.1)
    sizes = []
    if epochs == 7:
        monkeypatch.setattr(best, "INTERVAL", 25)
    for epoch in range(1, epochs + 1):
        made.loss(torch.tensor(1.0), 0)
        made.offer(torch.rand(60, 3), None, epoch == epochs)
        sizes.append(len(list(made.news(epoch == epochs))))
    assert [size for size in sizes if size] == bursts


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("at", [1, 5, 12])
def test_a_loss_that_is_no_number_is_reported_with_its_epoch(sbm, monkeypatch, value, at):
    monkeypatch.setattr(train, "tracker", DeviceBest)
    told, calls = [], []

    def loss(logits):
        calls.append(1)
        return logits.sum() * (value if len(calls) == at else 1.0)

    with pytest.raises(TrainingError, match=rf"the loss became -?(nan|inf) at epoch {at}: lower train.lr = 0.05"):
        fit(
            gcn(),
            sbm,
            Recipe(epochs=12, lr=0.05),
            loss=loss,
            on_epoch=lambda epoch, val: told.append(epoch),
            constrain=lambda m, o: project_weights(m, o, 0.5),
        )
    assert told == list(range(1, at))


class Spoiling(nn.Module):
    """Its weights become NaN in the step of one epoch, before its loss does."""

    def __init__(self, at):
        super().__init__()
        self.linear, self.at, self.steps = nn.Linear(8, 3), at, 0
        self.linear.weight.register_hook(self._spoil)

    def _spoil(self, gradient):
        self.steps += 1
        return gradient * (torch.nan if self.steps == self.at else 1.0)

    def forward(self, x, edge_index):
        return self.linear(x)


def test_a_weight_that_is_no_number_is_reported(sbm, monkeypatch):
    monkeypatch.setattr(train, "tracker", DeviceBest)
    told = []
    with pytest.raises(TrainingError, match=SPOILED):
        fit(
            Spoiling(4),
            sbm,
            Recipe(epochs=12),
            constrain=lambda m, o: project_weights(m, o, 0.5),
            on_epoch=lambda epoch, val: told.append(epoch),
        )
    assert told == [1, 2, 3]


def test_logits_that_are_no_number_at_the_end_are_reported(sbm, monkeypatch):
    monkeypatch.setattr(train, "tracker", DeviceBest)
    with pytest.raises(TrainingError, match="the logits became NaN or infinite at epoch 6"):
        fit(Spoiling(6), sbm, Recipe(epochs=6))


def test_no_epoch_may_hold(sbm, monkeypatch):
    class Never(_Projection):
        def holding(self):
            return torch.tensor(False)

    monkeypatch.setattr(train, "tracker", DeviceBest)
    with pytest.raises(TrainingError, match="held at no epoch"):
        fit(gcn(), sbm, Recipe(epochs=3), constrain=lambda m, o: Never(o, prunable_weights(m), 0.5))


@pytest.mark.parametrize("name", list(DEVICE_METRICS))
@given(seed=st.integers(0, 2**32), levels=st.sampled_from([2, 5, 1000]))
def test_metrics_agree_with_those_of_the_host(name, seed, levels):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(levels, (37, 2), generator=generator).float()
    y = torch.randint(2, (37,), generator=generator)
    y[:2] = torch.tensor([0, 1])
    out = DEVICE_METRICS[name](logits, y)
    assert out.dtype == torch.float64 and out.dim() == 0
    assert float(out) == pytest.approx(METRICS[name](logits, y), abs=1e-12)


@given(seed=st.integers(0, 2**32), n=st.integers(1, 60), levels=st.sampled_from([1, 3, 1000]))
def test_selection_without_waiting_is_the_selection(seed, n, levels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (n,), generator=generator).float()
    keep = int(torch.randint(1, n + 1, (), generator=generator))
    assert torch.equal(keep_top_unsynced(scores, keep), keep_top(scores, keep))


def test_zeroing_the_others_is_the_projection(sbm):
    one, two = gcn(), gcn()
    weights = prunable_weights(two)
    for parameters in (prunable_weights(one), weights):
        for parameter in parameters.values():
            parameter.data.mul_(8).round_()  # ties
    optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
    projection = project_weights(one, optimizer, 0.6)
    projection.apply()
    flat = torch.cat([p.detach().abs().flatten() for p in weights.values()])
    other = project_weights(two, torch.optim.SGD(two.parameters(), lr=0.1), 0.6)
    with torch.no_grad():
        other._zero_others(keep_top_unsynced(flat, other.keep))
    for name, parameter in prunable_weights(one).items():
        assert torch.equal(parameter, weights[name])
    assert projection.holds() and other.holds()
