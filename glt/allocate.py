"""How a budget of weights is shared among layers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import takewhile
from numbers import Real

import torch
from torch import Tensor

from glt.arrays import count
from glt.constraints import Masks
from glt.errors import GltError, GltWarning, unknown
from glt.select import keep_count, keep_top

ALLOCATIONS = ("global", "uniform", "uniform_plus", "erk")
FLOOR = Fraction(1, 5)
"""Least density of the last layer where a rule that does not look at the scores shares the budget."""


def allocate(
    scores: Mapping[str, Tensor],
    sparsity: float,
    how: str = "global",
    floor: float | None = None,
    alive: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Masks of the best weights: as many in each layer as ``how`` allots, ``total - round(sparsity * total)`` in all.

    - ``global``: the highest scores, whatever their layer.
    - ``uniform``: the same density in every layer.
    - ``uniform_plus``: the first layer dense, the same density in the others (Gale et al. 2019).
    - ``erk``: densities in proportion to (inputs + outputs) / (inputs * outputs), layers that would be more than dense
      dense (Mocanu et al. 2018; Evci et al., ICML 2020).

    A layer is one weight matrix; the first one and the last one are the first and the last in ``scores``, with their
    neighbours in the same module that have as many inputs, or outputs (both matrices of a SAGE convolution). Where a
    layer has a lower or an upper limit (floor, one weight, all that is alive), the rest is shared in the same
    proportions among the others, with exact arithmetic; counts are rounded by largest remainder, the first layer first
    among equals. Within a layer, and globally, ties go by index.

    Args:
        scores: float tensors by name, from the first layer to the last; higher is more worth keeping.
        sparsity: fraction removed over all layers, in [0, 1).
        how: one of :data:`ALLOCATIONS`.
        floor: least density of the last layer, in [0, 1], as far as so many are alive. Default: 0 for ``global``, else
            0.2, but no more than half of what is kept: on bag-of-words features the last layer is half a percent of
            the weights, and any uniform rule destroys it. Liu et al. (GraNet, NeurIPS 2021) have the rule for
            sparsities above 0.8, where it matters.
        alive: bool masks by name; nothing else is kept, so that masks are nested along a schedule.

    Returns:
        bool mask by name, True = kept.

    Raises:
        GltError: a bad sparsity, ``how``, floor or mask, a NaN, fewer weights alive than to keep, or a budget that is
            too small for the limits. All but ``global`` leave every layer a weight; where ``global`` leaves one
            without any, that is a warning, since a network with other paths goes on without it.

    Cost: O(n) for float32 scores on CPU, O(n log n) otherwise.
    """
    check_request(scores, how, floor, alive)
    sizes = [score.numel() for score in scores.values()]
    most = sizes if alive is None else [count(alive[name]) for name in scores]
    keep = keep_count(sum(sizes), sparsity, "weights")
    if keep > sum(most):
        raise GltError(
            f"sparsity {sparsity} keeps {keep} of {sum(sizes)} weights, but only {sum(most)} are alive; "
            "sparsity cannot fall along a schedule"
        )
    first, last = _ends([(name, tuple(score.shape)) for name, score in scores.items()])
    least = [0] * len(sizes) if how == "global" else [min(1, high) for high in most]
    if floor is not None:
        share = Fraction(str(float(floor)))
    else:
        share = min(FLOOR, Fraction(keep, 2 * sum(sizes[i] for i in last))) if how != "global" else Fraction(0)
    for i in last:
        least[i] = max(least[i], min(math.ceil(share * sizes[i]), most[i]))
    if how == "uniform_plus":
        for i in first:
            least[i] = most[i]
    if sum(least) > keep:
        raise GltError(
            f"sparsity {sparsity} keeps {keep} weights, but how = {how!r} with floor = {float(share):g} needs at least "
            f"{sum(least)}; use a lower sparsity, a lower floor or another allocation"
        )
    if how == "global":
        masks = _best(scores, keep, least, alive)
        if lost := [name for name, high in zip(masks, most, strict=True) if high and not masks[name].any()]:
            warnings.warn(f"sparsity {sparsity} leaves {', '.join(lost)} without a weight", GltWarning, stacklevel=2)
        return masks
    parts = [(sum(score.shape) if how == "erk" else score.numel()) or 1 for score in scores.values()]
    return top_of_each(scores, _share(keep, parts, least, most), alive)


def top_of_each(
    scores: Mapping[str, Tensor], counts: Sequence[int], alive: Mapping[str, Tensor] | None = None
) -> Masks:
    """Masks of the highest scores in each layer, exactly ``counts`` of them, ties by index.

    Args:
        scores: float tensors by name.
        counts: how many to keep, one number per layer.
        alive: bool masks by name; nothing else is kept.

    Raises:
        GltError: a layer has fewer weights (alive) than to keep, or a NaN.
    """
    masks = {}
    for (name, score), keep in zip(scores.items(), counts, strict=True):
        living = None if alive is None else alive[name].flatten().to(score.device)
        masks[name] = keep_top(score.flatten(), keep, living).view(score.shape)
    return masks


def densities(masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Fraction kept by layer; ``masks``: bool by name, True = kept."""
    return {name: count(mask) / max(mask.numel(), 1) for name, mask in masks.items()}


def check_request(
    scores: Mapping[str, Tensor], how: str, floor: float | None, alive: Mapping[str, Tensor] | None
) -> None:
    """Raise GltError for arguments that :func:`allocate` does not take."""
    if how not in ALLOCATIONS:
        raise GltError(unknown("allocation", how, ALLOCATIONS))
    if floor is not None and not (isinstance(floor, Real) and 0 <= floor <= 1):
        raise GltError(f"floor {floor!r} is not in [0, 1]: it is the least density of the last layer, e.g. 0.2")
    if not scores:
        raise GltError("there are no weights to prune: scores is empty")
    if alive is None:
        return
    for name in {**scores, **alive}:
        one, other = scores.get(name), alive.get(name)
        if one is None or other is None or one.shape != other.shape or other.dtype != torch.bool:
            have, want = ("nothing" if t is None else f"{t.dtype} {list(t.shape)}" for t in (other, one))
            raise GltError(f"alive must be bool masks of the scores' shapes: {name!r} is {have} for scores of {want}")


def _ends(layers: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[list[int], list[int]]:
    """Indices of the matrices that make up the first layer, and the last."""
    order = [i for i, (_, shape) in enumerate(layers) if len(shape) > 1] or list(range(len(layers)))

    def together(order: list[int], side: int) -> list[int]:
        keys = [(name.rsplit(".", 2)[0], shape[side : side + 1]) for name, shape in layers]
        return list(takewhile(lambda i: keys[i] == keys[order[0]], order))

    return together(order, 1), together(order[::-1], 0)


def _best(scores: Mapping[str, Tensor], keep: int, least: Sequence[int], alive: Mapping[str, Tensor] | None) -> Masks:
    """The highest of all layers, after the ``least`` of each layer have been set aside."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    living = None if alive is None else torch.cat([alive[name].flatten() for name in scores]).to(flat.device)
    if any(least):
        aside = torch.cat([mask.flatten() for mask in top_of_each(scores, least, alive).values()])
        rest = ~aside if living is None else living & ~aside
        mask = keep_top(flat, keep - sum(least), rest) | aside
    else:
        mask = keep_top(flat, keep, living)
    parts = mask.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def _share(total: int, parts: Sequence[int], least: Sequence[int], most: Sequence[int]) -> list[int]:
    """Whole numbers that add up to ``total``, in proportion to ``parts`` within limits.

    The real shares are ``clip(scale * part, least, most)`` for the one scale at which they add up, found by walking
    the scales at which a limit begins or ends to matter; then largest remainders. sum(least) <= total <= sum(most).
    """
    zero = Fraction(0)

    def shares(scale: Fraction) -> list[Fraction]:
        return [min(max(scale * p, Fraction(a)), Fraction(b)) for p, a, b in zip(parts, least, most, strict=True)]

    corners = sorted({Fraction(limit, p) for p, *limits in zip(parts, least, most, strict=True) for limit in limits})
    low = max((c for c in corners if sum(shares(c), zero) <= total), default=zero)
    free = sum(p for p, a, b in zip(parts, least, most, strict=True) if a <= low * p < b)
    real = shares(low + (total - sum(shares(low), zero)) / free if free else low)
    whole = [math.floor(value) for value in real]
    order = sorted(range(len(real)), key=lambda i: (whole[i] - real[i], i))
    for i in order[: total - sum(whole)]:
        whole[i] += 1
    return whole
