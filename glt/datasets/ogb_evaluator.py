"""OGB's own ``Evaluator`` (Hu et al. 2020), the last word on the metric of its node sets."""

from __future__ import annotations

from torch import Tensor
from torch_geometric.data import Data

from glt.datasets.ogb import OFFICIAL
from glt.datasets.ogb_package import module
from glt.evaluate import Metric


def judged(data: Data, metric: str) -> Metric | None:
    """OGB's own evaluator where ``data`` is one of these graphs and ``metric`` its official one, else None."""
    name = data.get("dataset")
    return evaluator(name) if name in OFFICIAL and metric == data.get("metric") else None


def evaluator(name: str) -> Metric:
    """OGB's ``Evaluator`` of a dataset, as a function of logits [n, outputs] and labels."""
    judge = module("nodeproppred").Evaluator(name)

    def score(logits: Tensor, y: Tensor) -> float:
        if judge.eval_metric == "acc":
            logits, y = logits.argmax(dim=-1, keepdim=True), y.unsqueeze(1)
        return float(judge.eval({"y_true": y, "y_pred": logits})[judge.eval_metric])

    return score
