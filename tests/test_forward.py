from functools import partial

import pytest
import torch
from reference.backbones import CHOICES, small
from torch import nn

from glt.constraints import project_weights
from glt.forward import Forward, logits_of
from glt.registry import build, names
from glt.train import Recipe, fit

BACKBONES = names("backbones")


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


def test_a_model_is_called_with_features_and_arcs(sbm):
    model = Plain()
    sbm.edge_weight, sbm.edge_attr = torch.ones(sbm.num_edges), torch.ones(sbm.num_edges, 2)
    assert Forward(model, sbm)().shape == (60, 3)
    x, edge_index = model.seen[0]
    assert x is sbm.x
    assert edge_index is sbm.edge_index


def test_edge_weights_go_to_models_that_take_them(sbm):
    model = Weighted()
    Forward(model, sbm)()
    sbm.edge_weight = torch.rand(sbm.num_edges)
    Forward(model, sbm)()
    assert model.seen[0] is None
    assert model.seen[1] is sbm.edge_weight


def test_edge_attributes_go_to_models_that_take_them(sbm):
    model = Attributed()
    sbm.edge_weight, sbm.edge_attr = torch.rand(sbm.num_edges), torch.rand(sbm.num_edges, 2)
    Forward(model, sbm)()
    assert model.seen[0] is sbm.edge_attr


@pytest.mark.parametrize("form", [torch.Tensor.to_sparse_csr, torch.Tensor.to_sparse_coo])
def test_models_of_others_get_dense_features(form, sbm):
    model, dense = Plain(), sbm.x
    sbm.x = form(dense)
    forward = Forward(model, sbm)
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
    forward = Forward(model, sbm)
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


def fitted(backbone, data, monkeypatch=None, epochs=4):
    torch.manual_seed(0)
    model = small(**backbone)(8, 3)
    if monkeypatch:
        monkeypatch.setattr(type(model), "random_stem", True)
    return fit(model, data, Recipe(epochs=epochs), constrain=partial(project_weights, sparsity=0.5))


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_sharing_the_first_layer_changes_no_bit(name, layers, sbm, monkeypatch):
    backbone = {"name": name, "hidden": 16, "layers": layers, "residual": True, "dropout": 0.5}
    shared, apart = fitted(backbone, sbm), fitted(backbone, sbm, monkeypatch)
    assert torch.equal(shared.logits, apart.logits)
    assert all(torch.equal(value, apart.state[key]) for key, value in shared.state.items())
    assert (shared.last_val, shared.last_test) == (apart.last_val, apart.last_test)


@pytest.mark.parametrize("kind", CHOICES)
def test_sharing_the_first_layer_changes_no_bit_with_any_option(kind, sbm, monkeypatch):
    backbone = {"hidden": 16, "dropout": 0.5, **CHOICES[kind]}
    shared, apart = fitted(backbone, sbm), fitted(backbone, sbm, monkeypatch)
    assert torch.equal(shared.logits, apart.logits)
    assert shared.state.keys() == apart.state.keys()
    assert all(torch.equal(value, apart.state[key]) for key, value in shared.state.items())


@pytest.mark.parametrize("name", BACKBONES)
def test_the_first_layer_runs_once_per_epoch(name, sbm, monkeypatch):
    calls = []
    model = type(small(name)(8, 3))
    stem = model.stem
    monkeypatch.setattr(model, "stem", lambda *arguments: calls.append(1) or stem(*arguments))
    fitted({"name": name, "hidden": 16}, sbm, epochs=5)
    assert len(calls) == 6  # and once for the last evaluation


def test_random_attention_is_not_shared(sbm):
    model = build("backbones", {"name": "gat", "hidden": 16, "attention_dropout": 0.5})(8, 3)
    forward = Forward(model, sbm)
    logits = forward.evaluate(share=True)
    assert not torch.equal(forward(), forward())
    assert torch.equal(forward.evaluate(), logits)


def test_what_is_shared_serves_one_call(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 16, "dropout": 0.0})(8, 3)
    forward = Forward(model, sbm)
    logits = forward.evaluate(share=True)
    assert not logits.requires_grad
    once = forward()
    assert once.requires_grad
    assert torch.equal(once, logits)
    with torch.no_grad():
        model.convs[0].bias.add_(1.0)
    assert not torch.equal(forward(), logits)
