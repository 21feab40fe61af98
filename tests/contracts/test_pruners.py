"""What every registered weight pruner promises."""

import copy
from dataclasses import replace

import pytest
import torch
from reference.backbones import STACKS, small
from reference.graphs import small_sbm
from torch import nn
from torch_geometric.nn import (
    ChebConv,
    GATConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GINConv,
    GraphConv,
    SAGEConv,
    SGConv,
    TAGConv,
    TransformerConv,
)
from torch_geometric.nn import LayerNorm as GraphLayerNorm

from glt.allocate import ALLOCATIONS, allocate
from glt.constraints import prunable_weights
from glt.errors import GltError
from glt.losses import cross_entropy
from glt.pruners.base import Pruning
from glt.registry import build, names, spec_of
from glt.select import keep_count

QUICK = {"synflow": {"name": "synflow", "rounds": 5}}
KNOW_THE_PLACES_OF_WEIGHTS = {"random"}  # which it numbers
BACKBONES = names("backbones")


class Convolutions(nn.Module):
    """A user's stack of PyG's layers."""

    def __init__(self, layer):
        super().__init__()
        self.first = layer(8, 6)
        self.last = layer(6, 3)

    def forward(self, x, edge_index):
        x = self.first(x, edge_index).relu()
        return self.last(nn.functional.dropout(x, 0.5, self.training), edge_index)


class Deep(nn.Module):
    """A user's model with weights that belong to no linear layer, and the first convolution twice."""

    def __init__(self):
        super().__init__()
        self.lift, self.head = nn.Linear(8, 6), nn.Linear(6, 3)
        self.convs = nn.ModuleList([GCN2Conv(6, 0.1, 0.5, layer) for layer in (1, 2)])
        self.again = self.convs[0]

    def forward(self, x, edge_index):
        x = start = self.lift(x).relu()
        for conv in (*self.convs, self.again):
            x = conv(x, start, edge_index).relu()
        return self.head(x)


class Normed(nn.Module):
    """A user's model with everything that a pruner could disturb."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(8, 6)
        self.norms = nn.ModuleList([nn.BatchNorm1d(6), GraphLayerNorm(6)])
        self.conv = SAGEConv(6, 6)
        self.head = nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("used", torch.ones(6, dtype=torch.bool))

    def forward(self, x, edge_index):
        self.calls += 1
        x = self.norms[0](self.lift(x)).relu() * self.used
        x = self.norms[1](self.conv(nn.functional.dropout(x, 0.5), edge_index)).relu()  # drops even in evaluation
        return self.head(x)


MODELS = {name: lambda name=name: small(name)(8, 3) for name in BACKBONES}
MODELS |= {
    layer.__name__: lambda layer=layer: Convolutions(layer)
    for layer in (GCNConv, SAGEConv, GATConv, GATv2Conv, GraphConv, SGConv, TAGConv, TransformerConv)
}
MODELS |= {
    "SAGE max": lambda: Convolutions(lambda i, o: SAGEConv(i, o, aggr="max")),
    "GINConv": lambda: Convolutions(lambda i, o: GINConv(nn.Sequential(nn.Linear(i, o), nn.ReLU(), nn.Linear(o, o)))),
    "ChebConv": lambda: Convolutions(lambda i, o: ChebConv(i, o, 2)),
    "GCN2Conv": Deep,
    "normed": Normed,
}
REFUSED = {("wanda", "gcnii"), ("wanda", "GCN2Conv"), ("synflow", "ChebConv")}


def state_of(model, data=None, **options):
    data = data or small_sbm()
    initial = {name: 0.5 * tensor for name, tensor in model.state_dict().items()}
    return Pruning(model, data, cross_entropy(data), initial, **{"sparsity": 0.6, **options})


def model_of(name, seed=0):
    torch.manual_seed(seed)
    return MODELS[name]()


@pytest.fixture(params=names("pruners"))
def pruner(request):
    return build("pruners", QUICK.get(request.param, request.param))


@pytest.fixture(params=list(MODELS))
def model(request, pruner):
    if (pruner.name, request.param) in REFUSED:
        pytest.skip(f"{pruner.name} refuses {request.param}")
    return model_of(request.param)


def test_one_finite_float_per_weight(pruner, model):
    weights, scores = prunable_weights(model), pruner(state_of(model))
    assert list(scores) == list(weights)
    for name, score in scores.items():
        assert score.shape == weights[name].shape
        assert score.is_floating_point() and not score.requires_grad
        assert bool(torch.isfinite(score).all())
    assert len(torch.cat([score.flatten() for score in scores.values()]).unique()) > 10


def test_the_same_numbers_every_time(pruner, model):
    torch.manual_seed(1)
    first = pruner(state_of(model))
    torch.manual_seed(2)
    for again in (pruner(state_of(model)), build("pruners", spec_of(pruner))(state_of(copy.deepcopy(model).eval()))):
        assert all(torch.equal(score, again[name]) for name, score in first.items())


def test_the_global_random_state_is_left_alone(pruner, model):
    before = torch.get_rng_state()
    pruner(state_of(model))
    assert torch.equal(torch.get_rng_state(), before)


def everything(model):
    """What a pruner must not change, in a form that can be compared."""
    tensors = {name: tensor.clone() for name, tensor in model.state_dict(keep_vars=False).items()}
    objects = [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    slopes = [(None if p.grad is None else p.grad.clone(), p.requires_grad) for p in model.parameters()]
    rest = [
        (m.training, *(dict(value) for key, value in sorted(vars(m).items()) if "hooks" in key))
        for m in model.modules()
    ]
    return tensors, objects, slopes, rest


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_the_model_and_the_data_are_left_alone(pruner, model):
    model.train()
    list(model.modules())[-1].eval()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    data = small_sbm()
    state = state_of(model, data)
    initial = {name: tensor.clone() for name, tensor in state.initial.items()}
    before, graph = everything(model), data.to_dict()
    values = {key: value.clone() for key, value in graph.items()}
    pruner(state)
    assert same(before, everything(model))
    assert same(initial, dict(state.initial))
    assert all(value is data[key] for key, value in graph.items()) and same(values, data.to_dict())


def test_an_error_on_the_way_leaves_the_model_alone(pruner):
    class Broken(Convolutions):
        def forward(self, x, edge_index):
            super().forward(x, edge_index)
            raise RuntimeError("half way")

    model = Broken(GCNConv).train()
    before = everything(model)
    if pruner.name in ("snip", "taylor", "grasp", "wanda", "synflow"):
        with pytest.raises(RuntimeError, match="half way"):
            pruner(state_of(model))
    assert same(before, everything(model))


def test_it_works_where_no_gradients_are_recorded(pruner):
    model = model_of("gcn")
    first = pruner(state_of(model))
    with torch.no_grad():
        assert same(first, pruner(state_of(model)))


def alive_of(model, density=0.6):
    return {name: torch.rand(p.shape) < density for name, p in prunable_weights(model).items()}


def test_dead_weights_count_as_zero(pruner, model):
    """Scoring with masks equals scoring what has been set to zero."""
    alive = alive_of(model)
    state = state_of(model, alive=alive)
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in prunable_weights(masked).items():
            parameter.mul_(alive[name])
    want = pruner(replace(state, model=masked))
    for name, score in pruner(state).items():
        assert torch.equal(score[alive[name]], want[name][alive[name]])


@pytest.mark.parametrize("how", ALLOCATIONS)
def test_scores_make_nested_masks_of_the_exact_size(pruner, how):
    model = model_of("sage")
    alive = None
    for sparsity in (0.1, 0.3, 0.5) if how != "uniform_plus" else (0.02, 0.1, 0.15):
        scores = pruner(state_of(model, alive=alive, sparsity=sparsity))
        before = {name: score.clone() for name, score in scores.items()}
        masks = allocate(scores, sparsity, how, alive=alive)
        assert same(scores, before)
        total = sum(score.numel() for score in scores.values())
        assert sum(int(mask.sum()) for mask in masks.values()) == keep_count(total, sparsity)
        assert alive is None or not any(bool((mask & ~alive[name]).any()) for name, mask in masks.items())
        alive = masks


@pytest.mark.parametrize("name", [name for name in names("pruners") if name not in KNOW_THE_PLACES_OF_WEIGHTS])
@pytest.mark.parametrize("backbone", STACKS)
def test_the_order_of_hidden_units_does_not_matter(name, backbone):
    spec = {"name": backbone, "hidden": 8}
    spec |= {"gat": {"heads": 1}, "transformer": {"heads": 1}, "gin": {"mlp_layers": 1}}.get(backbone, {})
    model = build("backbones", spec)(8, 3).double()
    data = small_sbm()
    data.x = data.x.double()
    order = torch.randperm(8)

    def reordered(tensors):
        """Units are rows of the first layer, the last dimension of its attention, and columns of the second."""
        found = {}
        for key, tensor in tensors.items():
            if key.startswith("convs.0"):
                found[key] = tensor.index_select(tensor.dim() - 1 if "att" in key else 0, order)
            else:
                found[key] = tensor.index_select(1, order) if key.endswith("weight") else tensor
        return found

    other = copy.deepcopy(model)
    eps = {key: tensor for key, tensor in model.state_dict().items() if key.endswith("eps")}
    other.load_state_dict(reordered({k: v for k, v in model.state_dict().items() if k not in eps}) | eps)
    pruner = build("pruners", QUICK.get(name, name))
    state = state_of(model, data)
    initial = reordered({k: v for k, v in state.initial.items() if k not in eps})
    want = reordered(pruner(state))
    for key, score in pruner(replace(state, model=other, initial=initial)).items():
        torch.testing.assert_close(score, want[key], rtol=1e-9, atol=1e-18)


def test_sparse_features_give_the_same_numbers(pruner):
    model = model_of("gcn").double()
    dense = small_sbm()
    dense.x = dense.x.double() * (torch.rand(60, 8) < 0.15)
    sparse = dense.clone()
    sparse.x = dense.x.to_sparse_csr()
    want = pruner(state_of(model, dense))
    for name, score in pruner(state_of(model, sparse)).items():
        torch.testing.assert_close(score, want[name], rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize(("name", "model"), sorted(REFUSED))
def test_what_cannot_be_scored_is_refused_in_one_line(name, model):
    with pytest.raises(GltError, match=name) as error:
        build("pruners", name)(state_of(model_of(model)))
    assert "\n" not in str(error.value)
