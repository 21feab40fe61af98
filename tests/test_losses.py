import numpy as np
import pytest
import torch

from glt.errors import GltError
from glt.losses import cross_entropy, distilled

rng = np.random.default_rng(0)
STUDENT, TEACHER = rng.normal(size=(60, 3)), 2 * rng.normal(size=(60, 3))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def np_cross_entropy(z, data):
    train, y = data.train_mask.numpy(), data.y.numpy()
    return -np.mean(np.log(softmax(z)[train, y[train]]))


def np_divergence(teacher, student, rows, temperature):
    """Mean over ``rows`` of KL(teacher || student), times the square of the temperature."""
    p, q = softmax(teacher[rows] / temperature), softmax(student[rows] / temperature)
    return temperature**2 * np.mean((p * np.log(p / q)).sum(axis=1))


def tensor(values):
    return torch.from_numpy(values).clone()


def held_out(data):
    return ~(data.val_mask | data.test_mask)


def gradient(loss, logits=STUDENT):
    z = tensor(logits).requires_grad_()
    loss(z).backward()
    return z.grad


def test_cross_entropy_is_the_mean_over_training_nodes(sbm):
    assert cross_entropy(sbm)(tensor(STUDENT)).item() == pytest.approx(np_cross_entropy(STUDENT, sbm))


def test_cross_entropy_looks_at_training_nodes_only(sbm):
    touched = (gradient(cross_entropy(sbm)) != 0).any(1)
    assert torch.equal(touched, sbm.train_mask)
    loss = cross_entropy(sbm)(tensor(STUDENT))
    sbm.y[~sbm.train_mask] = -1
    other = tensor(STUDENT)
    other[~sbm.train_mask] = torch.nan
    assert cross_entropy(sbm)(other) == loss


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("weight", [0.0, 1.0, 10.0])
def test_distillation_from_all_nodes(sbm, weight, temperature):
    loss = distilled(sbm, tensor(TEACHER), weight, temperature, "all")
    want = np_cross_entropy(STUDENT, sbm) + weight * np_divergence(TEACHER, STUDENT, slice(None), temperature)
    assert loss(tensor(STUDENT)).item() == pytest.approx(want)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_from_nodes_that_are_not_held_out(sbm, temperature):
    sbm.train_mask[sbm.train_mask.nonzero()[0]] = False  # a node of no set: it may be distilled
    rows = held_out(sbm).numpy()
    assert rows.sum() == int(sbm.train_mask.sum()) + 1
    loss = distilled(sbm, tensor(TEACHER), 3.0, temperature, "held_out")
    want = np_cross_entropy(STUDENT, sbm) + 3.0 * np_divergence(TEACHER, STUDENT, rows, temperature)
    assert loss(tensor(STUDENT)).item() == pytest.approx(want)


def test_held_out_rows_of_the_teacher_are_never_read(sbm):
    teacher = tensor(TEACHER)
    clean = distilled(sbm, teacher, 10.0, 2.0, "held_out")
    teacher[sbm.val_mask | sbm.test_mask] = torch.nan
    withheld = distilled(sbm, teacher, 10.0, 2.0, "held_out")
    assert withheld(tensor(STUDENT)) == clean(tensor(STUDENT))
    assert torch.equal(gradient(withheld), gradient(clean))
    assert torch.isnan(distilled(sbm, teacher, 10.0, 2.0, "all")(tensor(STUDENT)))


def test_held_out_rows_of_the_student_have_no_gradient(sbm):
    touched = (gradient(distilled(sbm, tensor(TEACHER), 10.0, 1.0, "held_out")) != 0).any(1)
    assert torch.equal(touched, held_out(sbm))
    assert bool((gradient(distilled(sbm, tensor(TEACHER), 10.0, 1.0, "all")) != 0).any(1).all())


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it(sbm):
    loss = distilled(sbm, tensor(TEACHER), 10.0, 3.0, "all")
    assert loss(tensor(TEACHER)).item() == pytest.approx(np_cross_entropy(TEACHER, sbm))
    assert loss(tensor(TEACHER + 5.0)).item() == pytest.approx(np_cross_entropy(TEACHER, sbm))


def test_very_sure_teachers_and_students_stay_finite(sbm):
    loss = distilled(sbm, tensor(1000 * TEACHER).float(), 1.0, 1.0, "all")
    assert bool(torch.isfinite(loss(tensor(100 * STUDENT).float())))


def test_the_teacher_is_left_alone(sbm):
    teacher = tensor(TEACHER)
    distilled(sbm, teacher, 10.0, 2.0, "all")(tensor(STUDENT))
    assert torch.equal(teacher, tensor(TEACHER))


def test_held_out_needs_a_node(sbm):
    sbm.val_mask = torch.ones(60, dtype=torch.bool)
    with pytest.raises(GltError, match="leaves no node"):
        distilled(sbm, tensor(TEACHER), 1.0, 1.0, "held_out")
