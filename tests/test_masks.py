"""A soft mask of zeros and ones is the graph without those arcs, or it is refused."""

import copy
import inspect
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.backbones import CHOICES, small
from reference.graphs import undirected
from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data

from glt.constraints import prunable_weights
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.find import find
from glt.forward import Forward
from glt.layers import LAYERS, soft_masks
from glt.maskable import check_soft_masks
from glt.masks import SoftMasked
from glt.registry import names
from glt.sparsify import remove_arcs
from glt.train import Recipe

FEATURES, CLASSES = 6, 3


class Stack(nn.Module):
    """Two convolutions of a kind, as a user stacks them."""

    def __init__(self, first, last, initial=False):
        super().__init__()
        self.first, self.last, self.initial = first, last, initial

    def forward(self, x, edge_index):
        start = (x,) if self.initial else ()
        return self.last(self.first(x, *start, edge_index).relu(), *start, edge_index)


def twice(layer, **options):
    return lambda: Stack(layer(FEATURES, 4, **options), layer(4, CLASSES, **options))


def stacked(make):
    """Two of a layer of the table, all as wide as the features."""
    layer = make(FEATURES, FEATURES)
    return Stack(layer, make(FEATURES, FEATURES), "x_0" in inspect.signature(layer.forward).parameters)


TABLE = soft_masks()
REFUSED = {
    "FAConv": "layer 'first' .FAConv. cannot be soft-masked: it fails under a mask .AssertionError.; use layers",
    "SAGEConv, aggr='max'": "layer 'first' .SAGEConv, aggr='max'. cannot be soft-masked",
    "GraphConv, aggr='max'": "layer 'first' .GraphConv, aggr='max'. cannot be soft-masked",
    "PNAConv": "layer 'first' .PNAConv.* cannot be soft-masked",
    "GATConv, dropout=0.5": "build it with dropout=0",
    "GENConv": "layer 'first' .GENConv, aggr='softmax'. cannot be soft-masked",
    "ClusterGCNConv": "layer 'first' .ClusterGCNConv. cannot be soft-masked",
    "EdgeConv": "layer 'first' .EdgeConv, aggr='max'. cannot be soft-masked",
}
CONVOLUTIONS = {
    **{name: partial(stacked, make) for name, make in LAYERS.items() if TABLE[name].works},
    "GCNConv without loops": twice(pyg.GCNConv, add_self_loops=False),
    "GCNConv without normalisation": twice(pyg.GCNConv, normalize=False),
    "GATConv two heads, averaged": lambda: Stack(
        pyg.GATConv(FEATURES, 4, heads=2), pyg.GATConv(8, CLASSES, heads=2, concat=False)
    ),
    "GATConv without loops": twice(pyg.GATConv, add_self_loops=False),
    "GCN of PyG": lambda: pyg.GCN(FEATURES, 4, 3, CLASSES),
    "GAT of PyG": lambda: pyg.GAT(FEATURES, 4, 2, CLASSES),
}


def built_in(name, **options):
    return lambda: small(name, **options)(FEATURES, CLASSES)


MODELS = {
    **{f"{name} backbone": built_in(name) for name in names("backbones")},
    "deepergcn backbone, differentiated": built_in("deepergcn", aggregation="softmax_t"),
    "three layers": built_in("gcn", layers=3, residual=True),
    **CONVOLUTIONS,
}


def problem(graph, seed, loops=True):
    """A graph with features, self-loops among the arcs, edge ids, and a mask of some edges."""
    edge_index, nodes = graph
    generator = torch.Generator().manual_seed(seed)
    if not loops:
        edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    edge_index = edge_index[:, torch.randperm(edge_index.size(1), generator=generator)]
    data = Data(x=torch.randn(nodes, FEATURES, generator=generator), edge_index=edge_index, num_nodes=nodes)
    edges = PrunableEdges.of(edge_index, nodes)
    return data, edges, torch.rand(edges.num_edges, generator=generator) < 0.5


def masked(model, data, edges, keep, some):
    """Outputs under a binary mask ``some`` over the kept edges."""
    soft = SoftMasked(model, data, edges, keep, {})
    with torch.no_grad():
        soft.edges.copy_(some[keep])
    return Forward(soft, data).evaluate()


@pytest.mark.parametrize("kind", MODELS)
@given(undirected(min_edges=1), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_mask_of_zeros_and_ones_is_removal(kind, graph, seed):
    torch.manual_seed(seed)
    model = MODELS[kind]().eval()
    data, edges, some = problem(graph, seed, loops="without loops" not in kind)
    want = Forward(model, remove_arcs(data, edges.to_arcs(some))).evaluate()
    torch.testing.assert_close(masked(model, data, edges, torch.ones_like(some), some), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_what_was_pruned_before_stays_out(kind, sbm):
    sbm.x = sbm.x[:, :FEATURES]
    edges = PrunableEdges.of(sbm.edge_index, 60)
    keep = torch.arange(edges.num_edges) % 3 > 0
    some = torch.arange(edges.num_edges) % 5 > 1
    model = MODELS[kind]().eval()
    want = Forward(model, remove_arcs(sbm, edges.to_arcs(keep & some))).evaluate()
    torch.testing.assert_close(masked(model, sbm, edges, keep, some), want, rtol=1e-4, atol=1e-5)
    check_soft_masks(model, sbm, edges)


@pytest.mark.parametrize("kind", CHOICES)
def test_a_mask_of_zeros_and_ones_is_removal_with_any_option(kind, sbm):
    """In evaluation, and in training, where what is left says how a batch is normalised."""
    sbm.x = sbm.x[:, :FEATURES]
    edges = PrunableEdges.of(sbm.edge_index, 60)
    some = torch.arange(edges.num_edges) % 5 > 1
    model = small(**{"layers": 3, **CHOICES[kind], "dropout": 0.0})(FEATURES, CLASSES)
    removed = remove_arcs(sbm, edges.to_arcs(some))
    soft = SoftMasked(model, sbm, edges, torch.ones_like(some), {})
    with torch.no_grad():
        soft.edges.copy_(some)
    real, masked = Forward(copy.deepcopy(model), removed), Forward(soft, sbm)
    for training in (True, True, False):
        real.model.train(training), soft.train(training)
        torch.testing.assert_close(masked(), real(), rtol=1e-4, atol=1e-5)
    check_soft_masks(model, sbm, edges)


def test_the_table_says_what_works_and_what_does_not():
    assert {name for name, row in TABLE.items() if not row.works} == REFUSED.keys()
    assert TABLE["GCN2Conv"].about == TABLE["GCNConv"].about == "the mask is its edge weight, before any normalisation"
    assert "normalised again" in TABLE["GATv2Conv"].about and "mask's sum" in TABLE["SAGEConv"].about
    assert "use sum or mean aggregation" in TABLE["PNAConv"].about
    assert TABLE["GATConv, dropout=0.5"].about == "build it with dropout=0"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_table_refuses_is_refused(kind, sbm):
    sbm.x = sbm.x[:, :FEATURES]
    with pytest.raises(GltError, match=REFUSED[kind]):
        check_soft_masks(stacked(LAYERS[kind]), sbm, PrunableEdges.of(sbm.edge_index, 60))


@pytest.mark.parametrize("kind", sorted(REFUSED.keys() - {"GATConv, dropout=0.5", "FAConv"}))
def test_what_is_refused_would_not_be_removal(kind, sbm):
    """Messages times a mask of zeros and ones differ from the layer on the graph without those arcs."""
    torch.manual_seed(0)
    layer, arcs = LAYERS[kind](8, 8).eval(), sbm.edge_index
    keep = torch.rand(arcs.size(1)) < 0.5
    removed = layer(sbm.x, arcs[:, keep])

    def masked(module, inputs, messages):
        ones = torch.ones(messages.size(0) - keep.numel(), dtype=torch.bool)  # self-loops of its own
        return messages * torch.cat([keep, ones]).view(-1, *[1] * (messages.dim() - 1))

    layer.register_message_forward_hook(masked)
    assert float((layer(sbm.x, arcs) - removed).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("strategy", ["ugs", {"name": "random", "scorer": "gradient"}])
def test_a_layer_that_fails_under_a_mask_is_one_line_of_any_search(sbm, strategy):
    model = stacked(LAYERS["FAConv"])
    sbm.x = sbm.x[:, :FEATURES]
    with pytest.raises(GltError, match=r"layer 'first' .FAConv. cannot be soft-masked") as error:
        find(model, sbm, 0.1, 0.1, strategy=strategy, recipe=Recipe(epochs=1))
    assert "\n" not in str(error.value)


def test_a_model_that_is_one_layer_is_not_called_by_an_empty_name(sbm):
    layer = pyg.SAGEConv(8, 3, aggr="max")
    with pytest.raises(GltError, match=r"^the model .SAGEConv, aggr='max'. cannot be soft-masked"):
        find(layer, sbm, 0.1, 0.1, strategy="ugs", recipe=Recipe(epochs=1))


class WithAttributes(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.conv = pyg.GATConv(FEATURES, CLASSES, edge_dim=2, **options)

    def forward(self, x, edge_index, edge_attr):
        return self.conv(x, edge_index, edge_attr)


def test_self_loops_that_average_attributes_of_arcs_are_refused_by_what_they_do(sbm):
    sbm.x, sbm.edge_attr = sbm.x[:, :FEATURES], torch.rand(sbm.num_edges, 2)
    edges = PrunableEdges.of(sbm.edge_index, 60)
    for options in ({"fill_value": 0.0}, {"add_self_loops": False}):
        check_soft_masks(WithAttributes(**options), sbm, edges)
    with pytest.raises(GltError, match=r"layer 'conv' .*fill_value='mean'.*add_self_loops=False or a number"):
        check_soft_masks(WithAttributes(), sbm, edges)


def test_a_model_that_gathers_by_itself_is_refused(sbm):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 3)

        def forward(self, x, edge_index):
            return self.head(torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]]))

    with pytest.raises(GltError, match="the model cannot be soft-masked"):
        check_soft_masks(Own(), sbm, PrunableEdges.of(sbm.edge_index, 60))


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"mlp backbone", "deepergcn backbone"}))
def test_gradients_reach_every_mask_and_are_those_of_finite_differences(kind, sbm):
    torch.manual_seed(0)
    sbm.x = sbm.x[:, :FEATURES].double()
    edges = PrunableEdges.of(sbm.edge_index, 60)
    model = MODELS[kind]().double().eval()
    keep = torch.ones(edges.num_edges, dtype=torch.bool)
    weights = {name: torch.ones_like(p, dtype=torch.bool) for name, p in prunable_weights(model).items()}
    soft = SoftMasked(model, sbm, edges, keep, weights).double().eval()
    forward = Forward(soft, sbm)
    pull = torch.randn(60, forward().size(1), dtype=torch.float64)
    (forward() * pull).sum().backward()
    for parameter in (soft.edges, *soft.weights):
        for at in (0, parameter.numel() // 2, parameter.numel() - 1):
            numeric = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    parameter.view(-1)[at] += step
                    numeric.append(float((forward() * pull).sum()))
                    parameter.view(-1)[at] -= step
            difference = (numeric[0] - numeric[1]) / 2e-6
            assert float(parameter.grad.view(-1)[at]) == pytest.approx(difference, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", ["gcn backbone", "GCNConv"])
def test_pruned_weights_count_as_zero_and_the_model_is_a_copy(kind, sbm):
    sbm.x = sbm.x[:, :FEATURES]
    edges = PrunableEdges.of(sbm.edge_index, 60)
    model = MODELS[kind]().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {name: torch.rand_like(p) < 0.5 for name, p in prunable_weights(model).items()}
    soft = SoftMasked(model, sbm, edges, torch.ones(edges.num_edges, dtype=torch.bool), kept)
    with torch.no_grad():
        for parameter in (soft.edges, *soft.weights):
            parameter.fill_(1.0)
    logits = Forward(soft, sbm).evaluate()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert not any(m._forward_pre_hooks for m in model.modules())
        if name in kept:
            parameter.data.mul_(kept[name])
    torch.testing.assert_close(logits, Forward(model, sbm).evaluate())


class Tied(nn.Module):
    """A module under two names, and a weight in two modules."""

    def __init__(self):
        super().__init__()
        self.first = pyg.GCNConv(FEATURES, FEATURES)
        self.again = self.first
        self.last = pyg.GCNConv(FEATURES, FEATURES)
        self.last.lin.weight = self.first.lin.weight

    def forward(self, x, edge_index):
        return self.last(self.again(self.first(x, edge_index).relu(), edge_index).relu(), edge_index)


def test_tied_weights_are_masked_wherever_they_stand_and_stay_tied(sbm):
    torch.manual_seed(0)
    sbm.x = sbm.x[:, :FEATURES]
    edges = PrunableEdges.of(sbm.edge_index, 60)
    model = Tied().eval()
    kept = {name: torch.rand_like(p) < 0.5 for name, p in prunable_weights(model).items()}
    assert len(kept) == 1
    soft = SoftMasked(model, sbm, edges, torch.ones(edges.num_edges, dtype=torch.bool), kept)
    with torch.no_grad():
        for parameter in (soft.edges, *soft.weights):
            parameter.fill_(1.0)
    forward = Forward(soft, sbm)
    logits = forward.evaluate()
    model.first.lin.weight.data.mul_(kept["first.lin.weight"])
    torch.testing.assert_close(logits, Forward(model, sbm).evaluate())
    torch.testing.assert_close(forward.evaluate(), logits)
    assert soft.model.last.lin.weight is soft.model.first.lin.weight
    assert isinstance(soft.model.first.lin.weight, nn.Parameter)


@pytest.mark.parametrize("loops", [0, 60], ids=["fewer", "as many"])
def test_a_model_that_drops_arcs_in_training_is_refused_in_one_line(sbm, loops):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = pyg.GCNConv(8, 3)

        def forward(self, x, edge_index):
            arcs = edge_index[:, 1:] if self.training else edge_index
            return self.conv(x, torch.cat([arcs, torch.arange(loops).expand(2, -1)], dim=1))

    with pytest.raises(GltError, match="other arcs in training"):
        find(Dropping(), sbm, 0.2, 0.2, strategy="ugs", recipe=Recipe(epochs=2))
    looked = {"name": "oneshot", "scorer": "gradient"}  # in evaluation mode, where all arcs are there
    assert find(Dropping(), sbm, 0.2, 0.2, strategy=looked, recipe=Recipe(epochs=1)).graph_sparsity > 0


def test_masks_at_their_bound_do_not_go_by_the_names_of_nodes(sbm, monkeypatch):
    scores = SoftMasked.scores
    equal = torch.zeros(PrunableEdges.of(sbm.edge_index, 60).num_edges)
    monkeypatch.setattr(SoftMasked, "scores", lambda self, state, keep: (equal, scores(self, state, keep)[1]))
    ticket = find("gcn", sbm, 0.5, 0.2, strategy="ugs", recipe=Recipe(epochs=1))
    half = ticket.edge_keep.numel() // 2
    assert 0.3 < float(ticket.edge_keep[:half].double().mean()) < 0.7


@pytest.mark.parametrize(
    ("model", "strategy", "words"),
    [
        ("deepergcn", {"name": "wd_glt", "alpha": 0.5}, "GENConv"),
        ("gcn", {"name": "imp", "scorer": "attention"}, "GATConv"),
        ("gcn", {"name": "teddy", "selection": {"blend": ["attention"]}}, "GATConv"),
    ],
)
def test_what_a_model_cannot_do_is_told_before_anything_is_trained(sbm, model, strategy, words):
    trained = []
    with pytest.raises(GltError, match=words):
        find(model, sbm, 0.2, 0.2, strategy=strategy, recipe=Recipe(epochs=1), on_epoch=lambda *_: trained.append(1))
    assert not trained


@pytest.mark.parametrize("layer", [partial(pyg.GCNConv, add_self_loops=False), pyg.TAGConv, partial(pyg.ChebConv, K=3)])
def test_nodes_whose_masks_are_all_zero_have_finite_gradients(sbm, layer):
    edges = PrunableEdges.of(sbm.edge_index, 60)
    soft = SoftMasked(Stack(layer(8, 4), layer(4, CLASSES)), sbm, edges, torch.ones(edges.num_edges, dtype=bool), {})
    alone = (edges.pairs == 0).any(0)
    with torch.no_grad():
        soft.edges[alone] = 0.0
    Forward(soft, sbm)()[sbm.train_mask].square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in soft.parameters() if p.grad is not None)
    assert bool(soft.edges.grad[~alone].any())


def test_attention_that_vanishes_has_finite_gradients(sbm):
    sbm.x[0] = 1e3
    model = Stack(pyg.TransformerConv(8, 4), pyg.TransformerConv(4, CLASSES))
    edges = PrunableEdges.of(sbm.edge_index, 60)
    soft = SoftMasked(model, sbm, edges, torch.ones(edges.num_edges, dtype=bool), {})
    Forward(soft, sbm)().square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in soft.parameters() if p.grad is not None)


def test_a_seed_may_be_large(sbm):
    assert find("gcn", sbm, 0.2, 0.2, strategy="ugs", recipe=Recipe(epochs=1), seed=2**60).graph_sparsity > 0
