import pytest
import torch
from reference.backbones import small
from torch import nn

from glt.forward import Forward
from glt.functional import Functional
from glt.registry import build, names


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", names("backbones"))
def test_other_tensors_take_the_place_of_the_models_own(name, plain, sbm):
    model, other = (small(name)(8, 3) for _ in range(2))
    run = Functional(model, sbm, plain)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    got = run.logits(dict(other.named_parameters()))
    assert torch.equal(got, Forward(other, sbm, plain).evaluate())
    assert torch.equal(run.logits({}), Forward(model, sbm, plain).evaluate())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    got.sum().backward()
    assert all(p.grad is not None for p in other.parameters() if p.requires_grad)
    assert all(p.grad is None for p in model.parameters())


def test_a_plain_call_is_differentiable_twice(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 8})(8, 3)
    calls = []
    model.convs[0].register_forward_hook(lambda *_: calls.append(1))
    weight = model.convs[0].lin.weight.detach().clone().requires_grad_()
    for plain, seen in ((False, 0), (True, 1)):
        logits = Functional(model, sbm, plain).logits({"convs.0.lin.weight": weight})
        assert len(calls) == seen  # PyG's layer itself
    (slope,) = torch.autograd.grad(logits.square().sum(), weight, create_graph=True)
    assert bool(torch.autograd.grad(slope.square().sum(), weight)[0].any())


def test_what_a_model_draws_and_counts_is_its_own_affair(sbm):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x, edge_index):
            self.calls += 1
            return x + torch.rand_like(x)

    model = Noisy()
    before = torch.get_rng_state()
    one, again, other = (Functional(model, sbm, seed=seed).logits({}) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert float(model.calls) == 0 and model.training
