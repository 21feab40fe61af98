"""Attention under a soft mask: the softmax of what is left, with slopes that are numbers wherever attention went."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glt.soft import masked_softmax, renormalised

TARGET = torch.tensor([0, 0, 0, 1, 1, 2])
"""Of the third target nothing is left."""


def reference(logits, mask):
    """In float64, target by target, from the highest of what is left."""
    out = torch.zeros(logits.shape, dtype=torch.float64)
    for target in range(3):
        rows = ((target == TARGET) & (mask > 0)).nonzero().squeeze(1)
        if len(rows):
            out[rows] = (logits[rows].double() + mask[rows].double().log().unsqueeze(1)).softmax(0)
    return out


def of(alphas):
    """Attention as a layer computes it before anything is masked."""
    return torch.cat([alphas[target == TARGET].softmax(0) for target in range(3)])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-90, 90), min_size=12, max_size=12),
    st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 2)), min_size=5, max_size=5),
)
def test_attention_over_what_is_left(numbers, weights):
    logits = torch.tensor(numbers).view(6, 2).requires_grad_()
    mask = torch.tensor([*weights, 0.0]).requires_grad_()
    alpha = masked_softmax(logits, mask, TARGET, 3)
    want = reference(logits.detach(), mask.detach())
    torch.testing.assert_close(alpha.double(), want, rtol=1e-4, atol=1e-6)
    (alpha * torch.arange(12.0).view(6, 2)).sum().backward()
    assert bool(logits.grad.isfinite().all())
    assert bool(mask.grad.isfinite().all())
    assert bool((mask.grad**2).isfinite().all())  # as Adam takes it


@pytest.mark.parametrize("apart", [1.0, 40.0, 80.0])
@pytest.mark.parametrize("function", ["logits", "attention"])
def test_slopes_are_numbers_where_nearly_all_attention_is_masked(function, apart):
    logits = torch.tensor([[apart], [apart - 1], [0.0], [apart], [0.0], [0.0]], requires_grad=True)
    mask = torch.tensor([0.0, 0.0, 1.0, 1e-5, 1.0, 1.0], requires_grad=True)
    if function == "logits":
        alpha = masked_softmax(logits, mask, TARGET, 3)
    else:
        alpha = renormalised(of(logits), mask, TARGET, 3)
    torch.testing.assert_close(alpha.double(), reference(logits.detach(), mask.detach()), rtol=1e-3, atol=1e-5)
    (alpha.squeeze(1) * torch.arange(6.0)).sum().backward()
    assert bool(logits.grad.isfinite().all())
    assert bool((mask.grad**2).isfinite().all())


def test_the_slope_of_a_mask_is_that_of_the_quotient():
    torch.manual_seed(0)
    logits = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(6, dtype=torch.float64).add_(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, m: masked_softmax(a, m, TARGET, 3), (logits, mask))
    assert torch.autograd.gradgradcheck(lambda a, m: masked_softmax(a, m, TARGET, 3), (logits, mask))
