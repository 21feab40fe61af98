"""What is to be learnt about a node: one of several classes, or the answers to several yes-or-no questions.

Labels say which. Int64 ``y`` [nodes] holds one class per node, and a model gives one logit per class (two for a binary
task). Float ``y`` [nodes, tasks] of 0, 1 and NaN (not known) is multi-label, or binary multi-task, with one logit per
task. Everything that depends on it is asked here, on any rows of logits and labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError


def is_multilabel(y: Tensor) -> bool:
    """Whether ``y`` holds several yes-or-no labels per node."""
    return y.dim() == 2


def outputs(data: Data) -> int:
    """Logits that a model must give per node: tasks, or classes (``data.num_classes``, at least largest label + 1)."""
    if is_multilabel(data.y):
        return int(data.y.size(1))
    return int(max(int(data.y.max()) + 1, data.get("num_classes", 0)))


def default_metric(data: Data) -> str:
    """``data.metric`` where given; else accuracy for classes and micro-F1 for multi-label graphs."""
    return getattr(data, "metric", None) or ("micro_f1" if is_multilabel(data.y) else "accuracy")


def supervised(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, 0-d, averaged over nodes; multi-label: binary cross-entropy, averaged over labels that are known.

    Where none is known it is 0.

    Args:
        logits: float [n, outputs].
        y: int64 [n], or float [n, tasks].
    """
    if not is_multilabel(y):
        return F.cross_entropy(logits, y)
    known = ~y.isnan()
    total = F.binary_cross_entropy_with_logits(
        logits, y.nan_to_num().to(logits.dtype), weight=known.to(logits.dtype), reduction="sum"
    )
    return total / known.sum().clamp_min(1)


def log_probabilities(logits: Tensor, multilabel: bool) -> Tensor:
    """Log of what is predicted: over classes, [n, classes]; multi-label: yes and no of every task, [n * tasks, 2]."""
    if not multilabel:
        return torch.log_softmax(logits, dim=-1)
    return torch.stack([F.logsigmoid(logits), F.logsigmoid(-logits)], dim=-1).flatten(0, 1)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student), 0-d, of two :func:`log_probabilities`: the mean over nodes, and over tasks if many."""
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def right(logits: Tensor, y: Tensor, metric: str) -> Tensor | None:
    """Which nodes count for the metric, bool [n]; None where the metric is not their share."""
    if is_multilabel(y) or metric not in ("accuracy", "micro_f1"):
        return None
    return logits.argmax(dim=-1) == y


def check_labels(y: Tensor | None, nodes: int) -> None:
    """Raise a one-line GltError unless ``y`` holds labels of a kind of task, for ``nodes`` nodes."""
    if y is not None and y.dtype == torch.int64 and y.shape == (nodes,):
        return
    have = "missing" if y is None else f"{str(y.dtype).removeprefix('torch.')} {list(y.shape)}"
    if y is None or not (y.is_floating_point() and y.dim() == 2 and y.size(0) == nodes and y.size(1)):
        hint = ""
        if y is not None and y.dim() == 2 and y.size(0) == nodes:
            hint = "; y.squeeze(1) is the former" if y.size(1) == 1 else "; y.float() is the latter"
        raise GltError(
            f"data.y must be int64 [{nodes}], one class per node, or float [{nodes}, tasks] of 0, 1 and NaN for "
            f"missing, got {have}{hint}"
        )
    wrong = ~((y == 0) | (y == 1) | y.isnan())
    if bool(wrong.any()):
        node, task = wrong.nonzero()[0].tolist()
        raise GltError(
            f"data.y of several tasks is 0, 1 or NaN for missing, but y[{node}, {task}] = {float(y[node, task]):g}: "
            "mend the labels; classes go as int64, one per node"
        )


def check_labelled(name: str, mask: Tensor, y: Tensor) -> None:
    """Raise a one-line GltError unless the nodes of ``data.<name>`` (bool [nodes]) have labels."""
    if is_multilabel(y):
        if not bool((~y[mask].isnan()).any()):
            raise GltError(f"no node in data.{name} has a label (all are NaN): mend y or the mask")
    elif bool((y[mask] < 0).any()):
        node = int((mask & (y < 0)).nonzero()[0])
        raise GltError(f"node {node} is in data.{name} but has no label (y = {int(y[node])}): mend y or the mask")
