"""Metrics by name, higher is better."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from glt.errors import GltError, unknown

Metric = Callable[[Tensor, Tensor], float]


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Fraction of nodes whose largest logit is their class; logits [n, classes], y int64 [n]."""
    return float(correct(logits, y))


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """:func:`accuracy` as a float64 0-d tensor on the device of the logits."""
    return (logits.argmax(dim=-1) == y).double().mean()


def roc_auc(logits: Tensor, y: Tensor) -> float:
    """Area under the ROC curve of a binary task, by scikit-learn; logits [n, 2], y in {0, 1}."""
    from sklearn.metrics import roc_auc_score

    if logits.size(-1) != 2:
        raise GltError(f"metric 'roc_auc' is for two classes, the model gives {logits.size(-1)}; use 'accuracy'")
    if int(y.min()) == int(y.max()):
        raise GltError(
            f"metric 'roc_auc' needs both classes among the nodes it looks at, all {y.numel()} have y = {int(y[0])}"
        )
    score = (logits[:, 1] - logits[:, 0]).double()
    return float(roc_auc_score(y.cpu().numpy(), score.cpu().numpy()))


def ranked(logits: Tensor, y: Tensor) -> Tensor:
    """:func:`roc_auc` as a float64 0-d tensor on the device: by ranks, ties at their mean; NaN with one class alone."""
    score = (logits[:, 1] - logits[:, 0]).double()
    ordered = score.sort().values
    rank = (torch.searchsorted(ordered, score) + torch.searchsorted(ordered, score, right=True) + 1).double() / 2
    positive = (y > 0).double()
    ones = positive.sum()
    return ((rank * positive).sum() - ones * (ones + 1) / 2) / (ones * (y.numel() - ones))


METRICS: dict[str, Metric] = {"accuracy": accuracy, "roc_auc": roc_auc}
DEVICE_METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"accuracy": correct, "roc_auc": ranked}
"""Those of them that need not wait for the device: 0-d tensors of the same value, up to rounding."""


def metric_named(name: str) -> Metric:
    """The metric of a name; GltError lists the known ones."""
    if name not in METRICS:
        raise GltError(unknown("metric", name, METRICS))
    return METRICS[name]
