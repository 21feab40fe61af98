"""How far apart the classes are in a model's outputs: entropic optimal transport, batched over classes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from glt.losses import Loss

FLOOR = -80.0
"""Exponents are not taken lower: e^-80 is lost beside 1, and a result that is subnormal takes 14 times as long."""


def apart(
    loss: Loss,
    num_nodes: int,
    weight: float,
    sample: int | None,
    seed: int,
    multilabel: bool = False,
    twice: bool = False,
) -> Loss:
    """``loss`` minus ``weight`` times :func:`class_distance` of the predicted probabilities.

    Args:
        loss: function of the logits [nodes, outputs].
        num_nodes: number of nodes, labelled or not.
        weight: lambda of the paper.
        sample: at most so many nodes of the graph, or of a batch, are compared, drawn once by ``seed``; None: all.
        seed: of the draw.
        multilabel: of several yes-or-no tasks: :func:`label_distance`.
        twice: as of :func:`class_distance`.
    """

    @functools.cache
    def drawn(size: int) -> Tensor | None:
        if sample is None or sample >= size:
            return None
        return torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:sample].sort().values

    drawn(num_nodes)  # before any training

    def separated(logits: Tensor, *nodes: Tensor) -> Tensor:
        index = drawn(logits.size(0))
        some = logits if index is None else logits[index.to(logits.device)]
        distance, z = (label_distance, some.sigmoid()) if multilabel else (class_distance, some.softmax(dim=-1))
        return loss(logits, *nodes) - weight * distance(z, twice=twice)

    return separated


def class_distance(
    z: Tensor, epsilon: float = 1e-3, iterations: int = 10, tolerance: float = 1e-5, twice: bool = False
) -> Tensor:
    r"""Sum over classes c of W(Z^c, Z^rest): the cost of moving the rows predicted as c onto all the others.

    Rows are classed by argmax, weighted uniformly within a side, and a unit of mass moved from one row to another costs
    their euclidean distance (Hui et al., ICLR 2023). The plan comes from Sinkhorn's iterations in log space
    (Cuturi, NeurIPS 2013), for all classes at once: the rows of class c meet all rows but those of c, so one matrix
    [n, n] holds every class's problem. A class without rows, or with all of them, has no distance and is left out.

    The gradient is that of the cost under the plan found, the plan held fixed: by the envelope theorem that is the
    gradient of the entropic distance where the iterations have converged, and close to it where they have not.

    Args:
        z: float [n, classes]; rows of probabilities.
        epsilon: weight of the entropy.
        iterations: at most so many; each sets the potentials of the rows, then those of the rest.
        tolerance: stop when no potential of a row changed by more than this.
        twice: it can be differentiated twice, the plan held fixed there too; in double precision.

    Returns:
        0-d, at least 0.

    Memory: O(n^2), a handful of matrices [n, n]; time O(n^2) an iteration.
    """
    classes, order = z.detach().argmax(dim=1).sort(stable=True)
    _, group, sizes = torch.unique_consecutive(classes, return_inverse=True, return_counts=True)
    z = z[order]
    if sizes.numel() < 2:
        return z.sum() * 0.0
    # not by matrix products: near 0 the difference of squares would leave a distance of 1e-3 in single precision
    cost = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
    plan = _plan(cost.detach(), group, sizes, epsilon, iterations, tolerance)
    return (plan * _smooth(z.double())).sum().to(z.dtype) if twice else (plan * cost).sum()


def _smooth(z: Tensor) -> Tensor:
    """Euclidean distances of rows, [n, n] of float64 [n, k], by operations that have second derivatives."""
    squares = (z * z).sum(dim=1)
    return (squares.unsqueeze(1) + squares - 2 * z @ z.t()).clamp_min(1e-24).sqrt()


def label_distance(
    z: Tensor, epsilon: float = 1e-3, iterations: int = 10, tolerance: float = 1e-5, twice: bool = False
) -> Tensor:
    """Sum over tasks t of W(Z^t, Z^rest): the cost of moving the rows predicted to have label t onto all the others.

    :func:`class_distance` where a row may have several labels, or none: those predicted with more than one half.

    Args:
        z: float [n, tasks]; rows of probabilities.
        epsilon: as there.
        iterations: as there.
        tolerance: as there.
        twice: as there.

    Memory: O(n^2), as there; time O(n^2) an iteration and task.
    """
    cost = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
    plan = torch.zeros_like(cost)
    for labelled in (z.detach() > 0.5).t():
        group, order = labelled.long().sort(stable=True)
        sizes = torch.bincount(group, minlength=2)
        if int(sizes.min()):
            moved = _plan(cost.detach()[order][:, order], group, sizes, epsilon, iterations, tolerance)
            plan[order.unsqueeze(1), order] += moved.mul_(group.unsqueeze(1))  # not those that move the rest
    return (plan * _smooth(z.double())).sum().to(z.dtype) if twice else (plan * cost).sum()


@torch.no_grad()
def _plan(cost: Tensor, group: Tensor, sizes: Tensor, epsilon: float, iterations: int, tolerance: float) -> Tensor:
    """Mass moved from row i to row j in the problem of i's class, [n, n]; rows are sorted by class.

    Potentials are those of the dual divided by ``epsilon``: one per row, and one per class and other row.
    """
    n = cost.size(0)
    scaled = cost / -epsilon
    own = group == torch.arange(sizes.numel(), device=group.device).unsqueeze(1)
    sides = sizes.to(cost.dtype)
    to_row, to_rest = -sides.log()[group], -(n - sides).log().unsqueeze(1)  # log of a row's mass on either side
    rows = cost.new_zeros(n)
    rest = cost.new_zeros(own.shape).masked_fill_(own, -torch.inf)
    for _ in range(iterations):
        before = rows
        rows = to_row - _sum_over_rest(scaled + rest[group])
        rest = to_rest - _sum_by_class(scaled + rows.unsqueeze(1), group, sizes.numel())
        rest.masked_fill_(own, -torch.inf)
        if float((rows - before).abs().max()) * epsilon <= tolerance:
            break
    return (scaled + rest[group]).add_(rows.unsqueeze(1)).exp_()


def _sum_over_rest(exponents: Tensor) -> Tensor:
    """Log of the sum of exponentials over columns, [n] of [n, n]."""
    top = exponents.amax(dim=1, keepdim=True)
    return (exponents - top).clamp_(min=FLOOR).exp_().sum(dim=1).log_() + top.squeeze(1)


def _sum_by_class(exponents: Tensor, group: Tensor, classes: int) -> Tensor:
    """The same over the rows of each class, [classes, n] of [n, n]."""
    n = exponents.size(0)
    top = exponents.new_full((classes, n), -torch.inf)
    top.scatter_reduce_(0, group.unsqueeze(1).expand(n, n), exponents, "amax")
    return torch.zeros_like(top).index_add_(0, group, (exponents - top[group]).clamp_(min=FLOOR).exp_()).log_() + top
