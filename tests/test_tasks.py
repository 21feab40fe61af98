"""Kinds of tasks: losses, divergences and metrics against slow numpy, and labels that are refused."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from glt.check import check_data, num_classes
from glt.errors import GltError
from glt.evaluate import METRICS, accuracy, micro_f1, roc_auc
from glt.losses import cross_entropy, distilled
from glt.problem import Problem
from glt.registry import build
from glt.strategies.base import Taught
from glt.tasks import right
from glt.train import Recipe
from glt.wasserstein import apart, class_distance, label_distance

rng = np.random.default_rng(0)
STUDENT, TEACHER = rng.normal(size=(60, 4)), 2 * rng.normal(size=(60, 4))


@pytest.fixture
def several(sbm):
    """60 nodes with four tasks, a fifth of the labels missing, all of node 3's."""
    y = rng.integers(2, size=(60, 4)).astype(np.float32)
    y[np.random.default_rng(1).random(y.shape) < 0.2] = np.nan
    y[3] = np.nan
    sbm.y = torch.from_numpy(y)
    return sbm


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def np_binary_cross_entropy(z, data):
    y, p = data.y.numpy(), sigmoid(z)
    terms = [
        -np.log(p[i, t] if y[i, t] else 1 - p[i, t])
        for i in np.flatnonzero(data.train_mask.numpy())
        for t in range(y.shape[1])
        if y[i, t] == y[i, t]
    ]
    return np.mean(terms)


def np_bernoulli(teacher, student, temperature):
    p, q = sigmoid(teacher / temperature), sigmoid(student / temperature)
    return temperature**2 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def test_the_loss_is_the_mean_over_known_labels_of_training_nodes(several):
    logits = torch.from_numpy(STUDENT).requires_grad_()
    loss = cross_entropy(several)(logits)
    assert loss.item() == pytest.approx(np_binary_cross_entropy(STUDENT, several))
    loss.backward()
    known = ~several.y.isnan() & several.train_mask.unsqueeze(1)
    assert torch.equal(logits.grad != 0, known)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("nodes", ["all", "held_out"])
def test_distillation_is_the_divergence_of_bernoulli_variables(several, nodes, temperature):
    student, teacher = torch.from_numpy(STUDENT), torch.from_numpy(TEACHER)
    rows = slice(None) if nodes == "all" else several.train_mask.numpy()
    want = np_binary_cross_entropy(STUDENT, several) + 5 * np_bernoulli(TEACHER[rows], STUDENT[rows], temperature)
    assert distilled(several, teacher, 5.0, temperature, nodes)(student).item() == pytest.approx(want)
    same = distilled(several, student, 5.0, temperature, nodes)(student)
    assert same.item() == pytest.approx(np_binary_cross_entropy(STUDENT, several))


def test_a_search_is_taught_by_the_dense_model(several):
    problem = Problem(several, build("backbones", {"name": "gcn", "hidden": 6}), Recipe(epochs=3))
    loss, spent = Taught(weight=1.0).taught(problem)
    logits = problem.dense.logits
    assert spent == [problem.dense] and logits.shape == (60, 4)
    assert float(loss(logits)) == pytest.approx(float(cross_entropy(several)(logits)), rel=1e-5)
    assert float(loss(logits + 1)) > float(cross_entropy(several)(logits + 1)) + 1e-3


def test_metrics_of_known_labels(several):
    y = several.y.numpy()
    known = y == y
    said = STUDENT > 0
    logits = torch.from_numpy(STUDENT)
    assert accuracy(logits, several.y) == pytest.approx((said == (y == 1))[known].mean())
    assert micro_f1(logits, several.y) == pytest.approx(f1_score(y[known], said[known]))
    pairs = [
        np.mean([(a > b) + (a == b) / 2 for a in z[t == 1] for b in z[t == 0]])
        for z, t in ((STUDENT[known[:, i], i], y[known[:, i], i]) for i in range(4))
    ]
    assert roc_auc(logits, several.y) == pytest.approx(np.mean(pairs))


def test_micro_f1_of_classes_is_that_of_scikit_learn():
    y = rng.integers(4, size=60)
    want = f1_score(y, STUDENT.argmax(1), average="micro")
    assert micro_f1(torch.from_numpy(STUDENT), torch.from_numpy(y)) == pytest.approx(want)


def test_micro_f1_without_a_yes_is_zero():
    assert micro_f1(-torch.ones(3, 2), torch.zeros(3, 2)) == 0.0


def test_roc_auc_needs_a_task_with_both_labels():
    y = torch.tensor([[0.0, 1.0], [0.0, torch.nan]])
    with pytest.raises(GltError, match="of 2 tasks and 2 nodes none has; use 'micro_f1' or 'accuracy'"):
        roc_auc(torch.zeros(2, 2), y)
    assert roc_auc(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])) == 1.0


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_which_nodes_are_right_where_the_metric_is_their_share(metric, several):
    logits = torch.from_numpy(STUDENT)
    assert right(logits, several.y, metric) is None
    y = torch.arange(60) % 2
    nodes = right(logits[:, :2], y, metric)
    assert (nodes is None) is (metric == "roc_auc")
    assert nodes is None or float(nodes.double().mean()) == METRICS[metric](logits[:, :2], y)


def test_a_problem_has_an_output_per_task_and_micro_f1_by_default(several):
    problem = Problem(several, build("backbones", {"name": "gcn", "hidden": 4}), Recipe(epochs=2))
    assert num_classes(several) == problem.num_classes == 4
    assert problem.metric == "micro_f1"
    several.metric = "roc_auc"
    assert Problem(several, build("backbones", "gcn")(8, 4), Recipe(epochs=2)).metric == "roc_auc"


def a_two(y):
    y[5, 1] = 2.0
    return y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (a_two, r"y\[5, 1\] = 2: mend the labels"),
        (lambda y: y.nan_to_num().long(), r"got int64 \[60, 4\]; y\.float\(\) is the latter"),
        (lambda y: y[:, :1].nan_to_num().long(), r"got int64 \[60, 1\]; y\.squeeze\(1\) is the former"),
        (lambda y: y[:, :0], r"got float32 \[60, 0\]"),
        (lambda y: y[:30], r"got float32 \[30, 4\]"),
        (lambda y: y[:, 0], r"got float32 \[60\]"),
        (lambda y: y * torch.nan, r"no node in data\.train_mask has a label \(all are NaN\)"),
    ],
)
def test_labels_that_are_refused(several, change, message):
    several.y = change(several.y)
    with pytest.raises(GltError, match=message) as error:
        check_data(several)
    assert "\n" not in str(error.value)


def test_the_distance_of_labels_is_that_of_classes_where_each_row_has_one():
    z = torch.softmax(6 * torch.from_numpy(TEACHER), dim=1)
    z = z[z.max(dim=1).values > 0.5][:20]
    assert len(z.argmax(dim=1).unique()) == 4
    assert label_distance(z).item() == pytest.approx(class_distance(z).item(), rel=1e-3)


def test_the_distance_of_labels_has_a_gradient_and_may_be_none(several):
    logits = torch.from_numpy(STUDENT).requires_grad_()
    loss = apart(cross_entropy(several), 60, 0.5, 30, 0, multilabel=True)(logits)
    loss.backward()
    assert bool(torch.isfinite(logits.grad).all())
    assert loss.item() < cross_entropy(several)(logits).item()
    assert label_distance(torch.full((5, 3), 0.2)).item() == 0.0
