"""WD-GLT as later work re-implemented it: one minimisation over weights and masks."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from glt.losses import Loss, cross_entropy
from glt.masks import SoftMasked, Sparsifying
from glt.problem import Problem
from glt.registry import register
from glt.strategies.masked import Masked
from glt.tasks import is_multilabel
from glt.train import Constrain
from glt.wasserstein import apart


@register("strategies", "wd_glt_joint")
class WDGLTJoint(Masked):
    """Masks trained to keep predicted classes apart in Wasserstein distance, all of them by descent.

    Rounds as ``ugs``; masks are trained for the loss minus ``wasserstein`` times the distance of every predicted class
    to the rest, over labelled and unlabelled nodes alike (:func:`glt.wasserstein.class_distance`), without l1, edge
    masks within [0, 1]. So Seo et al. (ICLR 2024) compare with Hui et al. (ICLR 2023), whose own method, ``wd_glt``, is
    a min-max.

    On multi-label graphs it is every label's distance (:func:`glt.wasserstein.label_distance`), and costs so many times
    as much.

    Each epoch of mask training takes O(nodes^2) time and memory, a handful of matrices of 67 MB at the default
    ``nodes``, which is every node of Cora and CiteSeer. On larger graphs so many, drawn by the seed, stand for all.
    With batches the classes are those of each batch.
    """

    wasserstein: Annotated[float, Field(ge=0, description="lambda of the Wasserstein distance between classes")] = 0.1
    nodes: Annotated[
        int | None, Field(ge=2, description="most nodes that are compared, drawn by the seed; none: all of them")
    ] = 4096

    def objective(self, problem: Problem, loss: Loss | None, soft: SoftMasked) -> Loss:
        """The loss minus the distance of the classes."""
        nodes = int(problem.data.num_nodes or 0)
        loss, several = loss or cross_entropy(problem.data), is_multilabel(problem.data.y)
        return apart(loss, nodes, self.wasserstein, self.nodes, problem.seed, several, self.twice)

    def constraint(self) -> Constrain:
        """Edge masks within [0, 1]."""
        return partial(Sparsifying, edge_max=1.0)
