import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn

from glt.errors import GltError
from glt.evaluate import METRICS, accuracy, forward_of, logits_of, metric_named, roc_auc
from glt.registry import build


class Plain(nn.Module):
    """Remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.seen = []

    def forward(self, x, edge_index):
        self.seen.append((x, edge_index))
        return self.linear(x)


class Weighted(Plain):
    def forward(self, x, edge_index, edge_weight=None):
        self.seen.append(edge_weight)
        return self.linear(x)


class Attributed(Plain):
    def forward(self, x, edge_index, *, edge_attr):
        self.seen.append(edge_attr)
        return self.linear(x)


def test_accuracy_is_the_fraction_that_is_right():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 5.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.0]])
    assert accuracy(logits, torch.tensor([0, 2, 0, 1])) == 0.5


@given(st.integers(0, 10**6))
def test_accuracy_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    logits, y = rng.normal(size=(13, 4)), rng.integers(4, size=13)
    want = accuracy_score(y, logits.argmax(1))
    assert accuracy(torch.from_numpy(logits), torch.from_numpy(y)) == pytest.approx(want)


@given(st.integers(0, 10**6))
def test_roc_auc_is_that_of_scikit_learn_ties_and_all(seed):
    rng = np.random.default_rng(seed)
    logits = rng.integers(3, size=(20, 2)).astype(np.float32)
    y = np.concatenate([[0, 1], rng.integers(2, size=18)])
    want = roc_auc_score(y, logits[:, 1] - logits[:, 0])
    assert roc_auc(torch.from_numpy(logits), torch.from_numpy(y)) == pytest.approx(want)


def test_roc_auc_orders_by_the_second_class():
    y = torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[5.0, 1.0], [4.0, 3.0], [9.0, 8.5], [0.0, 2.0]])  # differences -4, -1, -0.5, 2
    assert roc_auc(logits, y) == 1.0
    assert roc_auc(logits.flip(1), y) == 0.0


def test_roc_auc_is_for_two_classes():
    with pytest.raises(GltError, match="the model gives 3; use 'accuracy'"):
        roc_auc(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(GltError, match=r"unknown metric 'acuracy'; did you mean 'accuracy'\? known: accuracy, roc_auc"):
        metric_named("acuracy")
    assert all(metric_named(name) is metric for name, metric in METRICS.items())


def test_a_model_is_called_with_features_and_arcs(sbm):
    model = Plain()
    sbm.edge_weight, sbm.edge_attr = torch.ones(sbm.num_edges), torch.ones(sbm.num_edges, 2)
    assert forward_of(model, sbm)().shape == (60, 3)
    x, edge_index = model.seen[0]
    assert x is sbm.x
    assert edge_index is sbm.edge_index


def test_edge_weights_go_to_models_that_take_them(sbm):
    model = Weighted()
    forward_of(model, sbm)()
    sbm.edge_weight = torch.rand(sbm.num_edges)
    forward_of(model, sbm)()
    assert model.seen[0] is None
    assert model.seen[1] is sbm.edge_weight


def test_edge_attributes_go_to_models_that_take_them(sbm):
    model = Attributed()
    sbm.edge_weight, sbm.edge_attr = torch.rand(sbm.num_edges), torch.rand(sbm.num_edges, 2)
    forward_of(model, sbm)()
    assert model.seen[0] is sbm.edge_attr


@pytest.mark.parametrize("form", [torch.Tensor.to_sparse_csr, torch.Tensor.to_sparse_coo])
def test_models_of_others_get_dense_features(form, sbm):
    model, dense = Plain(), sbm.x
    sbm.x = form(dense)
    forward = forward_of(model, sbm)
    forward(), forward()
    assert model.seen[0][0].layout == torch.strided
    assert torch.equal(model.seen[0][0], dense)
    assert model.seen[0][0] is model.seen[1][0]  # made dense once
    assert sbm.x.layout != torch.strided


def test_a_backbone_prepares_once(sbm, monkeypatch):
    model, prepared = build("backbones", {"name": "gcn", "hidden": 4})(8, 3), []
    prepare = type(model).prepare
    monkeypatch.setattr(type(model), "prepare", lambda self, data: prepared.append(data) or prepare(self, data))
    model.eval()
    forward = forward_of(model, sbm)
    torch.testing.assert_close(forward(), forward())
    assert prepared == [sbm]
    torch.testing.assert_close(forward(), model(sbm.x, sbm.edge_index))


@pytest.mark.parametrize("training", [True, False])
def test_logits_are_read_in_evaluation_mode_without_gradients(training, sbm):
    model = nn.Sequential(nn.Linear(8, 3), nn.Dropout(0.9)).train(training)
    logits = logits_of(model, lambda: model(sbm.x))
    torch.testing.assert_close(logits, model[0](sbm.x))
    assert not logits.requires_grad
    assert model.training is model[1].training is training
    with pytest.raises(RuntimeError):
        logits_of(model, lambda: model(sbm.y.float()))
    assert model.training is training
    assert torch.is_grad_enabled()
