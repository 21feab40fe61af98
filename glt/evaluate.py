"""Metrics by name, higher is better."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from glt.errors import GltError, unknown

Metric = Callable[[Tensor, Tensor], float]


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Fraction of nodes whose largest logit is their class; logits [n, classes], y int64 [n]."""
    return float((logits.argmax(dim=-1) == y).double().mean())


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


METRICS: dict[str, Metric] = {"accuracy": accuracy, "roc_auc": roc_auc}


def metric_named(name: str) -> Metric:
    """The metric of a name; GltError lists the known ones."""
    if name not in METRICS:
        raise GltError(unknown("metric", name, METRICS))
    return METRICS[name]
