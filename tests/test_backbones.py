import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_geometric
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.backbones import CHOICES, STACKS, small
from reference.graphs import arcs_of, directed
from torch import nn
from torch_geometric.data import Data

from glt import soft
from glt.backbones import deepergcn
from glt.backbones.dropout import dropout
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.forward import Forward
from glt.masks import SoftMasked
from glt.registry import build, names
from glt.train import Recipe

NODES, FEATURES, CLASSES = 30, 20, 4
BACKBONES = names("backbones")


def model_of(name, **spec):
    torch.manual_seed(7)
    model = small(name, **{"hidden": 16, "dropout": 0.0, **spec})(FEATURES, CLASSES)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.normal_()  # biases start at zero, where a missing one goes unnoticed
    return model


def graph(density=0.1, weighted=False, seed=0):
    """A directed multigraph with loops on nodes 0 to 4, and without any arc at nodes 25 to 29."""
    rng = np.random.default_rng(seed)
    arcs = np.concatenate([rng.integers(25, size=(2, 120)), np.tile(np.arange(5), (2, 1))], axis=1)
    arcs = np.concatenate([arcs, arcs[:, :6]], axis=1)[:, rng.permutation(131)]
    x = rng.normal(size=(NODES, FEATURES)) * (rng.random((NODES, FEATURES)) < density)
    data = Data(x=torch.from_numpy(x).float(), edge_index=torch.from_numpy(arcs))
    if weighted:
        data.edge_weight = torch.from_numpy(rng.random(131)).float() + 0.1
    return data


def plain(model, data):
    x = data.x if data.x.layout == torch.strided else data.x.to_dense()
    return model(x, data.edge_index, data.get("edge_weight"))


def prepared(model, data):
    return model(*model.prepare(data))


def run(model, call, data):
    """Output and gradients of a loss that treats every output apart."""
    model.zero_grad()
    out = call(model, data)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def assert_same(one, two, rtol=1e-4, atol=1e-5):
    torch.testing.assert_close(one[0], two[0], rtol=rtol, atol=atol)
    assert one[1].keys() == two[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, two[1][name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("density", [0.1, 1.0], ids=["bag of words", "dense"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_prepared_graph_changes_neither_outputs_nor_gradients(name, layers, residual, density):
    model, data = model_of(name, layers=layers, residual=residual).eval(), graph(density)
    one = run(model, plain, data)
    assert one[0].shape == (NODES, CLASSES)
    assert_same(one, run(model, prepared, data))
    data.x = data.x.to_sparse_csr()
    assert_same(one, run(model, prepared, data))


@pytest.mark.parametrize("kind", CHOICES)
def test_every_option_means_the_same_both_ways(kind):
    """In training, where batches are normalised, and in evaluation, where running averages are used."""
    model, data = model_of(**{"layers": 3, "residual": True, **CHOICES[kind]}).double(), graph()
    data.x = data.x.double()
    other = copy.deepcopy(model)
    for training in (True, True, False):
        model.train(training), other.train(training)
        assert_same(run(model, plain, data), run(other, prepared, data), rtol=1e-8, atol=1e-10)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[key])


@pytest.mark.parametrize("name", BACKBONES)
def test_edge_weights_mean_the_same_both_ways(name):
    model, data = model_of(name).eval(), graph(weighted=True)
    weighted = run(model, plain, data)
    assert_same(weighted, run(model, prepared, data))
    unweighted = plain(model, graph()).detach()
    assert torch.equal(weighted[0], unweighted) == (name not in ("gcn", "gcnii"))  # as PyG


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
@pytest.mark.parametrize("name", ["gcn", "gcnii"])
def test_edge_weights_of_another_type_are_taken_as_those_of_the_features(sbm, name, dtype):
    """NumPy's are double, and counts are integers."""
    model, weights = small(name)(8, 3), torch.arange(sbm.num_edges) % 3 + 1
    logits = []
    for kind in (torch.float32, dtype):
        sbm.edge_weight = weights.to(kind)
        logits += [Forward(model, sbm).evaluate(), Forward(model, sbm, plain=True).evaluate()]
    assert torch.equal(logits[0], logits[2]) and torch.equal(logits[1], logits[3])
    assert {one.dtype for one in logits} == {torch.float32}


def test_gcn_is_differentiable_in_its_edge_weights():
    model, data = model_of("gcn"), graph(weighted=True)
    data.edge_weight.requires_grad_()
    plain(model, data).square().sum().backward()
    assert bool((data.edge_weight.grad != 0).any())


@settings(max_examples=25)
@given(directed(), st.sampled_from(BACKBONES))
def test_any_small_graph_is_prepared_faithfully(small, name):
    edge_index, nodes = small
    data = Data(x=torch.linspace(-1, 1, nodes * FEATURES).view(nodes, FEATURES), edge_index=edge_index)
    model = model_of(name).eval()
    assert_same(run(model, plain, data), run(model, prepared, data))


@pytest.mark.parametrize("name", STACKS)
def test_residual_is_used_where_widths_agree(name):
    data = graph()
    without, with_it = (plain(model_of(name, layers=3, residual=r), data) for r in (False, True))
    assert not torch.allclose(without, with_it)
    without, with_it = (plain(model_of(name, layers=2, residual=r), data) for r in (False, True))
    assert torch.equal(without, with_it)


@pytest.mark.parametrize("name", STACKS)
def test_residual_adds_features_that_are_kept_sparse_too(name):
    model, data = model_of(name, hidden=FEATURES, heads=4, residual=True), graph()
    assert_same(run(model, plain, data), run(model, prepared, data))


class Stack(nn.Module):
    """Convolutions with ReLU between them, written out."""

    def __init__(self, *convs):
        super().__init__()
        self.convs = nn.ModuleList(convs)

    def forward(self, x, edge_index, edge_weight=None):
        for conv in self.convs[:-1]:
            x = F.relu(conv(x, edge_index))
        return self.convs[-1](x, edge_index)


def two_linear(i, o):
    return nn.Sequential(nn.Linear(i, o), nn.ReLU(), nn.Linear(o, o))


PYG = {
    "gcn": lambda: torch_geometric.nn.GCN(FEATURES, 16, 3, CLASSES),
    "sage": lambda: torch_geometric.nn.GraphSAGE(FEATURES, 16, 3, CLASSES),
    "gat": lambda: Stack(
        torch_geometric.nn.GATConv(FEATURES, 2, heads=8),
        torch_geometric.nn.GATConv(16, 2, heads=8),
        torch_geometric.nn.GATConv(16, CLASSES),
    ),
    "transformer": lambda: Stack(
        torch_geometric.nn.TransformerConv(FEATURES, 2, heads=8),
        torch_geometric.nn.TransformerConv(16, 2, heads=8),
        torch_geometric.nn.TransformerConv(16, CLASSES),
    ),
    "gin": lambda: Stack(
        torch_geometric.nn.GINConv(two_linear(FEATURES, 16)),
        torch_geometric.nn.GINConv(two_linear(16, 16)),
        torch_geometric.nn.GINConv(two_linear(16, CLASSES)),
    ),
}


class Normed(nn.Module):
    """A layer is dropout(relu(norm(conv(x) + x))), written out without dropout."""

    def __init__(self, norm):
        super().__init__()
        sizes = [(FEATURES, 16), (16, 16), (16, CLASSES)]
        self.convs = nn.ModuleList(torch_geometric.nn.SAGEConv(*size) for size in sizes)
        self.norms = nn.ModuleList(norm(16) for _ in range(2))

    def forward(self, x, edge_index, edge_weight=None):
        first, second, last = self.convs
        x = self.norms[0](first(x, edge_index)).relu()
        x = self.norms[1](second(x, edge_index) + x).relu()
        return last(x, edge_index)


@pytest.mark.parametrize(("norm", "layer"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)])
def test_a_layer_is_normalised_after_its_residual_and_before_relu(norm, layer):
    ours, theirs, data = model_of("sage", layers=3, residual=True, norm=norm), Normed(layer), graph()
    theirs.load_state_dict(ours.state_dict())
    for training in (True, False):
        ours.train(training), theirs.train(training)
        assert_same(run(ours, prepared, data), run(theirs, plain, data))
    assert all(torch.allclose(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("name", PYG)
def test_a_pyg_model_with_the_same_weights_gives_the_same(name):
    ours, theirs, data = model_of(name, layers=3), PYG[name](), graph(weighted=name == "gcn")
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict(ours.state_dict())
    want = run(theirs, plain, data)
    assert_same(run(ours, plain, data), want, rtol=1e-6, atol=1e-6)
    assert_same(run(ours, prepared, data), want)


def test_an_mlp_sees_no_edge():
    model, data = model_of("mlp", layers=3), graph()
    first, second, third = model.convs
    want = third(F.relu(second(F.relu(first(data.x)))))
    torch.testing.assert_close(prepared(model, data), want)
    data.edge_index = arcs_of((0, 1))
    torch.testing.assert_close(prepared(model, data), want)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "mlp"])
def test_every_other_backbone_sees_every_arc(name):
    model, data = model_of(name, layers=1).eval(), graph(1.0)
    want = plain(model, data)
    other = data.clone()
    other.edge_index = torch.cat([data.edge_index, arcs_of((3, 27))], dim=1)  # into a node without arcs
    changed = (plain(model, other) != want).any(1)
    assert changed.nonzero().squeeze(1).tolist() == [27]


@pytest.mark.parametrize("call", [plain, prepared])
@pytest.mark.parametrize("name", BACKBONES)
def test_names_of_nodes_do_not_matter(name, call):
    model, data = model_of(name), graph()
    order = torch.from_numpy(np.random.default_rng(5).permutation(NODES))
    other = Data(x=data.x[order], edge_index=torch.argsort(order)[data.edge_index])
    torch.testing.assert_close(call(model, other), call(model, data)[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("call", [plain, prepared])
@pytest.mark.parametrize("name", BACKBONES)
def test_the_seed_governs_training_mode_and_evaluation_has_none(name, call):
    model, data = model_of(name, dropout=0.5, attention_dropout=0.3), graph()
    torch.manual_seed(1)
    one = call(model, data)
    torch.manual_seed(1)
    assert torch.equal(call(model, data), one)
    torch.manual_seed(2)
    assert not torch.equal(call(model, data), one)
    model.eval()
    out = call(model, data)
    assert torch.equal(call(model, data), out)
    fresh = model_of(name).eval()
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(out, plain(fresh, data), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_preparing_leaves_graph_model_and_random_state_alone(name):
    model, data = model_of(name, dropout=0.5), graph(weighted=True)
    before, weights, state = data.clone(), {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    model.prepare(data)
    assert all(torch.equal(value, before[key]) for key, value in data.to_dict().items())
    assert data.to_dict().keys() == before.to_dict().keys()
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", BACKBONES)
def test_one_preparation_serves_many_steps(name):
    model, data = model_of(name), graph()
    forward = Forward(model, data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        forward().square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(forward(), plain(model, data), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch_geometric.typing.WITH_TORCH_SCATTER, reason="torch-scatter is not installed")
@pytest.mark.parametrize("call", [plain, prepared])
@pytest.mark.parametrize("name", BACKBONES)
def test_torch_scatter_changes_nothing_but_time(name, call, monkeypatch):
    model, data = model_of(name), graph()
    with_it = run(model, call, data)
    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", False)
    assert_same(run(model, call, data), with_it)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_initialisation_is_fresh_and_seeded(name):
    piece = small(name, hidden=16)
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(torch.cat([p.detach().flatten() for p in piece(FEATURES, CLASSES).parameters()]))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


GCNII = {"name": "gcnii", "hidden": 16, "layers": 3, "dropout": 0.0}


@pytest.mark.parametrize("training", [True, False])
def test_gcnii_is_the_papers(training):
    """relu(((1 - beta) I + beta W) ((1 - alpha) A h + alpha h_0)) between two linear maps, on dense matrices."""
    model, data = build("backbones", {**GCNII, "alpha": 0.2, "theta": 0.7})(FEATURES, CLASSES).double(), graph()
    data.x = data.x.double()
    arcs = data.edge_index = data.edge_index[:, data.edge_index[0] != data.edge_index[1]]
    adjacency = torch.eye(NODES, dtype=torch.float64).index_put_(
        (arcs[1], arcs[0]), torch.ones(arcs.size(1)).double(), accumulate=True
    )
    degree = adjacency.sum(1)
    operator = adjacency / degree.sqrt().outer(degree.sqrt())
    start = hidden = F.relu(model.first(data.x))
    for layer, conv in enumerate(model.convs, 1):
        beta = np.log(0.7 / layer + 1)
        mixed = 0.8 * operator @ hidden + 0.2 * start
        hidden = F.relu((1 - beta) * mixed + beta * mixed @ conv.weight1)
    torch.testing.assert_close(prepared(model.train(training), data), model.last(hidden))


@pytest.mark.parametrize("training", [True, False])
def test_deepergcn_is_pygs(training):
    """The 28 layers of Li et al. from PyG's residual blocks."""
    model, data = model_of("deepergcn", layers=28).double().train(training), graph()
    data.x = data.x.double()
    blocks = [
        torch_geometric.nn.DeepGCNLayer(copy.deepcopy(conv), copy.deepcopy(norm), nn.ReLU(), "res+")
        for conv, norm in zip(model.convs[1:], model.norms, strict=False)
    ]
    x = model.convs[0](model.first(data.x), data.edge_index)
    for block in blocks:
        x = block.train(training)(x, data.edge_index)
    want = model.last(model.norms[-1](x).relu())
    assert len(blocks) == 27 and (model.convs[0].aggr_module.semi_grad, model.convs[0].aggr_module.t) == (True, 0.1)
    torch.testing.assert_close(prepared(model, data), want)


@pytest.mark.parametrize("aggregation", ["softmax_sg", "softmax", "softmax_t"])
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4, 1e6])
def test_softmax_aggregation_is_exact_whatever_the_size_of_its_inputs(scale, aggregation):
    model, data = model_of("deepergcn", layers=1, aggregation=aggregation, t=0.5), graph(1.0)
    data.x = data.x * scale
    with torch.no_grad():
        model.last.weight.div_(scale)
    one = run(model, plain, data)
    assert bool(torch.isfinite(one[0]).all())
    assert_same(one, run(model, prepared, data), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("aggregation", ["softmax_sg", "softmax_t"])
def test_a_small_graph_on_a_device_is_summed_arc_by_arc(aggregation, masked, monkeypatch):
    """The same numbers and gradients, and nobody asks how far logits lie apart. A CPU stands in for the device."""
    model, data = model_of("deepergcn", aggregation=aggregation).double().eval(), graph()
    data.x = data.x.double()
    soft = SoftMasked(model, data, PrunableEdges.of(data.edge_index, NODES, False), *masks_for(data)).eval()
    with torch.no_grad():
        soft.edges.copy_(torch.linspace(0, 1, soft.edges.numel()))

    def sums():
        forward = Forward(soft if masked else model, soft.graph if masked else data)
        return run(forward.model, lambda *_: forward(), data)

    asked = []
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda x, real=torch.Tensor.__bool__: asked.append(1) or real(x))
    products = sums()
    assert asked
    monkeypatch.setattr(deepergcn, "waits", lambda x: True)
    asked.clear()
    by_arcs = sums()
    assert not asked
    assert_same(products, by_arcs, rtol=1e-5, atol=1e-7)  # masks are in single precision
    monkeypatch.setattr(deepergcn, "GATHERED", data.num_edges * 16 - 1)
    large = sums()
    assert asked and torch.equal(large[0], products[0])


@pytest.mark.parametrize("name", ["gat", "transformer"])
def test_attention_on_a_device_is_the_same(name, monkeypatch):
    """Without a sum over segments, which waits for the device: a CPU stands in for it."""
    model, data = model_of(name).double().eval(), graph()
    data.x = data.x.double()
    by_segments = run(model, prepared, data), Forward(model, data, chunk=7).evaluate()
    monkeypatch.setattr(soft, "waits", lambda x: True)
    monkeypatch.setattr("torch_geometric.utils._softmax.segment", None)
    by_targets = run(model, prepared, data), Forward(model, data, chunk=7).evaluate()
    assert_same(by_segments[0], by_targets[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(by_segments[1], by_targets[1])


def test_gcnii_has_the_papers_weight_decay():
    for own, want in ((0.01, 0.01), (None, 5e-4)):
        model = build("backbones", {**GCNII, "conv_weight_decay": own})(FEATURES, CLASSES)
        convs, others = Recipe().build(model).param_groups
        assert convs["weight_decay"] == want and others["weight_decay"] == 5e-4
        assert len(convs["params"]) == 3 and len(others["params"]) == 4
        soft = SoftMasked(model, data := graph(), PrunableEdges.of(data.edge_index, NODES, False), *masks_for(data))
        assert [group["weight_decay"] for group in Recipe().build(soft).param_groups] == [want, 5e-4, 0.0, 0.0]


def masks_for(data):
    edges = PrunableEdges.of(data.edge_index, NODES, False)
    return torch.ones(edges.num_edges, dtype=torch.bool), {}


def test_heads_share_the_hidden_units():
    with pytest.raises(GltError, match="hidden = 10 is not a multiple of heads = 4"):
        build("backbones", {"name": "gat", "hidden": 10, "heads": 4})


# dropout


@pytest.fixture
def every_draw(monkeypatch, p):
    """Each of the 2^8 or 2^16 random numbers that dropout compares with, equally often."""
    if (p * 2**8).is_integer():
        numbers = torch.arange(-(2**7), 2**7).to(torch.int8).repeat(2**8)
    else:
        numbers = torch.arange(-(2**15), 2**15).to(torch.int16)
    monkeypatch.setattr("glt.backbones.dropout._draws", lambda count: numbers.view(torch.int64))
    return torch.ones(2**16)


@pytest.mark.parametrize("p", [0.5, 0.25, 0.125, 0.75, 1 / 2**16, 1 - 1 / 2**8])
def test_the_rate_is_exact_for_multiples_of_the_resolution(p, every_draw):
    out = dropout(every_draw, p, training=True)
    assert int((out == 0).sum()) == p * 2**16
    assert out.double().mean().item() == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.6, 0.9])
def test_other_rates_are_off_by_less_than_the_resolution(p, every_draw):
    out = dropout(every_draw, p, training=True)
    assert abs(int((out == 0).sum()) - p * 2**16) <= 0.5
    assert out.double().mean().item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_what_stays_is_scaled_and_the_mean_is_kept(p):
    out = dropout(torch.full((400, 250), 3.0), p, training=True)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 3 / (1 - p)), rtol=1e-4, atol=0)  # p in 2^-16ths
    deviation = (p * (1 - p) / out.numel()) ** 0.5
    assert kept.numel() / out.numel() == pytest.approx(1 - p, abs=4 * deviation)


def test_flips_are_independent_of_place():
    kept = (dropout(torch.ones(20_000, 8), 0.5, training=True) != 0).double()
    correlation = torch.corrcoef(kept.t()) - torch.eye(8)
    assert float(correlation.abs().max()) < 4 / 20_000**0.5
    assert float(torch.corrcoef(torch.stack([kept[:-1, 0], kept[1:, 0]]))[0, 1]) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("shape", [(7, 3), (1,), (0,), (0, 4), (2, 3, 5)])
def test_any_shape_is_kept(shape):
    x = torch.ones(shape)
    assert dropout(x, 0.5, training=True).shape == x.shape


def test_views_are_dropped_at_their_own_places():
    x = torch.arange(1.0, 13).view(3, 4).t()
    out = dropout(x, 0.5, training=True)
    assert bool(((out == 0) | (out == 2 * x)).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_is_kept(dtype):
    assert dropout(torch.ones(8, dtype=dtype), 0.5, training=True).dtype == dtype


def test_the_global_generator_governs_the_flips():
    x = torch.ones(1000)
    torch.manual_seed(5)
    one, two = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    assert not torch.equal(one, two)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5, training=True), one)


@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)])
def test_without_dropout_nothing_happens(p, training):
    x, state = torch.randn(5), torch.get_rng_state()
    assert dropout(x, p, training) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_the_gradient_is_the_mask_times_its_scale():
    x = (torch.rand(300) + 1).requires_grad_()
    out = dropout(x, 0.2, training=True)
    weights = torch.randn(300)
    (out * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights * (out.detach() != 0) / 0.8, rtol=1e-4, atol=0)  # p in 2^-16ths


def test_the_input_is_left_alone():
    x = torch.ones(100)
    dropout(x, 0.5, training=True)
    assert bool((x == 1).all())
