"""Metrics by name, higher is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from glt.errors import GltError, unknown
from glt.tasks import is_multilabel

Metric = Callable[[Tensor, Tensor], float]


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Fraction of nodes whose largest logit is their class; multi-label: of known labels that the logits' signs tell.

    Args:
        logits: float [n, outputs].
        y: int64 [n], or float [n, tasks] with NaN for what is not known; so for every metric here.
    """
    if not is_multilabel(y):
        return float(correct(logits, y))
    known = ~y.isnan()
    return float(((logits > 0) == (y > 0))[known].double().mean())


def roc_auc(logits: Tensor, y: Tensor) -> float:
    """Area under the ROC curve of a binary task, logits [n, 2]; multi-label: the mean over tasks.

    Tasks without both labels among these nodes are left out, and missing labels within a task, as OGB's ``Evaluator``
    does (Hu et al. 2020, https://arxiv.org/abs/2005.00687), whose number this is.
    """
    if is_multilabel(y):
        each = (_area(logits[known, task], y[known, task]) for task, known in enumerate((~y.isnan()).t()))
        areas = [area for area in each if area is not None]
        if not areas:
            raise GltError(
                f"metric 'roc_auc' needs a task with both labels among the nodes it looks at, of {y.size(1)} tasks "
                f"and {y.size(0)} nodes none has; use 'micro_f1' or 'accuracy'"
            )
        return float(np.mean(areas))
    if logits.size(-1) != 2:
        raise GltError(f"metric 'roc_auc' is for two classes, the model gives {logits.size(-1)}; use 'accuracy'")
    area = _area((logits[:, 1] - logits[:, 0]).double(), y)
    if area is None:
        raise GltError(
            f"metric 'roc_auc' needs both classes among the nodes it looks at, all {y.numel()} have y = {int(y[0])}"
        )
    return area


def _area(scores: Tensor, y: Tensor) -> float | None:
    """Chance that a node of label 1 scores above one of label 0, ties half; None unless there are both. By ranks."""
    from scipy.stats import rankdata

    positive = (y == 1).cpu().numpy()
    ones = int(positive.sum())
    zeros = positive.size - ones
    if not ones or not zeros:
        return None
    ranks = rankdata(scores.double().cpu().numpy())
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / ones / zeros)


def micro_f1(logits: Tensor, y: Tensor) -> float:
    """F1 of all known labels of all tasks together, a logit above 0 being a yes; of classes that is the accuracy."""
    if not is_multilabel(y):
        return accuracy(logits, y)
    known = ~y.isnan()
    said, so = (logits > 0)[known], y[known] > 0
    hits, misses = int((said & so).sum()), int((said != so).sum())
    return 2 * hits / (2 * hits + misses) if hits else 0.0


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """:func:`accuracy` of classes as a float64 0-d tensor on the device of the logits."""
    return (logits.argmax(dim=-1) == y).double().mean()


def ranked(logits: Tensor, y: Tensor) -> Tensor:
    """:func:`roc_auc` of two classes as a float64 0-d tensor on the device: by ranks, ties at their mean.

    NaN where there is one class alone.
    """
    score = (logits[:, 1] - logits[:, 0]).double()
    ordered = score.sort().values
    rank = (torch.searchsorted(ordered, score) + torch.searchsorted(ordered, score, right=True) + 1).double() / 2
    positive = (y > 0).double()
    ones = positive.sum()
    return ((rank * positive).sum() - ones * (ones + 1) / 2) / (ones * (y.numel() - ones))


METRICS: dict[str, Metric] = {"accuracy": accuracy, "roc_auc": roc_auc, "micro_f1": micro_f1}
DEVICE_METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": correct,
    "roc_auc": ranked,
    "micro_f1": correct,
}
"""Those of them that, for classes, need not wait for the device: 0-d tensors of the same value, up to rounding."""


def metric_named(name: str) -> Metric:
    """The metric of a name; GltError lists the known ones."""
    if name not in METRICS:
        raise GltError(unknown("metric", name, METRICS))
    return METRICS[name]
