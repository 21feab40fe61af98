"""The distance between classes: against one class at a time, the linear programme, and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import sinkhorn
from scipy.optimize import linear_sum_assignment

from glt import wasserstein
from glt.wasserstein import apart, class_distance


def rows(n, classes, seed, sharp=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(n, classes, generator=generator, dtype=torch.float64)).softmax(1)


@given(st.integers(2, 25), st.integers(2, 5), st.integers(0, 999), st.integers(1, 10), st.sampled_from([1e-3, 0.05]))
def test_all_classes_at_once_is_one_class_at_a_time(n, classes, seed, iterations, epsilon):
    z = rows(n, classes, seed)
    found = class_distance(z, epsilon, iterations, tolerance=0.0)
    assert float(found) == pytest.approx(sinkhorn.transported(z.numpy(), epsilon, iterations), rel=1e-9, abs=1e-12)
    single = class_distance(z.float(), epsilon, iterations, tolerance=0.0)
    assert float(single) == pytest.approx(float(found), rel=5e-3, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_with_little_entropy_it_is_optimal_transport(seed):
    z = rows(9, 3, seed)
    found = float(class_distance(z, epsilon=2e-3, iterations=5000, tolerance=0.0))
    assert found == pytest.approx(sinkhorn.exact(z.numpy()), abs=2e-3)


def test_two_classes_of_one_size_are_a_matching():
    z = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8], [0.05, 0.95]], dtype=torch.float64)
    cost = torch.cdist(z[:3], z[3:]).numpy()
    matched = cost[linear_sum_assignment(cost)].mean()
    assert matched == pytest.approx(np.sqrt(2) * (2.2 - 0.65) / 3)  # on a line every matching in order is optimal
    assert float(class_distance(z, 1e-3, 2000, 0.0)) == pytest.approx(2 * matched, rel=1e-3)


def test_by_hand():
    z = torch.tensor([[0.8, 0.2], [0.1, 0.9], [0.3, 0.7]], dtype=torch.float64)
    want = 2 * np.sqrt(2) * (0.7 + 0.5) / 2  # the only plan: half of the one row to each of the others, and back
    assert float(class_distance(z)) == pytest.approx(want)


@pytest.mark.parametrize("seed", range(2))
def test_the_gradient_is_that_of_the_entropic_distance(seed):
    epsilon, rounds = 0.2, 60
    z = rows(8, 3, seed).requires_grad_()
    class_distance(z, epsilon, rounds, 0.0).backward()
    numeric = torch.zeros_like(z)
    for i in range(8):
        for j in range(3):
            ends = []
            for step in (1e-6, -1e-6):
                moved = z.detach().clone().numpy()
                moved[i, j] += step
                ends.append(sinkhorn.entropic(moved, epsilon, rounds))
            numeric[i, j] = (ends[0] - ends[1]) / 2e-6
    torch.testing.assert_close(z.grad, numeric, rtol=1e-5, atol=1e-7)


def test_the_gradient_after_few_rounds_is_that_of_the_plan_found():
    z = rows(12, 3, 1).requires_grad_()
    class_distance(z).backward()
    predicted, held = z.detach().argmax(1), torch.zeros(12, 12, dtype=torch.float64)
    for c in predicted.unique():
        ours, others = (predicted == c).nonzero()[:, 0], (predicted != c).nonzero()[:, 0]
        cost = torch.cdist(z.detach()[ours], z.detach()[others]).numpy()
        held[ours.unsqueeze(1), others] = torch.from_numpy(sinkhorn.plan(cost, 1e-3, 10)[0])
    again = z.detach().clone().requires_grad_()
    (held * torch.cdist(again, again)).sum().backward()
    torch.testing.assert_close(z.grad, again.grad, rtol=1e-6, atol=1e-9)


def test_masses_are_uniform_on_both_sides():
    z = rows(30, 4, 0)
    classes, _ = z.argmax(1).sort(stable=True)
    _, group, sizes = classes.unique_consecutive(return_inverse=True, return_counts=True)
    z = z[z.argmax(1).sort(stable=True).indices]
    plan = wasserstein._plan(torch.cdist(z, z), group, sizes, 0.05, 5000, 0.0)
    assert not plan[group.unsqueeze(1) == group].any()
    torch.testing.assert_close(plan.sum(1), 1 / sizes[group].double(), rtol=1e-6, atol=1e-9)
    for c, size in enumerate(sizes):
        other = group != c
        mass = plan[group == c].sum(0)[other]
        torch.testing.assert_close(mass, torch.full_like(mass, 1 / (30 - int(size))), rtol=1e-6, atol=1e-9)


def test_nothing_to_compare_is_no_distance_and_no_gradient():
    z = torch.tensor([[0.9, 0.1], [0.8, 0.2]], requires_grad=True)
    found = class_distance(z)
    found.backward()
    assert found.detach() == 0 and not z.grad.any()


def test_rows_that_coincide_have_finite_gradients():
    z = torch.full((6, 3), 1 / 3)
    z[0] += torch.tensor([0.0, 1e-7, 0.0])
    z.requires_grad_()
    class_distance(z).backward()
    assert z.grad.isfinite().all()


def test_the_order_of_rows_does_not_matter():
    z = rows(40, 4, 2)
    order = torch.randperm(40)
    torch.testing.assert_close(class_distance(z[order]), class_distance(z))


def test_it_stops_when_potentials_hold_still(monkeypatch):
    z, calls, update = rows(20, 3, 3), [], wasserstein._sum_over_rest
    monkeypatch.setattr(wasserstein, "_sum_over_rest", lambda exponents: calls.append(1) or update(exponents))
    class_distance(z, epsilon=1.0, iterations=1000)
    assert 2 <= len(calls) < 100
    calls.clear()
    class_distance(z)
    assert len(calls) == 10


def test_a_far_class_leaves_no_infinity_in_single_precision():
    z = torch.eye(3).repeat(4, 1) * 0.98 + 0.01
    z.requires_grad_()
    distance = class_distance(z)
    distance.backward()
    assert float(distance.detach()) == pytest.approx(3 * np.sqrt(2) * 0.98, rel=1e-3)
    assert z.grad.isfinite().all()


def test_the_loss_is_less_where_classes_are_apart():
    logits = torch.randn(30, 3, dtype=torch.float64)
    loss = apart(lambda x: x.sum(), 30, 0.1, None, 0)
    torch.testing.assert_close(loss(logits), logits.sum() - 0.1 * class_distance(logits.softmax(1)))
    assert torch.equal(apart(lambda x: x.sum(), 30, 0.0, None, 0)(logits), logits.sum())


def test_some_nodes_stand_for_all_by_the_seed():
    state, logits = torch.get_rng_state(), torch.randn(50, 3)

    def some(sample, seed):
        return apart(lambda x: x.sum() * 0, 50, 1.0, sample, seed)(logits)

    state = torch.get_rng_state()
    assert torch.equal(some(20, 0), some(20, 0)) and not torch.equal(some(20, 0), some(20, 1))
    assert torch.equal(some(50, 0), some(None, 1)) and torch.equal(some(99, 0), some(None, 1))
    assert torch.equal(torch.get_rng_state(), state)
    logits.requires_grad_()
    some(20, 0).backward()
    assert 0 < int((logits.grad != 0).any(1).sum()) <= 20
