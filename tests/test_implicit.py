"""The implicit term of wd_glt against dense second derivatives, and against finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.backbones import small
from reference.sinkhorn import classes, distances, plan
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.find import find
from glt.forward import Forward
from glt.implicit import answered
from glt.losses import cross_entropy
from glt.masks import SoftMasked
from glt.registry import build, names
from glt.train import Recipe
from glt.wasserstein import apart, class_distance

PAIRS = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5), (1, 5)]
NODES, FEATURES, HIDDEN, CLASSES = 6, 3, 4, 2
RATE, ALPHA = 0.3, 0.7


@pytest.fixture
def tiny():
    generator = torch.Generator().manual_seed(1)
    arcs = torch.tensor([*PAIRS, *((v, u) for u, v in PAIRS)]).t()
    x = torch.randn(NODES, FEATURES, generator=generator, dtype=torch.float64)
    train = torch.tensor([True, True, False, True, True, False])
    return Data(x=x, edge_index=arcs, y=torch.tensor([0, 1, 1, 0, 1, 0]), train_mask=train)


def masked(data, name="gcn"):
    """A soft-masked model whose edge masks stand within [0, 1], some of them where a step leaves it."""
    edges = PrunableEdges.of(data.edge_index, NODES)
    torch.manual_seed(0)
    model = small(name, hidden=HIDDEN, dropout=0.0, heads=2)(FEATURES, CLASSES).double()
    weights = {k: torch.ones_like(p, dtype=torch.bool) for k, p in model.named_parameters() if p.dim() > 1}
    every = torch.ones(edges.num_edges, dtype=torch.bool)
    soft = SoftMasked(model, data, edges, every, weights, twice=True).double().eval()
    with torch.no_grad():
        soft.edges.copy_(torch.linspace(0, 1, edges.num_edges, dtype=torch.float64))
        for mask in soft.weights:
            mask.uniform_(0.5, 1.5)
    return soft, edges


def gradients(soft, loss):
    soft.zero_grad()
    value = loss(Forward(soft, soft.graph)())
    value.backward()
    return float(value), {k: p.grad.clone() for k, p in soft.named_parameters()}


def dense_loss(soft, edges, data, moved, distance):
    """The loss by dense matrices, as a function of one vector: edge masks, then everything else in order."""
    sizes = {k: p.shape for k, p in soft.named_parameters()}
    flat = moved.split([shape.numel() for shape in sizes.values()])
    p = {name: part.view(shape) for part, (name, shape) in zip(flat, sizes.items(), strict=True)}
    a = torch.zeros(NODES, NODES, dtype=torch.float64)
    for i, (u, v) in enumerate(edges.pairs.t().tolist()):
        a = a + p["edges"][i] * (F.one_hot(torch.tensor(u * NODES + v), NODES**2).view(NODES, NODES).double())
    a = a + a.t() + torch.eye(NODES, dtype=torch.float64)
    scale = a.sum(1).rsqrt()
    a = scale[:, None] * a * scale[None, :]
    first = p["model.convs.0.lin.weight"] * p["weights.0"]
    second = p["model.convs.1.lin.weight"] * p["weights.1"]
    hidden = (a @ (data.x @ first.t()) + p["model.convs.0.bias"]).relu()
    logits = a @ (hidden @ second.t()) + p["model.convs.1.bias"]
    loss = F.cross_entropy(logits[data.train_mask], data.y[data.train_mask])
    if not distance:
        return loss
    z = logits.softmax(1)
    predicted, rows = z.detach().numpy().argmax(1), z.detach().numpy()
    for c, (ours, others) in enumerate(classes(rows)):
        fixed = torch.from_numpy(plan(distances(ours, others), 1e-3, 10)[0])
        gap = z[predicted == c][:, None, :] - z[predicted != c][None, :, :]
        loss = loss - 0.1 * (fixed * (gap**2).sum(-1).sqrt()).sum()
    return loss


@pytest.mark.parametrize("distance", [False, True])
def test_the_term_is_that_of_dense_second_derivatives(tiny, distance):
    soft, edges = masked(tiny)
    loss = apart(cross_entropy(tiny), NODES, 0.1, None, 0, twice=True) if distance else cross_entropy(tiny)
    if distance:
        with torch.no_grad():  # both classes are predicted
            soft.model.convs[1].bias.sub_(Forward(soft, tiny).evaluate().mean(0))
        assert len(set(Forward(soft, tiny).evaluate().argmax(1).tolist())) == 2
    order = [name for name, _ in soft.named_parameters()]
    at = torch.cat([p.detach().flatten() for p in soft.parameters()])

    def dense(moved):
        return dense_loss(soft, edges, tiny, moved, distance)

    slope = torch.autograd.functional.jacobian(dense, at)
    second = torch.autograd.functional.hessian(dense, at)
    starts = dict(zip(order, np.cumsum([0, *(p.numel() for p in soft.parameters())]), strict=False))
    span = slice(starts["edges"], starts["edges"] + soft.edges.numel())
    up = slope[span]
    inside = ((at[span] + RATE * up) >= 0) & ((at[span] + RATE * up) <= 1)
    assert 0 < int(inside.sum()) < inside.numel(), "some steps leave [0, 1]"
    want = slope + ALPHA * RATE * second[:, span] @ (up * inside)
    want[span] = up
    value, found = gradients(soft, answered(loss, soft, ALPHA, RATE))
    assert value == pytest.approx(float(dense(at)))
    torch.testing.assert_close(torch.cat([found[name].flatten() for name in order]), want, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(want, slope, rtol=1e-3)


@pytest.mark.parametrize("name", [name for name in names("backbones") if name not in ("mlp", "deepergcn")])
def test_the_term_is_that_of_finite_differences_of_the_squared_slope(name, tiny):
    """Where every step stays inside, it is alpha * rate / 2 times the gradient of |slope|^2.

    Not for DeeperGCN: on PyG's own layers no mask stands for its softmax.
    """
    soft, _ = masked(tiny, name)
    loss = cross_entropy(tiny)
    with torch.no_grad():
        soft.edges.fill_(0.5)
    (_, plain), (_, found) = gradients(soft, loss), gradients(soft, answered(loss, soft, ALPHA, 0.01))
    torch.testing.assert_close(found["edges"], plain["edges"])

    def half_square():
        return 0.5 * float(gradients(soft, loss)[1]["edges"].square().sum())

    for key, parameter in soft.named_parameters():
        if key == "edges":
            continue
        for i in (0, parameter.numel() - 1):
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter.view(-1)[i] += step
                ends.append(half_square())
                with torch.no_grad():
                    parameter.view(-1)[i] -= step
            want = ALPHA * 0.01 * (ends[0] - ends[1]) / 2e-5
            assert float((found[key] - plain[key]).view(-1)[i]) == pytest.approx(want, rel=1e-4, abs=1e-9)


def test_without_alpha_nothing_changes_and_a_model_without_edges_is_as_it_was(tiny):
    soft, _ = masked(tiny)
    (_, plain), (_, found) = (
        gradients(soft, f) for f in (cross_entropy(tiny), answered(cross_entropy(tiny), soft, 0, 1))
    )
    assert all(torch.equal(plain[k], v) for k, v in found.items())
    mlp, _ = masked(tiny, "mlp")
    value = answered(cross_entropy(tiny), mlp, ALPHA, RATE)(Forward(mlp, tiny)())
    assert float(value) == pytest.approx(float(cross_entropy(tiny)(Forward(mlp, tiny)())))


def test_a_distance_that_can_be_differentiated_twice_is_the_same_distance():
    z = torch.randn(20, 3).softmax(1).requires_grad_()
    one, two = class_distance(z), class_distance(z, twice=True)
    torch.testing.assert_close(one, two)
    slopes = [torch.autograd.grad(value, z)[0] for value in (one, two)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)


def test_the_search_takes_the_option_and_repeats_itself(sbm):
    found = [
        find(
            "gcn", sbm, 0.3, 0.3, strategy={"name": "wd_glt", "edge_lr": 0.1, "alpha": alpha}, recipe=Recipe(epochs=15)
        )
        for alpha in (0, 50.0, 50.0)
    ]
    assert torch.equal(found[1].edge_keep, found[2].edge_keep)
    masks = [torch.cat([mask.flatten() for mask in (t.edge_keep, *t.weight_masks.values())]) for t in found]
    assert torch.equal(masks[1], masks[2]) and not torch.equal(masks[0], masks[1])
    with pytest.raises(GltError, match="alpha"):
        build("strategies", {"name": "wd_glt", "alpha": -1})
