"""Groups of weights that stay or go together, and which of them a budget of weights keeps."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from glt.allocate import FLOOR
from glt.constraints import Masks
from glt.errors import GltError, GltWarning
from glt.select import keep_count

Pool = Literal["mean", "rms", "first"]
"""How entries' scores become their group's: the mean of saliencies, the root mean square of magnitudes, the first."""


class Groups(Protocol):
    """The groups that weight matrices fall into.

    Attributes:
        layer: int64 [groups], ascending; which layer a group is of.
        size: int64 [groups]; how many entries it has.
        shapes: (outputs, inputs) of every layer, first to last.
        ends: whether the last layer is the one that gives the logits, which has a floor.
        least: groups of every layer that stay whatever their scores.
    """

    layer: Tensor
    size: Tensor
    shapes: list[tuple[int, int]]
    ends: bool
    least: int

    def total(self, values: Mapping[str, Tensor], squared: bool = False) -> Tensor:
        """Sum of the values (float or bool, by name) in each group, or of their squares, float64 [groups]."""
        ...

    def first(self, values: Mapping[str, Tensor]) -> Tensor:
        """The value of each group's first entry, float64 [groups]."""
        ...

    def kept(self, order: Tensor, alive: Mapping[str, Tensor] | None) -> Tensor:
        """How many entries stay when the first k groups of ``order`` do, k = 0 to groups; int64 [groups + 1]."""
        ...

    def masks(self, keep: Tensor) -> Masks:
        """Masks of the entries of which no group has gone; ``keep``: bool [groups]."""
        ...


def best_groups(
    groups: Groups,
    scores: Mapping[str, Tensor],
    sparsity: float,
    how: str = "global",
    floor: float | None = None,
    alive: Mapping[str, Tensor] | None = None,
    pool: Pool = "mean",
    name: str = "groups",
) -> Masks:
    """Masks of the best groups, as many as fit into ``total - round(sparsity * total)`` weights: never more.

    Groups are put into one order, and those before the first that does not fit are kept. ``global`` orders them by
    score, highest first. A rule that shares among layers (:func:`glt.allocate.allocate`) gives layer l the density
    ``s * p_l`` for some scale s; its r-th best group is in from the scale r / (p_l * groups of l) on, and that is the
    order, after the groups that have to stay. Ties go to the first layer, and by index.

    Scores are per weight, so that groups of different sizes are compared by what a weight of theirs is worth: greedy
    by value for cost, and among groups of one size the Euclidean projection. What is not alive counts neither
    as value nor as cost.

    Args:
        groups: of exactly the weights in ``scores``.
        scores: float tensors by name; higher is more worth keeping.
        sparsity: fraction removed of all weights, in [0, 1).
        how: ``global``, ``uniform``, ``uniform_plus`` or ``erk``.
        floor: least density of the last layer's groups; default as of :func:`glt.allocate.allocate`.
        alive: bool masks by name; nothing else is kept.
        pool: how entries' scores become their group's.
        name: of the granularity, for messages.

    Returns:
        bool mask by name, True = kept.

    Raises:
        GltError: a bad sparsity, a NaN, or a budget that is too small for what has to stay. A layer that ``global``
            leaves without a group is a warning.

    Cost: O(n + groups log groups).
    """
    total = sum(score.numel() for score in scores.values())
    keep = keep_count(total, sparsity, "weights", least=0)
    size = groups.total(alive) if alive else groups.size
    value = _pooled(groups, scores, size, alive, pool)
    if bool(value.isnan().any()):
        raise GltError("scores hold NaN: check the features and the model that they were computed from")
    order, fixed = _order(groups, value, size > 0, how, floor, keep / total)
    cost = groups.kept(order, alive)
    fit = int((cost <= keep).sum()) - 1  # costs ascend
    least = max(fixed, 1)
    if fit < least:
        need = int(cost[min(least, len(order))])
        raise GltError(
            f"sparsity {sparsity} keeps {keep} of {total} weights, but the least that {name!r} can keep"
            f"{'' if how == 'global' else f' with allocation {how!r}'} is {need}: "
            + (f"use at most {(total - need) / total - 5e-7:.6f}" if need < total else "it finds no group to take away")
        )
    chosen = torch.zeros_like(groups.layer, dtype=torch.bool)
    chosen[order[:fit]] = True
    left, had = (groups.layer[index].bincount(minlength=len(groups.shapes)) for index in (order[:fit], order))
    if lost := [str(i) for i, empty in enumerate(((left == 0) & (had > 0)).tolist(), start=1) if empty]:
        warnings.warn(
            f"sparsity {sparsity} leaves matrix {', '.join(lost)} of {len(had)} without a {name}; an allocation of a "
            "pruner's strategy (imp, oneshot, random) shares the weights among them",
            GltWarning,
            stacklevel=2,
        )
    masks = groups.masks(chosen)
    return masks if alive is None else {name: mask & alive[name].to(mask.device) for name, mask in masks.items()}


def _pooled(
    groups: Groups, scores: Mapping[str, Tensor], size: Tensor, alive: Mapping[str, Tensor] | None, pool: Pool
) -> Tensor:
    """The number of each group, float64 [groups]."""
    if pool == "first":
        return groups.first(scores)
    if alive:
        scores = {name: score.masked_fill(~alive[name].to(score.device), 0) for name, score in scores.items()}
    return groups.total(scores, squared=pool == "rms") / size.clamp(min=1)  # the root changes no order


def _order(
    groups: Groups, value: Tensor, living: Tensor, how: str, floor: float | None, density: float
) -> tuple[Tensor, int]:
    """(indices of the living groups, the first to stay first; how many of them have to stay)."""
    layer = groups.layer
    order = value.argsort(descending=True, stable=True)
    order = order[living[order]]
    by_layer = order[layer[order].argsort(stable=True)]  # layer by layer, the best first
    sizes = layer.bincount(minlength=len(groups.shapes))
    alive = layer[by_layer].bincount(minlength=len(groups.shapes))
    starts = alive.cumsum(0) - alive
    rank = torch.arange(len(by_layer), device=layer.device) - starts[layer[by_layer]]
    if how == "global":
        place = torch.empty_like(layer)
        place[order] = torch.arange(len(order), device=layer.device)
        scale = place[by_layer].double()
    else:
        parts = [(out + into) / (out * into) if how == "erk" else 1.0 for out, into in groups.shapes]
        whole = sizes * torch.tensor(parts, dtype=torch.float64, device=layer.device)
        scale = (rank + 1) / whole[layer[by_layer]]
    least = _least(groups, sizes.tolist(), how, floor, density)
    fixed = rank < torch.tensor(least, device=layer.device)[layer[by_layer]]
    scale = scale.masked_fill(fixed, -1.0)
    return by_layer[scale.argsort(stable=True)], int(fixed.sum())


def _least(groups: Groups, sizes: list[int], how: str, floor: float | None, density: float) -> list[int]:
    """How many groups of each layer have to stay."""
    least = [max(groups.least, int(how != "global"))] * len(sizes)
    if groups.ends and sizes:
        if floor is None:
            floor = 0.0 if how == "global" else min(float(FLOOR), density * sum(sizes) / sizes[-1] / 2)
        least[-1] = max(least[-1], -int(-floor * sizes[-1] // 1))
    if how == "uniform_plus" and sizes:
        least[0] = sizes[0]
    return least


def layers_of(shapes: Mapping[str, Iterable[int]]) -> list[list[str]]:
    """Names of weight matrices, layer by layer, in their order.

    Neighbours of one shape in the same module are one layer (both matrices of a SAGE convolution, queries, keys and
    values), unless they are numbered and square, as in a ``Sequential``. Only names and shapes are looked at.
    """
    layers: list[list[str]] = []
    before: tuple[Any, ...] = ()
    for name, shape in shapes.items():
        shape = tuple(shape)
        if len(shape) != 2:
            continue
        parent, *rest = name.rsplit(".", 2)
        numbered = bool(rest) and rest[0].isdigit()
        key = (parent, shape, numbered)
        if key == before and not (numbered and shape[0] == shape[1]):
            layers[-1].append(name)
        else:
            layers.append([name])
        before = key
    return layers
