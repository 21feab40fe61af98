"""Weight scores against slow references and numbers worked out by hand."""

import copy

import numpy as np
import pytest
import torch
from reference import pruners as reference
from reference.backbones import STACKS, small
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from glt.allocate import allocate
from glt.errors import GltError
from glt.losses import cross_entropy
from glt.pruners.base import Pruning
from glt.registry import build, names
from glt.select import keep_count

FIRST, LAST = "convs.0.lin.weight", "convs.1.lin.weight"


def pruned(name, model, data, loss=None, **options):
    """Scores by ``name`` or by {name, options of the pruner}."""
    return build("pruners", name)(Pruning(model, data, loss or cross_entropy(data), **options))


@pytest.fixture
def data(sbm):
    sbm.x = sbm.x.double()
    return sbm


@pytest.fixture
def gcn():
    """Two layers in double, with biases that are not zero."""
    model = build("backbones", {"name": "gcn", "hidden": 5})(8, 3).double()
    for conv in model.convs:
        nn.init.normal_(conv.bias, std=0.3)
    return model


def dense(model, data):
    """(loss, weights) of the reference for ``model``."""
    operator, x = reference.operator(data), data.x.numpy()
    train, labels = data.train_mask.numpy(), data.y[data.train_mask].numpy()
    biases = [conv.bias.detach().numpy() for conv in model.convs]
    weights = [conv.lin.weight.detach().numpy() for conv in model.convs]
    return lambda ws: reference.cross_entropy(reference.logits(operator, x, *ws, biases)[train], labels), weights


def test_magnitudes(gcn, data):
    initial = {name: torch.randn_like(tensor) for name, tensor in gcn.state_dict().items()}
    for name, score in pruned("magnitude", gcn, data).items():
        assert np.array_equal(score.numpy(), np.abs(gcn.state_dict()[name].numpy()))
    for name, score in pruned("magnitude_increase", gcn, data, initial=initial).items():
        assert np.array_equal(score.numpy(), np.abs(gcn.state_dict()[name].numpy()) - np.abs(initial[name].numpy()))


def test_magnitude_increase_needs_the_initial_weights(gcn, data):
    for initial in ({}, {FIRST: torch.ones(2, 2)}):
        with pytest.raises(GltError, match=r"'convs\.0\.lin\.weight' \[5, 8\], got (nothing|one of shape \[2, 2\])"):
            pruned("magnitude_increase", gcn, data, initial=initial)


def test_snip_and_taylor_are_slopes_of_the_masks(gcn, data):
    slopes = reference.slopes(*dense(gcn, data))
    for name, change in (("snip", np.abs), ("taylor", np.square)):
        scores = pruned(name, gcn, data)
        for key, slope in zip((FIRST, LAST), slopes, strict=True):
            np.testing.assert_allclose(scores[key].numpy(), change(slope), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_is_the_product_with_the_whole_hessian(gcn, data, temperature):
    operator, index = torch.from_numpy(reference.operator(data)), data.train_mask
    sizes = [conv.lin.weight.numel() for conv in gcn.convs]

    def loss(flat):
        first, last = (part.view(c.lin.weight.shape) for part, c in zip(flat.split(sizes), gcn.convs, strict=True))
        hidden = (operator @ data.x @ first.t() + gcn.convs[0].bias.detach()).clamp(min=0)
        logits = operator @ hidden @ last.t() + gcn.convs[1].bias.detach()
        logs = torch.log_softmax(logits[index] / temperature, dim=1)
        return -logs[torch.arange(len(logs)), data.y[index]].mean()

    flat = torch.cat([conv.lin.weight.detach().flatten() for conv in gcn.convs])
    want = reference.grasp(loss, flat).split(sizes)
    scores = pruned({"name": "grasp", "temperature": temperature}, gcn, data)
    for key, part in zip((FIRST, LAST), want, strict=True):
        torch.testing.assert_close(scores[key].flatten(), part, rtol=1e-8, atol=1e-16)


def slopes_of(model, data, weights):
    """Gradients of the loss by all prunable weights, at ``weights``, of the model as PyG runs it."""
    model = copy.deepcopy(model).eval()
    model.load_state_dict(model.state_dict() | weights)
    parameters = dict(model.named_parameters())
    loss = cross_entropy(data)(model(data.x, data.edge_index))
    return torch.autograd.grad(loss, [parameters[name] for name in weights])


@pytest.mark.parametrize("name", names("backbones"))
def test_grasp_keeps_what_the_gradient_needs(name, data):
    """Minus half of how the squared gradient norm changes with a weight's mask, for every kind of layer."""
    model = small(name, aggregation="softmax")(8, 3).double()  # not its semi-gradient, which is no derivative
    scores = pruned({"name": "grasp", "temperature": 1.0}, model, data)
    weights = {key: model.state_dict()[key].clone() for key in scores}
    norms = {}
    for key, score in scores.items():
        at = tuple(np.unravel_index(int(score.abs().argmax()), score.shape))
        for factor in (1 + 1e-5, 1 - 1e-5):
            changed = {k: w.clone() for k, w in weights.items()}
            changed[key][at] *= factor
            norms[factor] = float(sum((g**2).sum() for g in slopes_of(model, data, changed)))
        assert float(score[at]) == pytest.approx((norms[1 + 1e-5] - norms[1 - 1e-5]) / 4e-5, rel=1e-4)


class Line(nn.Module):
    """One weight matrix: w x."""

    def __init__(self, *weights):
        super().__init__()
        self.linear = nn.Linear(len(weights), 1, bias=False)
        self.linear.weight = nn.Parameter(torch.tensor([weights]))

    def forward(self, x, edge_index):
        return self.linear(x)


@pytest.fixture
def line():
    """L = 1/2 (w_1 - 1)^2 + 1/2 (2 w_2 - 4)^2 at w = (3, 1): gradient (2, -4), Hessian diag(1, 4)."""
    data = Data(x=torch.tensor([[1.0, 0.0], [0.0, 2.0]]), edge_index=torch.empty(2, 0, dtype=torch.int64))
    return Line(3.0, 1.0), data, lambda logits: 0.5 * ((logits - torch.tensor([[1.0], [4.0]])) ** 2).sum()


def test_snip_taylor_and_wanda_by_hand(line):
    assert pruned("snip", *line)["linear.weight"].tolist() == [[6.0, 4.0]]
    assert pruned("taylor", *line)["linear.weight"].tolist() == [[36.0, 16.0]]
    assert pruned("wanda", *line)["linear.weight"].tolist() == [[3.0, 2.0]]


def test_the_sign_of_grasp_by_hand(line):
    """Without w_1 the squared gradient norm falls from 20 to 17, without w_2 it rises to 68: the first one stays."""
    model, data, loss = line
    scores = pruned({"name": "grasp", "temperature": 1.0}, model, data, loss)
    assert scores["linear.weight"].tolist() == [[6.0, -16.0]]
    assert allocate(scores, 0.5)["linear.weight"].tolist() == [[True, False]]


def test_dead_weights_have_slopes_where_they_are_zero(line):
    model, data, loss = line
    alive = {"linear.weight": torch.tensor([[True, False]])}
    assert pruned({"name": "grasp", "temperature": 1.0}, model, data, loss, alive=alive)["linear.weight"][0, 0] == 6
    assert pruned("snip", model, data, loss, alive=alive)["linear.weight"].tolist() == [[6.0, 0.0]]


def test_keeping_what_grasp_scores_lowest_is_worse():
    data = build("datasets", {"name": "csbm", "nodes": 200, "classes": 3, "features": 60})()
    better = 0
    for seed in range(3):
        torch.manual_seed(seed)
        model = build("backbones", {"name": "gcn", "hidden": 32})(60, 3)
        scores = pruned("grasp", model, data)
        norms = []
        for sign in (1, -1):
            masks = allocate({name: sign * score for name, score in scores.items()}, 0.9, floor=0.2)
            weights = {name: model.state_dict()[name] * mask for name, mask in masks.items()}
            norms.append(float(sum((g**2).sum() for g in slopes_of(model, data.clone(), weights))))
        better += norms[0] > 3 * norms[1]
    assert better == 3


@pytest.mark.parametrize("temperature", [0, -1, "warm"])
def test_grasp_checks_its_temperature(temperature):
    with pytest.raises(GltError, match="temperature"):
        build("pruners", {"name": "grasp", "temperature": temperature})


def test_grasp_says_which_model_cannot_be_differentiated_twice(data):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return 2 * gradient

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = GCNConv(8, 3).double()

        def forward(self, x, edge_index):
            return Once.apply(self.conv(x, edge_index))

    with pytest.raises(GltError, match="second derivatives, which Model does not have"):
        pruned("grasp", Model(), data)


def test_wanda_by_numpy(gcn, data):
    operator, x = reference.operator(data), data.x.numpy()
    first, last = (conv.lin.weight.detach().numpy() for conv in gcn.convs)
    hidden = np.maximum(operator @ x @ first.T + gcn.convs[0].bias.detach().numpy(), 0)
    scores = pruned("wanda", gcn, data)
    for key, weight, given in ((FIRST, first, x), (LAST, last, hidden)):
        want = np.abs(weight) * np.sqrt((given**2).sum(axis=0))
        np.testing.assert_allclose(scores[key].numpy(), want, rtol=1e-10)


def test_wanda_sees_what_aggregation_gives_where_it_comes_first(data):
    model = build("backbones", {"name": "gin", "hidden": 5, "mlp_layers": 1})(8, 3).double()
    total = data.x.clone().index_add(0, data.edge_index[1], data.x[data.edge_index[0]]).numpy()
    want = np.abs(model.convs[0].nn[0].weight.detach().numpy()) * np.sqrt((total**2).sum(axis=0))
    np.testing.assert_allclose(pruned("wanda", model, data)["convs.0.nn.0.weight"].numpy(), want, rtol=1e-10)


def test_wanda_adds_up_the_inputs_of_a_layer_that_is_called_twice(data):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = GCNConv(8, 8).double()

        def forward(self, x, edge_index):
            return self.conv(self.conv(x, edge_index), edge_index)

    model = Twice()
    between = model.conv(data.x, data.edge_index).detach()
    want = model.conv.lin.weight.detach().abs() * (data.x.square().sum(0) + between.square().sum(0)).sqrt()
    torch.testing.assert_close(pruned("wanda", model, data)["conv.lin.weight"], want)


def test_wanda_refuses_a_layer_that_is_never_called(data):
    class Idle(Line):
        def forward(self, x, edge_index):
            return x @ self.linear.weight.t()

    with pytest.raises(GltError, match=r"'linear\.weight' is not the weight of a linear layer that the model calls"):
        pruned("wanda", Idle(*[1.0] * 8).double(), data)


def test_synflow_by_hand():
    """From ones |W_1| gives 3 and 3, |W_2| then 6 and 3, R = 9; units 1 and 2 weigh 1 and 2 in it."""
    model = build("backbones", {"name": "mlp", "hidden": 2})(2, 2)
    with torch.no_grad():
        model.convs[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 0.0]]))
        model.convs[1].weight.copy_(torch.tensor([[-1.0, 1.0], [0.0, -1.0]]))
        model.convs[0].bias.fill_(7.0)
    data = Data(x=torch.tensor([[5.0, 0.0]]), edge_index=torch.empty(2, 0, dtype=torch.int64))
    scores = pruned({"name": "synflow", "rounds": 1}, model, data, loss=lambda logits: logits.sum())
    assert scores["convs.0.weight"].tolist() == [[1.0, 2.0], [6.0, 0.0]]
    assert scores["convs.1.weight"].tolist() == [[3.0, 3.0], [0.0, 3.0]]


LAYERS = {"sage": [0, 0, 1, 1], "gin": [0, 1, 2, 3], "transformer": [0] * 4 + [1] * 4}


@pytest.mark.parametrize("name", STACKS)
def test_synflow_conserves_the_flow(name, sbm):
    """Every layer carries all of R, and as much comes into a hidden unit as goes out of it."""
    model = small(name)(8, 3)
    for parameter in model.parameters():
        nn.init.normal_(parameter)  # biases too, which R does without
    scores = list(pruned({"name": "synflow", "rounds": 1}, model, sbm).values())
    totals = torch.zeros(4, dtype=torch.float64)
    layers = LAYERS.get(name, [0, 1])
    for layer, score in zip(layers, scores, strict=True):
        assert float(score.min()) >= 0
        totals[layer] += score.sum()
    totals = totals[totals > 0]
    torch.testing.assert_close(totals, totals[:1].expand_as(totals), rtol=1e-12, atol=0)
    first, second = (sum(s for s, layer in zip(scores, layers, strict=True) if layer == i) for i in (0, 1))
    torch.testing.assert_close(first.sum(1), second.sum(0), rtol=1e-12, atol=0)


@pytest.mark.parametrize("rounds", [1, 7, 100])
@pytest.mark.parametrize("sparsity", [0.3, 0.8])
def test_synflow_masks_are_those_of_the_reference(gcn, data, rounds, sparsity):
    weights = [conv.lin.weight.detach().numpy() for conv in gcn.convs]
    keep = keep_count(55, sparsity)
    want = reference.synflow_masks(reference.operator(data), *weights, keep, rounds)
    scores = pruned({"name": "synflow", "rounds": rounds}, gcn, data, sparsity=sparsity)
    for mask, other in zip(allocate(scores, sparsity, floor=0).values(), want, strict=True):
        assert np.array_equal(mask.numpy(), other)
    if rounds == 1:
        flow = reference.flow(reference.operator(data), 8, *weights)
        for score, other in zip(scores.values(), flow, strict=True):
            np.testing.assert_allclose(score.numpy(), other, rtol=1e-10)
    else:
        assert sum(int((score >= 0).sum()) for score in scores.values()) >= keep
        assert any(bool((score < 0).any()) for score in scores.values())


def test_synflow_goes_on_from_masks(gcn, data):
    """What goes first stands lowest, the dead lowest of all; with everything to keep nothing is pruned."""
    alive = {name: torch.rand(shape) < 0.7 for name, shape in ((FIRST, (5, 8)), (LAST, (3, 5)))}
    living = sum(int(mask.sum()) for mask in alive.values())
    scores = pruned("synflow", gcn, data, sparsity=1 - living / 55, alive=alive)
    assert all(bool((score[alive[name]] >= 0).all()) for name, score in scores.items())
    assert all(bool((score[~alive[name]] < -1).all()) for name, score in scores.items())
    assert allocate(scores, 1 - living / 55, alive=alive).keys() == alive.keys()


@pytest.mark.filterwarnings("ignore:sparsity .* without a weight")
def test_synflow_leaves_no_layer_empty_where_one_round_does(sbm):
    """With as many weights as layers a path remains (Tanaka et al., theorem 3)."""
    model = build("backbones", {"name": "mlp", "hidden": 12, "layers": 4})(8, 3)
    total = 8 * 12 + 2 * 12 * 12 + 12 * 3
    sparsity = 1 - 6 / total
    once, often = (
        allocate(pruned({"name": "synflow", "rounds": n}, model, sbm, sparsity=sparsity), sparsity) for n in (1, 100)
    )
    assert not all(bool(mask.any()) for mask in once.values())
    assert all(bool(mask.any()) for mask in often.values())


def test_synflow_sees_neither_features_nor_labels_nor_signs(gcn, data):
    want = pruned("synflow", gcn, data, sparsity=0.5)
    data.x, data.edge_weight = -data.x, -torch.ones(data.num_edges, dtype=torch.float64)
    with torch.no_grad():
        gcn.convs[0].lin.weight.neg_()
    for name, score in pruned("synflow", gcn, data, loss=lambda logits: 0 / 0, sparsity=0.5).items():
        assert torch.equal(score, want[name])


def test_synflow_passes_norms_by(data):
    class Normed(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.first, self.norm, self.last = nn.Linear(8, 6), norm, nn.Linear(6, 3)

        def forward(self, x, edge_index):
            return self.last(self.norm(self.first(x)).relu())

    plain = Normed(nn.Identity())
    want = pruned("synflow", plain, data, sparsity=0.5)
    for norm in (nn.BatchNorm1d(6), nn.LayerNorm(6), nn.GroupNorm(2, 6)):
        model = Normed(norm)
        model.load_state_dict(plain.state_dict(), strict=False)
        scores = pruned("synflow", model, data, sparsity=0.5)
        assert all(torch.equal(scores[name], score) for name, score in want.items())


def test_synflow_refuses_probabilities(data):
    class Logs(Line):
        def forward(self, x, edge_index):
            return torch.log_softmax(self.linear(x).expand(-1, 2), dim=1)

    with pytest.raises(GltError, match="log_softmax"):
        pruned("synflow", Logs(*[1.0] * 8), data)


def test_random_scores_know_both_seeds_and_the_layer(gcn, data):
    draws = {}
    for own in (0, 1):
        for seed in (0, 1):
            scores = pruned({"name": "random", "seed": own}, gcn, data, seed=seed)
            draws[own, seed] = torch.cat([score.flatten() for score in scores.values()])
    assert len(torch.stack(list(draws.values())).unique()) == 4 * 55
    assert all(0 <= float(d.min()) < float(d.max()) < 1 for d in draws.values())


def test_random_scores_are_the_same_in_every_version(gcn, data):
    """Stored results name a seed: other numbers would make them other experiments."""
    scores = pruned({"name": "random", "seed": 3}, gcn, data, seed=5)
    assert scores[FIRST].flatten()[:3].tolist() == pytest.approx([0.245411196524, 0.979094212843, 0.185695048929])
    assert scores[LAST].flatten()[:3].tolist() == pytest.approx([0.190276041995, 0.321112760585, 0.107519523029])


def test_random_scores_are_spread_evenly(data):
    model = nn.Linear(500, 40)
    model.forward = lambda x, edge_index: x
    scores = pruned("random", model, data)["weight"]
    observed = torch.histc(scores, bins=10, min=0, max=1)
    assert float(((observed - 2000) ** 2 / 2000).sum()) < 27.9  # chi-squared, 9 degrees, p = 0.001
