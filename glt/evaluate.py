"""Metrics by name, higher is better."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

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


def forward_of(model: nn.Module, data: Data) -> Callable[[], Tensor]:
    """How to call ``model`` on ``data``, with what does not change between epochs done once.

    A model with a ``prepare(data)`` method is called as ``model(*model.prepare(data))``; any other as
    ``model(x, edge_index)`` with a dense x, and with ``edge_weight`` and ``edge_attr`` where the data has them
    and the model's ``forward`` takes them.
    """
    if cached := [name for name, module in model.named_modules() if getattr(module, "cached", False) is True]:
        raise GltError(
            f"layer {cached[0]!r} has cached=True: it would go on using the first graph it sees, whatever is pruned; "
            "build the model with cached=False"
        )
    if hasattr(model, "prepare"):
        arguments = model.prepare(data)  # type: ignore[operator]
        return lambda: model(*arguments)
    x = data.x if data.x.layout == torch.strided else data.x.to_dense()
    takes = inspect.signature(model.forward).parameters
    extra = {k: data[k] for k in ("edge_weight", "edge_attr") if k in takes and data.get(k) is not None}
    return lambda: model(x, data.edge_index, **extra)


def logits_of(model: nn.Module, forward: Callable[[], Tensor]) -> Tensor:
    """Logits of all nodes in evaluation mode, without gradients; every module's mode is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            return forward()
    finally:
        for module, training in modes.items():
            module.training = training
