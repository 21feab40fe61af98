import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score

from glt.errors import GltError
from glt.evaluate import METRICS, accuracy, metric_named, roc_auc


def test_accuracy_is_the_fraction_that_is_right():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 5.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.0]])
    assert accuracy(logits, torch.tensor([0, 2, 0, 1])) == 0.5


@given(st.integers(0, 10**6))
def test_accuracy_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    logits, y = rng.normal(size=(13, 4)), rng.integers(4, size=13)
    want = accuracy_score(y, logits.argmax(1))
    assert accuracy(torch.from_numpy(logits), torch.from_numpy(y)) == pytest.approx(want)


@given(st.integers(0, 10**6))
def test_roc_auc_is_that_of_scikit_learn_ties_and_all(seed):
    rng = np.random.default_rng(seed)
    logits = rng.integers(3, size=(20, 2)).astype(np.float32)
    y = np.concatenate([[0, 1], rng.integers(2, size=18)])
    want = roc_auc_score(y, logits[:, 1] - logits[:, 0])
    assert roc_auc(torch.from_numpy(logits), torch.from_numpy(y)) == pytest.approx(want)


def test_roc_auc_orders_by_the_second_class():
    y = torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[5.0, 1.0], [4.0, 3.0], [9.0, 8.5], [0.0, 2.0]])  # differences -4, -1, -0.5, 2
    assert roc_auc(logits, y) == 1.0
    assert roc_auc(logits.flip(1), y) == 0.0


def test_roc_auc_is_for_two_classes():
    with pytest.raises(GltError, match="the model gives 3; use 'accuracy'"):
        roc_auc(torch.zeros(4, 3), torch.tensor([0, 1, 0, 1]))


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(
        GltError, match=r"unknown metric 'acuracy'; did you mean 'accuracy'\? known: accuracy, micro_f1, roc_auc"
    ):
        metric_named("acuracy")
    assert all(metric_named(name) is metric for name, metric in METRICS.items())
