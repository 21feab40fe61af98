import copy

import numpy as np
import pytest
import reference.projection
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference.backbones import small
from torch import nn
from torch_geometric.nn import ARMAConv, GATConv, GATv2Conv, SuperGATConv

from glt.constraints import freeze_weights, largest_weights, project_weights, prunable_weights
from glt.errors import GltError
from glt.registry import names

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "fused adam": lambda p: torch.optim.Adam(p, lr=0.1, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.5, max_iter=3),
}
X = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 5))).float()
Y = torch.arange(20) % 3


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def step(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        return loss

    optimizer.step(closure)


def zeros(tensors):
    return sum(int((t == 0).sum()) for t in tensors)


def matrices(model):
    return [p for p in model.parameters() if p.dim() == 2]


class Bag(nn.Module):
    """Parameters of any values."""

    def __init__(self, *values):
        super().__init__()
        for i, value in enumerate(values):
            self.register_parameter(f"w{i}", nn.Parameter(torch.as_tensor(value)))


@st.composite
def weight_lists(draw):
    """Up to three small matrices, with many equal absolute values."""
    value = st.one_of(st.sampled_from([-1.0, 1.0, 0.0, -0.5, 0.5]), st.floats(-2, 2, width=32))
    shapes = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3))
    return [
        np.array(draw(st.lists(value, min_size=r * c, max_size=r * c)), dtype=np.float32).reshape(r, c)
        for r, c in shapes
    ]


@given(weight_lists(), st.floats(0, 0.95))
def test_a_step_projects_as_sorting_all_weights_does(weights, sparsity):
    total = sum(w.size for w in weights)
    if int(sparsity * total + 0.5) >= total:
        return
    model = Bag(*[w.copy() for w in weights])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with project_weights(model, optimizer, sparsity) as constraint:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        once = [p.detach().numpy().copy() for p in model.parameters()]
        optimizer.step()
    for got, again, want in zip(once, model.parameters(), reference.projection.project(weights, sparsity), strict=True):
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(again.detach().numpy(), want)
    assert constraint.holds()


@given(weight_lists(), st.floats(0, 0.95))
def test_masks_have_the_exact_count(weights, sparsity):
    total = sum(w.size for w in weights)
    if int(sparsity * total + 0.5) >= total:
        return
    named = {f"w{i}": torch.from_numpy(w) for i, w in enumerate(weights)}
    masks = largest_weights(named, sparsity)
    assert sum(int(m.sum()) for m in masks.values()) == total - int(sparsity * total + 0.5)
    for want, (name, mask) in zip(reference.projection.project(weights, sparsity), masks.items(), strict=True):
        assert mask.shape == named[name].shape
        np.testing.assert_array_equal(np.where(mask.numpy(), named[name].numpy(), 0), want)


def test_the_budget_is_global_not_by_layer():
    small, large = torch.full((2, 2), 0.1), torch.full((2, 2), 1.0)
    masks = largest_weights({"small": small, "large": large}, 0.5)
    assert int(masks["small"].sum()) == 0
    assert int(masks["large"].sum()) == 4


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("sparsity", [0.3, 0.9])
def test_every_optimiser_ends_its_steps_on_the_ball(optimiser, sparsity):
    model = network()
    optimizer = OPTIMISERS[optimiser](model.parameters())
    constraint = project_weights(model, optimizer, sparsity)
    assert not constraint.holds()
    for _ in range(3):
        before = [p.detach().clone() for p in model.parameters()]
        step(model, optimizer)
        assert zeros(matrices(model)) == int(64 * sparsity + 0.5)
        assert constraint.holds()
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert constraint.keep == 64 - int(64 * sparsity + 0.5)
    assert all(bool((p != 0).any()) for p in model.parameters() if p.dim() == 1)


@pytest.mark.parametrize(
    "dtypes",
    [(torch.float32, torch.float32), (torch.float32, torch.float64), (torch.bfloat16, torch.bfloat16)],
    ids=str,
)
def test_what_is_projected_is_what_the_masks_say(dtypes):
    values = torch.tensor([[0.5, -2.0, 2.0, 1e-40], [-1.0, 0.0, 3.0, -2.0]])
    for sparsity in (0.0, 0.125, 0.25, 0.5, 0.625, 0.875):
        model = nn.ModuleList([nn.Linear(4, 2, bias=False, dtype=dtype) for dtype in dtypes])
        for layer, scale in zip(model, (1.0, 1.25), strict=True):
            layer.weight.data.copy_(scale * values)
        masks = largest_weights(dict(model.named_parameters()), sparsity)
        want = {name: p.detach() * masks[name] for name, p in model.named_parameters()}
        constraint = project_weights(model, torch.optim.SGD(model.parameters(), lr=0.0), sparsity)
        for _ in range(2):  # the second time in the memory of the first
            constraint.apply()
            assert all(torch.equal(p, want[name]) for name, p in model.named_parameters()), sparsity


@pytest.mark.parametrize("optimiser", [name for name in OPTIMISERS if name != "lbfgs"])
def test_a_projected_step_is_the_plain_step_then_the_projection(optimiser):
    free, bound = network(), network()
    optimizers = [OPTIMISERS[optimiser](m.parameters()) for m in (free, bound)]
    project_weights(bound, optimizers[1], 0.6)
    for model, optimizer in zip((free, bound), optimizers, strict=True):
        step(model, optimizer)
    want = reference.projection.project([p.detach().numpy() for p in matrices(free)], 0.6)
    for parameter, weight in zip(matrices(bound), want, strict=True):
        np.testing.assert_array_equal(parameter.detach().numpy(), weight)
    for i in (1, 3):  # biases
        assert torch.equal(list(free.parameters())[i], list(bound.parameters())[i])
    states = [[o.state[p] for p in m.parameters()] for m, o in zip((free, bound), optimizers, strict=True)]
    for one, two in zip(*states, strict=True):
        assert one.keys() == two.keys()
        for key, value in one.items():  # momentum of pruned weights too
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(two[key]))


def test_biases_are_left_alone_unless_asked_for():
    for biases, total in ((False, 64), (True, 75)):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        constraint = project_weights(model, optimizer, 0.5, biases=biases)
        step(model, optimizer)
        parameters = model.parameters() if biases else matrices(model)
        assert zeros(parameters) == int(total * 0.5 + 0.5)
        assert constraint.keep == total - int(total * 0.5 + 0.5)
        assert len(constraint.parameters) == (4 if biases else 2)


def test_weights_may_return():
    model = Bag([[1.0, 0.1]])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    project_weights(model, optimizer, 0.5)
    model.w0.grad = torch.tensor([[0.0, 0.0]])
    optimizer.step()
    assert model.w0.tolist() == [[1.0, 0.0]]
    model.w0.grad = torch.tensor([[0.0, -2.0]])
    optimizer.step()
    assert model.w0.tolist() == [[0.0, 2.0]]


def test_gradients_stay_dense():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    project_weights(model, optimizer, 0.9)
    step(model, optimizer)
    step(model, optimizer)
    pruned = model[2].weight == 0
    assert bool((model[2].weight.grad[pruned] != 0).any())


def test_remove_ends_it_and_leaves_the_weights():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    constraint = project_weights(model, optimizer, 0.5)
    step(model, optimizer)
    constraint.remove()
    assert zeros(matrices(model)) == 32
    step(model, optimizer)
    assert zeros(matrices(model)) < 32
    assert not constraint.holds()
    constraint.remove()


def test_it_ends_with_its_context_even_after_an_error():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KeyError), project_weights(model, optimizer, 0.5) as constraint:
        step(model, optimizer)
        assert constraint.holds()
        raise KeyError
    step(model, optimizer)
    assert zeros(matrices(model)) < 32


def test_apply_projects_at_once():
    model = network()
    constraint = project_weights(model, torch.optim.SGD(model.parameters(), lr=0.1), 0.25)
    constraint.apply()
    assert zeros(matrices(model)) == 16


def test_it_holds_to_the_weight():
    model = network()
    constraint = project_weights(model, torch.optim.SGD(model.parameters(), lr=0.1), 0.25)
    constraint.apply()
    weights = model[0].weight.detach().view(-1)
    kept, pruned = int((weights != 0).nonzero()[0]), int((weights == 0).nonzero()[0])
    weights[pruned] = 1.0
    assert not constraint.holds()
    weights[kept] = 0.0
    assert constraint.holds()
    weights[pruned] = 0.0
    assert constraint.holds()


def test_the_model_stays_what_it_was():
    model = network()
    before = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters())
    handles = [project_weights(model, optimizer, 0.5)]
    handles.append(freeze_weights(model, optimizer, largest_weights(prunable_weights(model), 0.0)))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))
    step(model, optimizer)
    assert list(model.state_dict()) == list(before.state_dict())
    assert [type(m) for m in model.modules()] == [type(m) for m in before.modules()]
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module._backward_hooks
    assert type(optimizer) is torch.optim.Adam
    before.load_state_dict(model.state_dict())


def test_a_shared_matrix_is_counted_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    assert list(prunable_weights(model)) == ["0.weight"]


def test_vectors_embeddings_norms_and_frozen_parameters_are_not_weights():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 4)
            self.norm = nn.BatchNorm1d(4)
            self.layer_norm = nn.LayerNorm(4)
            self.frozen = nn.Linear(4, 4).requires_grad_(False)
            self.attention = GATConv(4, 2, heads=3)
            self.out = nn.Linear(6, 2)

    model = Mixed()
    assert set(prunable_weights(model)) == {"attention.lin.weight", "out.weight"}
    every = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(prunable_weights(model, biases=True)) == every
    assert "frozen.weight" not in every


@pytest.mark.parametrize("stacks", [1, 2])
def test_a_stack_of_matrices_is_one_weight_however_many_there_are(stacks):
    weights = prunable_weights(ARMAConv(5, 3, num_stacks=stacks, num_layers=2))
    assert {name: list(p.shape) for name, p in weights.items()} == {
        "weight": [1, stacks, 3, 3],
        "init_weight": [stacks, 5, 3],
        "root_weight": [2, stacks, 5, 3],
    }


@pytest.mark.parametrize("layer", [GATConv, GATv2Conv, SuperGATConv])
def test_attention_vectors_are_no_weights_however_many_heads(layer):
    for heads in (1, 4):
        assert not [name for name in prunable_weights(layer(5, 3, heads=heads)) if "att" in name]


EXPECTED = {
    "gcn": ["convs.0.lin.weight", "convs.1.lin.weight"],
    "gat": ["convs.0.lin.weight", "convs.1.lin.weight"],
    "sage": [f"convs.{i}.{lin}.weight" for i in (0, 1) for lin in ("lin_l", "lin_r")],
    "gin": [f"convs.{i}.nn.{j}.weight" for i in (0, 1) for j in (0, 2)],
    "mlp": ["convs.0.weight", "convs.1.weight"],
}


@pytest.mark.parametrize("name", names("backbones"))
def test_weights_of_backbones_are_their_matrices(name):
    model = small(name, hidden=16)(5, 3)
    weights = prunable_weights(model)
    assert all(p.dim() == 2 for p in weights.values())
    assert list(weights) == EXPECTED.get(name, list(weights))


def masks_of(model, sparsity=0.5):
    return largest_weights(prunable_weights(model), sparsity)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_frozen_weights_stay_at_zero_and_the_others_train(optimiser):
    model = network()
    masks = masks_of(model)
    optimizer = OPTIMISERS[optimiser](model.parameters())
    step(model, optimizer)  # momentum from before
    handle = freeze_weights(model, optimizer, masks)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert handle.keep == 32
    for moment in range(4):
        for name, parameter in model.named_parameters():
            if name in masks:
                assert zeros([parameter[~masks[name]]]) == int((~masks[name]).sum())
            if moment == 3:
                assert bool((parameter != start[name])[masks.get(name, ...)].any())
        assert handle.holds()
        step(model, optimizer)


def test_freezing_ends_when_removed():
    model = network()
    masks = masks_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with freeze_weights(model, optimizer, masks):
        step(model, optimizer)
    assert zeros(matrices(model)) == 32
    step(model, optimizer)
    assert zeros(matrices(model)) < 32


def test_parameters_without_a_mask_are_free():
    model = network()
    free, masks = network(), {"2.weight": torch.zeros(3, 8, dtype=torch.bool)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    freeze_weights(model, optimizer, masks)
    assert torch.equal(model[0].weight, free[0].weight)
    step(model, optimizer)
    assert not model[2].weight.any()


@pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan"), 0.999])
def test_a_bad_sparsity_is_quoted_before_anything_is_hooked(sparsity):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(GltError, match=rf"sparsity {sparsity} .* weights"):
        project_weights(model, optimizer, sparsity)
    step(model, optimizer)
    assert zeros(matrices(model)) == 0


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({"7.weight": torch.ones(3, 8, dtype=torch.bool)}, r"'7.weight' \[3, 8\] .*no such parameter"),
        ({"2.weight": torch.ones(8, 3, dtype=torch.bool)}, r"'2.weight' \[8, 3\] does not fit the model: \[3, 8\]"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(masks, said):
    model = network()
    with pytest.raises(GltError, match=said):
        freeze_weights(model, torch.optim.SGD(model.parameters(), lr=0.1), masks)


def test_a_lazy_layer_has_to_be_run_first():
    model = nn.Sequential(nn.LazyLinear(4))
    with pytest.raises(GltError, match=r"'0.weight' has no shape yet"):
        prunable_weights(model)


@pytest.mark.parametrize("model", [nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(3, 3).requires_grad_(False)])
def test_a_model_without_matrices_is_refused(model):
    with pytest.raises(GltError, match=f"{type(model).__name__} has no trainable weight matrix"):
        prunable_weights(model)


def test_a_nan_weight_is_an_error_of_the_step():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    project_weights(model, optimizer, 0.5)
    with torch.no_grad():
        model[0].weight[1, 2] = float("nan")
    model[0].weight.grad = torch.zeros(8, 5)
    with pytest.raises(GltError, match="NaN"):
        optimizer.step()
