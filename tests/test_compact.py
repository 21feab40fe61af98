"""A compact model gives what the masked model gives, whatever the masks, the graph and the model."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torch_geometric
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.backbones import CHOICES, STACKS
from reference.graphs import arcs_of, directed
from test_backbones import BACKBONES, CLASSES, FEATURES, PYG, graph, model_of
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import (
    APPNP,
    BatchNorm,
    GATConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GENConv,
    GINConv,
    GraphConv,
    GraphNorm,
    InstanceNorm,
    JumpingKnowledge,
    LayerNorm,
    PairNorm,
    SAGEConv,
    Sequential,
    SGConv,
    TransformerConv,
)

import glt
from glt.compact.build import compact
from glt.compact.exact import difference, tolerance
from glt.compact.graphs import Csr, multiply_rows
from glt.compact.ops import Opaque
from glt.constraints import prunable_weights
from glt.errors import GltError
from glt.export import export, load
from glt.forward import Forward
from glt.problem import Problem
from glt.registry import build

DENSITIES = (0.0, 0.02, 0.1, 0.5, 1.0)


def masked(model, density, seed=0, biases=False):
    """``model`` with a random part of every weight left; batch norms get numbers that are not their first ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in prunable_weights(model, biases).values():
            parameter.mul_(torch.rand(parameter.shape, generator=generator) < density)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
    return model


def reference(model, data):
    return Forward(copy.deepcopy(model), data, plain=True).evaluate()


def assert_same(made, model, data, left_alone=0):
    assert difference(made(), reference(model, data)) <= 1e-5
    assert sum(line.storage == "left alone" for line in made.report.lines) == left_alone, str(made.report)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_the_same(name, layers, density):
    for residual, words, storage in ((False, 0.1, "dense"), (True, 1.0, "csr")):
        model = masked(model_of(name, layers=layers, residual=residual), density)
        data = graph(words, weighted=True)
        made = compact(model, data, storage=storage, reorder=residual)
        assert_same(made, model, data)


@pytest.mark.parametrize("density", [0.1, 1.0])
@pytest.mark.parametrize("kind", CHOICES)
def test_every_option_of_every_backbone_has_a_rule(kind, density):
    model, data = masked(model_of(**{"layers": 3, "residual": True, **CHOICES[kind]}), density), graph(1.0)
    assert_same(compact(model, data, storage="dense", reorder=False), model, data)


@settings(max_examples=20)
@given(directed(), st.sampled_from(BACKBONES), st.sampled_from(DENSITIES), st.booleans(), st.integers(0, 5))
def test_any_graph_any_mask(small, name, density, biases, seed):
    edge_index, nodes = small
    data = Data(x=torch.linspace(-1, 1, nodes * FEATURES).view(nodes, FEATURES), edge_index=edge_index)
    model = masked(model_of(name, layers=3, residual=seed % 2 == 0), density, seed, biases)
    made = compact(model, data, storage="csr" if seed % 3 else "dense", reorder=False)
    assert difference(made(), reference(model, data)) <= 1e-5


def sizes(model, made):
    """Entries of weights before and after."""
    after = sum(s.get_buffer("weight").numel() for s in made.steps if s.kind == "linear")
    return sum(p.numel() for p in prunable_weights(model).values()), after


@pytest.mark.parametrize("name", STACKS)
def test_what_is_dead_is_gone_in_the_stacks(name):
    model, data = masked(model_of(name, layers=3), 0.05), graph(1.0)
    made = compact(model, data, storage="dense", reorder=False)
    assert_same(made, model, data)
    before, after = sizes(model, made)
    assert after < before / 2.5


@pytest.mark.parametrize("name", sorted({*BACKBONES} - {*STACKS}))
def test_a_unit_goes_from_a_residual_stream_where_it_is_dead_in_all_of_it(name):
    """Units 0 to 5 are read by nobody else; 6 and 7 by a layer in the middle, which keeps them before it."""
    model, data = model_of(name, layers=3), graph(1.0)
    with torch.no_grad():
        for conv in model.convs:
            weight = conv.weight1.t() if name == "gcnii" else conv.mlp[0].weight
            weight[:, :8] = 0.0
        model.last.weight[:, :8] = 0.0
        (model.convs[1].weight1.t() if name == "gcnii" else model.convs[1].mlp[0].weight)[9, 6:8] = 1.0
    made = compact(model, data, storage="dense", reorder=False)
    assert_same(made, model, data)
    widths = {line.name: line.after for line in made.report.lines}
    of = "weight1" if name == "gcnii" else "mlp.0.weight"
    start = 10 if name == "gcnii" else 8  # the stream of DeeperGCN starts after the first convolution
    assert [widths[f"convs.{i}.{of}"] for i in range(3)] == [(10, start), (8, 10), (8, 8)]
    assert widths["first.weight"] == (start, FEATURES) and widths["last.weight"] == (CLASSES, 8)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_layer_that_is_all_dead(name, layer):
    model, data = model_of(name, layers=3, residual=True), graph()
    with torch.no_grad():
        for key, parameter in prunable_weights(model).items():
            if f".{layer}." in key:
                parameter.zero_()
    assert difference(compact(model, data, reorder=False)(), reference(model, data)) <= 1e-5


@pytest.mark.parametrize("edges", [(), ((0, 1),), ((3, 3),)])
@pytest.mark.parametrize("name", BACKBONES)
def test_all_edges_but_one_removed(name, edges):
    model, data = masked(model_of(name), 0.5), graph()
    data.edge_index = arcs_of(*edges)
    made = compact(model, data, reorder=True)
    assert difference(made(), reference(model, data)) <= 1e-5


def test_a_golden_by_hand():
    """Unit 0 reads nothing: relu(2) = 2 goes to the next bias. Unit 1 is read by nobody. Feature 2 is read by none."""
    model = build("backbones", {"name": "mlp", "hidden": 3, "dropout": 0})(3, 2)
    one, two = model.convs
    with torch.no_grad():
        one.weight.copy_(torch.tensor([[0.0, 0, 0], [1, 2, 3], [4, 5, 0]]))
        one.bias.copy_(torch.tensor([2.0, 1, -1]))
        two.weight.copy_(torch.tensor([[3.0, 0, 7], [0, 0, 9]]))
        two.bias.copy_(torch.tensor([0.5, 0.25]))
    data = Data(x=torch.tensor([[1.0, 2, 3], [4, 5, 6]]), edge_index=arcs_of((0, 1)))
    made = compact(model, data, storage="dense", reorder=False)
    assert made.columns.tolist() == [0, 1]
    first, second = (s for s in made.steps if s.kind == "linear")
    assert (first.weight.tolist(), first.bias.tolist()) == ([[4.0, 5.0]], [-1.0])
    assert (second.weight.tolist(), second.bias.tolist()) == ([[7.0], [9.0]], [6.5, 0.25])
    assert made().tolist() == [[7 * 13 + 6.5, 9 * 13 + 0.25], [7 * 40 + 6.5, 9 * 40 + 0.25]]


# --- models of users


class Custom(nn.Module):
    """Two convolutions, batch norm, a residual, jumping knowledge, a linear head, functions in between."""

    def __init__(self, conv=GCNConv):
        super().__init__()
        self.lift = nn.Linear(FEATURES, 12)
        self.one, self.two = conv(12, 12), conv(12, 12)
        self.norm = BatchNorm(12)
        self.last = nn.Linear(24, CLASSES)
        self.scale = nn.Parameter(torch.rand(12))

    def forward(self, x, edge_index):
        x = F.elu(self.lift(x))
        h = F.dropout(self.norm(self.one(x, edge_index)).relu_(), 0.5, training=self.training)
        h = 0.5 * h + x * self.scale
        h2 = F.leaky_relu(self.two(h, edge_index), 0.1) - 1.0
        return F.log_softmax(self.last(torch.cat([h, h2], dim=-1)), dim=-1)


def gat_heads(i, o):
    return GATConv(i, o, heads=2, concat=False)


def transformer_heads(i, o):
    return TransformerConv(i, o, heads=2, concat=False, beta=True)


def gen(i, o):
    return GENConv(i, o, aggr="softmax", t=2.0, learn_t=True, num_layers=2, norm="layer", bias=True)


CONVS = {
    "gcn": GCNConv,
    "graph": GraphConv,
    "sage": SAGEConv,
    "gat": gat_heads,
    "transformer": transformer_heads,
    "gen": gen,
    "appnp": lambda i, o: APPNP(3, 0.2),
}


@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("conv", CONVS)
def test_a_custom_module(conv, density):
    torch.manual_seed(1)
    model, data = masked(Custom(CONVS[conv]), density, seed=2), graph(1.0)
    made = compact(model, data, reorder=False)
    assert_same(made, model, data)
    if density == 0.1:
        head = next(line for line in made.report.lines if line.name == "last.weight")
        assert head.after[1] < 24, "dead units are dropped through concatenation"


@pytest.mark.parametrize("name", PYG)
def test_pygs_own_models(name):
    model, data = masked(PYG[name](), 0.2), graph()
    assert_same(compact(model, data), model, data)


BASIC = {
    "GCN": {"jk": "cat"},
    "GraphSAGE": {},
    "GIN": {},
    "GAT": {"heads": 4},
}


@pytest.mark.parametrize("name", BASIC)
def test_pygs_basic_models_get_smaller(name):
    torch.manual_seed(0)
    model = masked(getattr(torch_geometric.nn, name)(FEATURES, 16, 3, CLASSES, **BASIC[name]), 0.05)
    data = graph(1.0)
    made = compact(model, data, storage="dense", reorder=False)
    assert_same(made, model, data)
    before, after = sizes(model, made)
    assert after < before / 2


CALLS = {
    "edge_attr=None": lambda conv, x, arcs: conv(x, arcs, edge_attr=None),
    "edge_weight=None": lambda conv, x, arcs: conv(x, arcs, edge_weight=None),
    "size=None": lambda conv, x, arcs: conv(x, arcs, size=None),
    "positions": lambda conv, x, arcs: conv(x, arcs, None, None),
    "pair": lambda conv, x, arcs: conv((x, x), arcs),
    "keywords": lambda conv, x, arcs: conv(edge_index=arcs, x=x),
}
USES = [
    *[(GATConv, how) for how in ("edge_attr=None", "size=None", "positions", "pair", "keywords")],
    *[(GENConv, how) for how in ("edge_attr=None", "size=None", "positions", "pair", "keywords")],
    *[(GraphConv, how) for how in ("edge_weight=None", "size=None", "positions", "pair", "keywords")],
    *[(TransformerConv, how) for how in ("edge_attr=None", "positions", "pair", "keywords")],
    *[(SAGEConv, how) for how in ("size=None", "pair", "keywords")],
    *[(lambda i, o: GINConv(nn.Linear(i, o)), how) for how in ("size=None", "pair", "keywords")],
]


@pytest.mark.parametrize("conv, how", USES)
def test_a_convolution_has_its_rule_however_it_is_called(conv, how):
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = conv(FEATURES, CLASSES)

        def forward(self, x, edge_index):
            return CALLS[how](self.one, x, edge_index)

    model, data = masked(Called(), 0.2), graph(1.0)
    assert_same(compact(model, data, storage="dense", reorder=False), model, data)


def test_a_convolution_with_a_pair_of_two_is_left_alone():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.one = nn.Linear(FEATURES, FEATURES), SAGEConv(FEATURES, CLASSES)

        def forward(self, x, edge_index):
            return self.one((x, self.lift(x)), edge_index)

    model, data = masked(Pair(), 0.2), graph(1.0)
    assert_same(compact(model, data, storage="dense", reorder=False), model, data, left_alone=1)


class Initial(nn.Module):
    """GCN2Conv as PyG has it and the backbone does not: weights of their own, no normalisation, a lone layer."""

    def __init__(self, **options):
        super().__init__()
        self.lift, self.last = nn.Linear(FEATURES, 12), nn.Linear(12, CLASSES)
        self.convs = nn.ModuleList(GCN2Conv(12, 0.3, **options) for _ in range(2))

    def forward(self, x, edge_index, edge_weight=None):
        x = first = self.lift(x).relu()
        for conv in self.convs:
            x = conv(x, first, edge_index, edge_weight).tanh()
        return self.last(x)


@pytest.mark.parametrize(
    "options",
    [{}, {"theta": 0.5, "layer": 2, "shared_weights": False}, {"normalize": False}, {"add_self_loops": False}],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_initial_residuals(options, weighted):
    torch.manual_seed(1)
    model, data = masked(Initial(**options), 0.2), graph(1.0, weighted)
    assert_same(compact(model, data, reorder=False), model, data)


@pytest.mark.parametrize("aggr", ["softmax", "mean", "add"])
def test_generalised_aggregation_between_widths(aggr):
    torch.manual_seed(1)
    parts = [(GENConv(FEATURES, 12, aggr, bias=True), "x, edge_index -> x"), nn.Linear(12, CLASSES)]
    model, data = masked(Sequential("x, edge_index", parts), 0.3), graph(1.0)
    made = compact(model, data, storage="dense", reorder=False)
    assert_same(made, model, data)
    before, after = sizes(model, made)
    assert after < before


@pytest.mark.parametrize("stretch", [1.0, 1e4])
def test_softmax_means_of_messages_far_apart(stretch):
    """Where no shift of a channel's logits keeps all their exponentials in range, it is done arc by arc."""
    model, data = Custom(lambda i, o: GENConv(i, o, "softmax", norm="layer")), graph(1.0)
    with torch.no_grad():
        model.lift.weight.mul_(stretch)
    assert_same(compact(model, data, reorder=False), model, data)


class Tied(nn.Module):
    """One convolution, called three times."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.lift, self.conv, self.last = nn.Linear(FEATURES, 12), GCNConv(12, 12), nn.Linear(12, CLASSES)

    def forward(self, x, edge_index):
        x = self.lift(x)
        for _ in range(3):
            x = x + self.conv(x, edge_index).relu()
        return self.last(x)


@pytest.mark.parametrize(("density", "storage"), [(1.0, "dense"), (0.5, "csr")])
def test_a_layer_that_is_called_again_is_held_once_and_reported_each_time(density, storage, tmp_path):
    model, data = masked(Tied(), density), graph(1.0)
    with torch.no_grad():
        model.last.weight.fill_(1.0)  # all units are read, in the last call as well
    made = compact(model, data, storage=storage, reorder=False)
    assert_same(made, model, data)
    lines = [line for line in made.report.lines if line.name == "conv.lin.weight"]
    assert len(lines) == 3 and all(line.after == (12, 12) and line.storage == storage for line in lines)
    again = load(export(made, tmp_path / "it.safetensors"))
    assert torch.equal(again(), made())
    for one in (made, again):
        held = sum(b.numel() for b in one.buffers() if b.is_floating_point())
        assert held <= sum(p.numel() for p in model.parameters())


def test_a_call_that_is_in_vain_is_removed_and_the_other_one_stays():
    class Late(Tied):
        def forward(self, x, edge_index):
            first = self.conv(self.lift(x), edge_index).relu()
            return self.last(first) + torch.zeros(CLASSES) * self.last(self.conv(first, edge_index))

    made = compact(Late(), graph(1.0), reorder=False)
    lines = [line for line in made.report.lines if line.name == "conv.lin.weight"]
    assert [line.storage for line in lines] == ["dense", "removed"]
    assert_same(made, Late(), graph(1.0))


@pytest.mark.parametrize("gone", [0, 1])
def test_an_operator_that_no_step_reads_is_not_made(gone):
    parts = [(SAGEConv(FEATURES, 8), "x, edge_index -> x"), (GCNConv(8, CLASSES), "x, edge_index -> x")]
    model, data = Sequential("x, edge_index", parts), graph(1.0)
    with torch.no_grad():
        layer = model[0].lin_l if gone == 0 else model[1].lin
        layer.weight.zero_()
        if gone == 0:
            layer.bias.zero_()
    made = compact(model, data, reorder=False)
    assert [operator.how for operator in made.operators] == (["gcn"] if gone == 0 else [])
    assert len(made.ready.graph.operators) == 1 - gone
    assert_same(made, model, data)


def test_what_softmax_does_not_see_of_queries_and_keys_goes():
    """A key that is constant, or a query that is 0, is the same for all arcs into a node; a head without is a mean."""
    conv, data = TransformerConv(FEATURES, 4, heads=2, root_weight=False), graph(1.0)
    with torch.no_grad():
        conv.lin_key.weight[:2] = 0.0  # channels 0 and 1 of head 0: constant by their bias
        conv.lin_query.weight[2:8] = 0.0
        conv.lin_query.bias[3:8] = 0.0  # channel 2: the query is a constant, which matters
    model = Sequential("x, edge_index", [(conv, "x, edge_index -> x")])
    made = compact(model, data, storage="dense", reorder=False)
    assert_same(made, model, data)
    (attend,) = (step for step in made.steps if step.kind == "attend_dots")
    assert attend.options["dims"] == [1, 0] and attend.options["sizes"] == [4, 4]
    keys = next(line for line in made.report.lines if "lin_key" in line.name)
    assert keys.after == (1, FEATURES)
    assert next(line for line in made.report.lines if "lin_query" in line.name).storage == "removed"


def test_a_sequential_of_convolutions_and_linears():
    parts = [
        (GCNConv(FEATURES, 16, improved=True), "x, edge_index -> x"),
        nn.ReLU(inplace=True),
        nn.LayerNorm(16),
        (SAGEConv(16, 16, aggr="sum", root_weight=False), "x, edge_index -> x"),
        nn.BatchNorm1d(16),
        nn.Tanh(),
        nn.Linear(16, CLASSES),
    ]
    model, data = masked(Sequential("x, edge_index", parts), 0.3), graph()
    assert_same(compact(model, data), model, data)


@pytest.mark.parametrize("conv", [GATv2Conv, SGConv, lambda i, o: SAGEConv(i, o, aggr="max")])
def test_a_layer_without_a_rule_is_left_alone_and_said_so(conv):
    model, data = masked(Custom(conv), 0.2), graph()
    made = compact(model, data)
    assert_same(made, model, data, left_alone=2)
    assert "one: left alone, " in str(made.report)
    assert next(line for line in made.report.lines if line.name == "lift.weight").after != (12, FEATURES)
    other = graph(seed=4)
    assert difference(made(other), reference(model, other)) <= 1e-5


class Strange(nn.Module):
    """Writes into a slice, which no record follows."""

    def __init__(self):
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)

    def forward(self, x, edge_index):
        x = x.clone()
        x[:, :3] = 0
        return self.conv(x, edge_index)


class Aliased(Strange):
    """Changes a value through a view of it: what is written down would be wrong, and is found out."""

    def forward(self, x, edge_index):
        h = self.conv(x, edge_index)
        h.view(-1).relu_()
        return h + 1.0


@pytest.mark.parametrize("kind", [Strange, Aliased])
def test_a_model_that_is_not_understood_is_left_alone_whole(kind):
    model, data = kind(), graph(1.0)
    made = compact(model, data)
    assert_same(made, model, data, left_alone=1)
    assert isinstance(made.steps[1], Opaque)


class Own(nn.Module):
    """Normalises with the graph by itself."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(FEATURES, CLASSES)

    def forward(self, x, edge_index):
        degree = torch.zeros(x.size(0)).index_add(0, edge_index[1], torch.ones(edge_index.size(1)))
        return self.lin(x) * (1 + degree).unsqueeze(1)


def test_functions_that_are_not_known_are_called_and_bound_to_one_graph():
    model, data = Own(), graph(1.0)
    made = compact(model, data)
    assert difference(made(), reference(model, data)) <= 1e-5
    with pytest.raises(GltError, match=r"recorded for one graph.*compact the model again"):
        made.on(graph(seed=1))


class Between(nn.Module):
    """A function or module that has no rule, between a convolution and a linear layer."""

    def __init__(self, between, width=12):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.between, self.last = GCNConv(FEATURES, 12), between, nn.Linear(width, CLASSES)

    def forward(self, x, edge_index):
        return self.last(self.between(self.conv(x, edge_index).relu()))


@pytest.mark.parametrize("slopes", [1, 12])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_a_learned_slope_is_written_down(slopes, density):
    slope = nn.PReLU(slopes)
    with torch.no_grad():
        slope.weight.copy_(torch.linspace(-0.5, 1.5, slopes) if slopes > 1 else torch.tensor([0.3]))
    model, data = masked(Custom(), density, seed=2), graph(1.0)
    model.norm = nn.Sequential(model.norm, slope)
    made = compact(model, data, storage="dense", reorder=False)
    assert_same(made, model, data)
    assert (sizes(model, made)[1] < 0.8 * sizes(model, made)[0]) == (density < 1)


@pytest.mark.parametrize("norm", [LayerNorm(12), PairNorm(), InstanceNorm(12)])
def test_a_normalisation_over_nodes_is_one_line(norm):
    model, data, other = masked(Between(norm), 0.3), graph(1.0), graph(1.0, seed=4)
    made = compact(model, data, reorder=False)
    assert_same(made, model, data, left_alone=1)
    assert f"between: left alone, there is no rule for {type(norm).__name__}" in str(made.report)
    assert difference(made(other), reference(model, other)) <= 1e-5


def test_a_normalisation_of_each_node_has_its_rule():
    model, data = masked(Between(LayerNorm(12, mode="node")), 0.3), graph(1.0)
    assert_same(compact(model, data, reorder=False), model, data)


FUNCTIONS = {
    "normalize": F.normalize,
    "slice": lambda h: torch.cat([h[:, 6:], h[:, :6]], dim=1),
    "division": lambda h: h / h.norm(dim=1, keepdim=True).clamp(min=1e-6),
    "hardswish": F.hardswish,
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_that_only_look_at_values_run_on_other_graphs(function):
    model, data, other = masked(Between(FUNCTIONS[function]), 0.3), graph(1.0), graph(1.0, seed=4)
    made = compact(model, data)
    assert "left alone, the function" in str(made.report)
    other = other.subgraph(torch.arange(21))
    assert difference(made(), reference(model, data)) <= 1e-5
    assert difference(made(other), reference(model, other)) <= 1e-5


class Scaled(Own):
    """Its mean degree enters as a number: right on its own graph, wrong on any other."""

    def forward(self, x, edge_index):
        return self.lin(x) * (1 + edge_index.size(1) / x.size(0))


def test_numbers_taken_from_the_graph_are_found_out():
    model, data = Scaled(), graph(1.0)
    made = compact(model, data)
    assert_same(made, model, data)
    with pytest.raises(GltError, match=r"recorded for one graph \(it uses numbers of its graph\)"):
        made.on(graph(seed=1))


class Max(nn.Module):
    """Jumping knowledge by a maximum, which takes several tensors."""

    def __init__(self, mode):
        super().__init__()
        self.convs = nn.ModuleList([GCNConv(FEATURES, 8), GCNConv(8, 8)])
        self.jump, self.last = JumpingKnowledge(mode, 8, 2), nn.Linear(8, CLASSES)

    def forward(self, x, edge_index):
        seen = []
        for conv in self.convs:
            x = conv(x, edge_index).relu()
            seen.append(x)
        return self.last(self.jump(seen))


@pytest.mark.parametrize("make", [lambda: Max("max"), lambda: Max("lstm"), lambda: Between(GraphNorm(12))])
def test_the_smallest_module_that_cannot_be_written_down_is_left_alone(make):
    torch.manual_seed(0)
    model, data, other = masked(make(), 0.1), graph(1.0), graph(1.0, seed=4)
    made = compact(model, data, reorder=False)
    assert_same(made, model, data, left_alone=1)
    before, after = sizes(model, made)
    assert after < before and difference(made(other), reference(model, other)) <= 1e-5


def test_a_model_is_not_modified():
    model, data = masked(Custom(), 0.2), graph()
    model.train()
    state, before = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    compact(model, data)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert not any("forward" in vars(m) for m in model.modules())
    assert torch.equal(torch.get_rng_state(), before)


# --- storage, order, other graphs


@pytest.mark.parametrize("name", BACKBONES)
def test_double_precision_stays(name):
    model, data = masked(model_of(name, layers=3, residual=True), 0.1).double(), graph(1.0)
    data.x = data.x.double()
    made = compact(model, data, reorder=False)
    assert made().dtype == torch.float64 and "left alone" not in str(made.report)
    assert difference(made(), reference(model, data)) <= 1e-13


def test_half_precision_where_torch_multiplies_it():
    model, data = masked(model_of("mlp", layers=3), 0.2).bfloat16(), graph(1.0)
    data.x = data.x.bfloat16()
    made = compact(model, data, reorder=False)
    assert made().dtype == torch.bfloat16 and "left alone" not in str(made.report)
    assert difference(made(), reference(model, data)) <= tolerance(torch.bfloat16)


@pytest.mark.parametrize("storage", ["dense", "csr", "auto"])
def test_storage_can_be_forced_and_is_named(storage):
    model, data = masked(model_of("gcn"), 0.2), graph(1.0)
    made = compact(model, data, storage=storage)
    named = {line.storage for line in made.report.lines}
    assert named <= ({storage} if storage != "auto" else {"dense", "csr"})
    assert_same(made, model, data)


def test_the_faster_form_is_chosen(monkeypatch):
    model, data = masked(model_of("gcn"), 0.2), graph(1.0)
    for winner in ("dense", "csr"):
        times = {"dense": 1.0, "csr": 2.0} if winner == "dense" else {"dense": 2.0, "csr": 1.0}
        monkeypatch.setattr(
            "glt.compact.storage.milliseconds", lambda call, *_, t=times: t[call.func.__self__.options["form"]]
        )
        assert {line.storage for line in compact(model, data, reorder=False).report.lines} == {winner}


def test_unknown_options_are_errors():
    with pytest.raises(GltError, match="unknown storage 'cSr'"):
        compact(model_of("gcn"), graph(1.0), storage="cSr")
    with pytest.raises(GltError, match="reorder = 'maybe'"):
        compact(model_of("gcn"), graph(), reorder="maybe")


@pytest.mark.parametrize("name", BACKBONES)
def test_renumbered_nodes_give_the_same_rows(name):
    model, data = model_of(name), graph()
    one, two = (compact(model, data, reorder=reorder) for reorder in (True, False))
    assert one.report.reordered == (name != "mlp") and not two.report.reordered
    torch.testing.assert_close(one(), two(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*BACKBONES, "left alone"])
def test_renumbering_is_undone(name):
    model, data = Custom(GATv2Conv) if name == "left alone" else model_of(name), graph(weighted=True)
    made = compact(model, data, reorder=True)
    ready = made.ready.in_order()
    assert ready.place is None
    assert difference(made.run(ready.x, ready.graph), made()) <= 1e-5


def test_a_product_with_the_graph_comes_where_rows_are_narrow():
    model, data = model_of("gcn", layers=2, hidden=2), graph(1.0)
    wide = build("backbones", {"name": "gcn", "hidden": 2, "dropout": 0})(FEATURES, 16)
    for narrow, width in ((True, 2), (False, 16)):
        made = compact(wide, data, reorder=False, narrow=narrow)
        assert [s.width for s in made.steps if s.kind == "propagate"] == [2, width]
        assert_same(made, wide, data)
    del model


@pytest.mark.parametrize("density, width", [(1.0, FEATURES), (0.1, 64)])
def test_dense_features_are_aggregated_while_they_are_narrow(density, width):
    data = graph()
    data.x = torch.randn(data.x.shape) * (torch.rand(data.x.shape) < density)
    data.x[0] = 1.0
    model = build("backbones", {"name": "sage", "hidden": 64, "dropout": 0})(FEATURES, CLASSES)
    made = compact(model, data, reorder=False)
    assert next(s.width for s in made.steps if s.kind == "propagate") == width
    assert_same(made, model, data)


def test_why_a_form_was_not_measured_is_said():
    report = str(compact(masked(model_of("gcn"), 0.3), graph(0.1), reorder=False).report)
    assert "dense (not measured: sparse features are multiplied with dense weights alone)" in report
    report = str(compact(model_of("gcn"), graph(1.0), reorder=False).report)
    assert "dense (csr not tried: 100% of it is there)" in report


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_weights_of_any_form_meet_features_of_any_density(storage):
    data, other = graph(), graph(seed=5)
    data.x, other.x = torch.randn(data.x.shape), torch.zeros(other.x.shape)
    other.x[:, 1] = torch.randn(other.x.size(0))
    model = masked(model_of("gcn"), 0.3)
    made = compact(model, data, storage=storage, reorder=False)
    assert difference(made(other), reference(model, other)) <= 1e-5
    assert difference(compact(model, other, storage=storage)(data), reference(model, data)) <= 1e-5


@pytest.mark.parametrize("rows", [0, 1, 256, 300])
def test_products_by_rows_are_products(rows):
    dense, weight = torch.randn(rows, 20), torch.randn(7, 20) * (torch.rand(7, 20) < 0.3)
    torch.testing.assert_close(multiply_rows(Csr.of(weight), dense), dense @ weight.t())


@pytest.mark.parametrize("name", BACKBONES)
def test_new_nodes_and_graphs(name):
    model, data = masked(model_of(name, layers=3), 0.3), graph(weighted=True)
    made = compact(model, data, reorder=True)
    other = graph(weighted=True, seed=5).subgraph(torch.arange(20))
    want = reference(model, other)
    assert difference(made(other), want) <= 1e-5
    assert difference(made.on(other)(), want) <= 1e-5
    assert difference(made(), reference(model, data)) <= 1e-5, "its own graph is still there"


def test_another_number_of_features_is_an_error():
    made, other = compact(model_of("gcn"), graph()), graph()
    other.x = other.x[:, 1:]
    with pytest.raises(GltError, match=f"reads {FEATURES} features, the data has {FEATURES - 1}"):
        made(other)


def changed(**attributes):
    """The graph of the tests with some of its attributes changed; None takes one out."""
    data = graph(1.0, weighted=True)
    for name, attribute in attributes.items():
        data[name] = attribute
    return data


WRONG = {
    "no x": (lambda: Data(edge_index=arcs_of((0, 1)), num_nodes=2), r"data.x must be float \[nodes, features\]"),
    "no arcs": (lambda: Data(x=torch.zeros(3, FEATURES)), "data.edge_index is missing"),
    "integers": (lambda: changed(x=graph().x.int()), r"got int32 \[.*take x.float\(\)"),
    "truth": (lambda: changed(x=graph().x.bool()), r"got bool \[.*take x.float\(\)"),
    "doubles": (
        lambda: changed(x=graph().x.double()),
        r"computes in float32, data.x is float64: take x.to\(torch.float32",
    ),
    "halves": (lambda: changed(x=graph().x.half()), "computes in float32, data.x is float16"),
    "a row": (lambda: changed(x=torch.zeros(30)), r"got float32 \[30\]"),
    "no such node": (lambda: changed(edge_index=arcs_of((0, 99)), edge_weight=torch.ones(1)), "holds node 99"),
    "too few weights": (lambda: changed(edge_weight=torch.ones(3)), r"data.edge_weight is \[3\], but there are"),
    "a table of weights": (lambda: changed(edge_weight=graph(1.0, True).edge_weight[:, None]), r"give .* \[arcs\]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_graph_that_does_not_fit_is_one_line(what):
    make, said = WRONG[what]
    made = compact(model_of("gcn"), graph(1.0, weighted=True), reorder=False)
    with pytest.raises(GltError, match=said):
        made(make())
    if "computes in" not in said and "table" not in what:  # of which the model itself says what it thinks
        with pytest.raises(GltError, match=said):
            compact(model_of("gcn"), make())


class Gives(nn.Module):
    """Something else than logits."""

    def __init__(self, what):
        super().__init__()
        self.conv, self.what = GCNConv(FEATURES, CLASSES), what

    def forward(self, x, edge_index):
        return self.what(self.conv(x, edge_index))


@pytest.mark.parametrize(
    "what, said",
    [
        (lambda h: (h, h), "gives a tuple, not logits"),
        (lambda h: h.mean(0), f"gives a Tensor .{CLASSES}., not logits"),
        (lambda h: h.argmax(1), "not logits, float"),
    ],
)
def test_a_model_that_gives_something_else_is_one_line(what, said):
    with pytest.raises(GltError, match=said):
        compact(Gives(what), graph(1.0))


def test_a_model_that_is_random_is_left_alone_and_said_so():
    model, data = Gives(lambda h: F.dropout(h, 0.5)), graph(1.0)
    made = compact(model, data)
    assert made.report.error > 0.1
    assert "Gives: left alone, it is random: two calls in evaluation mode differ by" in str(made.report)
    assert made(graph(1.0, seed=2)).shape == (30, CLASSES), "which binds it to no graph"


def test_a_model_whose_logits_are_not_finite_is_left_alone_and_said_so():
    made = compact(Gives(lambda h: h / 0.0 * 0.0), graph(1.0))
    assert "Gives: left alone, its logits are not all finite" in str(made.report)


@pytest.mark.parametrize("words, reorder", [(0.1, True), (1.0, False)])
@pytest.mark.parametrize("name", BACKBONES)
def test_a_model_takes_its_graph_along(name, words, reorder):
    model, data = masked(model_of(name), 0.3), graph(words, weighted=True)
    made = compact(model, data, reorder=reorder)
    first = next(step for step in made.steps if step.kind == "linear")
    first.register_buffer("same", next(iter(first.tensors.values())))
    made.double()
    assert first.same is next(iter(first.tensors.values())), "what was one tensor still is"
    assert made().dtype == torch.float64 and difference(made().float(), reference(model, data)) <= 1e-5
    with pytest.raises(GltError, match=r"computes in float64, data.x is float32"):
        made(data)
    data.x = data.x.double()
    assert difference(made(data), made()) <= 1e-6
    assert {tensor.device.type for tensor in made.to("meta").ready.tensors()} == {"meta"}


class Weighted(nn.Module):
    """Takes edge weights, and edge attributes where ``channels`` says so many."""

    def __init__(self, channels=None):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.channels = GCNConv(FEATURES, CLASSES), channels
        self.two = GATConv(FEATURES, CLASSES, edge_dim=channels)

    def forward(self, x, edge_index, edge_weight=None, edge_attr=None):
        return self.one(x, edge_index, edge_weight) + self.two(x, edge_index, edge_attr if self.channels else None)


@pytest.mark.parametrize("name, channels", [("edge_weight", None), ("edge_attr", 3)])
def test_what_the_model_uses_and_its_graph_had_not_is_refused(name, channels, tmp_path):
    model, data = Weighted(channels), graph(1.0)
    made = compact(model, data, reorder=False)
    other = graph(1.0, seed=2)
    assert difference(made(other), reference(model, other)) <= 1e-5
    arcs = other.edge_index.size(1)
    other[name] = torch.rand(arcs) if channels is None else torch.rand(arcs, channels)
    said = f"compacted on a graph without {name}, which it uses.*del data.{name}"
    with pytest.raises(GltError, match=said):
        made(other)
    if channels is None:
        with pytest.raises(GltError, match=said):
            load(export(made, tmp_path / "it.safetensors")).on(other)


def test_what_the_model_ignores_is_not_refused():
    model, data = Weighted(), graph(1.0, weighted=True)
    made, other = compact(model, data, reorder=False), graph(1.0, weighted=True, seed=2)
    other.edge_attr = torch.rand(other.edge_index.size(1), 3)
    assert made.missing == ()
    assert difference(made(other), reference(model, other)) <= 1e-5
    assert compact(model_of("sage"), graph(), reorder=False).missing == ()


# --- tickets


@pytest.fixture(scope="module")
def found():
    data = build("datasets", {"name": "csbm", "nodes": 120, "classes": 3, "features": 30, "avg_degree": 4})()
    model = build("backbones", {"name": "gcn", "hidden": 16})(30, 3)
    return glt.find(model, data, 0.4, 0.9, recipe=glt.Recipe(epochs=5)), model, data


def test_a_ticket_compacts(found):
    ticket, model, data = found
    made = ticket.compact(model, data)
    want = Forward(ticket.restore(copy.deepcopy(model)), ticket.apply(data)).evaluate()
    assert difference(made(), want) <= 1e-5
    assert made.report.error <= 1e-5
    assert sum(b.numel() for b in made.buffers()) < 0.6 * sum(p.numel() for p in model.parameters())


def test_another_graph_is_sparsified_by_the_same_scorer(found):
    ticket, model, data = found
    made = ticket.compact(model, data)
    torch.testing.assert_close(made.on(data, sparsify=True)(), made(), rtol=1e-4, atol=1e-5)
    sparse = ticket.sparsifier()(data)
    assert torch.equal(sparse.edge_index, ticket.apply(data).edge_index)
    nameless = copy.deepcopy(ticket)
    del nameless.config["strategy"]
    with pytest.raises(GltError, match="does not name a built-in strategy"):
        nameless.sparsifier()
    with pytest.raises(GltError, match="does not name a scorer"):
        nameless.compact(model, data).on(data, sparsify=True)


def test_scorers_that_draw_draw_the_same_again(found):
    data = found[2]
    backbone = build("backbones", {"name": "gcn", "hidden": 16})
    problem = Problem(data, backbone, glt.Recipe(epochs=1), seed=3, config={"strategy": "random"})
    (ticket,) = build("strategies", "random").tickets(problem, glt.OneShot(graph=0.4, weight=0.8))
    assert torch.equal(ticket.sparsifier()(data).edge_index, ticket.apply(data).edge_index)
    ticket.edge_weights = ticket.edge_keep.float()
    with pytest.raises(GltError, match="edges have weights"):
        ticket.sparsifier()


def test_a_model_from_a_file_sparsifies_other_graphs_as_before(found, tmp_path):
    ticket, model, data = found
    made = ticket.compact(model, data)
    again = load(export(made, tmp_path / "it.safetensors", graph=False))
    torch.testing.assert_close(again.on(data, sparsify=True)(), made(), rtol=1e-4, atol=1e-5)
    again = load(export(again, tmp_path / "again.safetensors", graph=False))
    assert again.sparsifier == made.sparsifier


def test_learned_masks_do_not_sparsify_other_graphs(found):
    ticket = copy.deepcopy(found[0])
    ticket.config["strategy"] = {"name": "ugs"}
    with pytest.raises(GltError, match="has no scorer"):
        ticket.sparsifier()


def test_a_large_sparse_matrix_of_features_stays_sparse():
    rng = np.random.default_rng(0)
    x = torch.from_numpy((rng.random((NODES := 40, FEATURES)) < 0.05).astype("float32"))
    data = Data(x=x.to_sparse_csr(), edge_index=torch.from_numpy(rng.integers(NODES, size=(2, 90))))
    model = masked(model_of("sage"), 0.3)
    made = compact(model, data)
    assert_same(made, model, data)
    assert made.ready.x.entries == int(x[:, made.columns].count_nonzero())
