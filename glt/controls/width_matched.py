"""The same number of weights in a narrower dense network."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Any, ClassVar

import torch

from glt.constraints import prunable_weights
from glt.controls.base import Outcome, Part, backbone_of, masks_biases, trained, with_backbone
from glt.errors import GltError
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "width_matched")
class WidthMatched:
    """The widest network of the same backbone with at most the ticket's weights, all edges (Blalock et al. 2020).

    It has as many attention heads, or fewer where there are not enough weights for a unit each.
    """

    taught: ClassVar[bool] = True
    reads: ClassVar[tuple[Part, ...]] = ("weights",)

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """Train it on the full graph, taught as the ticket is, by the same teacher."""
        kept = sum(int(mask.sum()) for mask in ticket.weight_masks.values())
        biases = masks_biases(problem, ticket)
        narrow = with_backbone(problem, narrowed(backbone_of(problem), kept, problem, biases))
        return trained(narrow, ticket, "width_matched", *narrow.masks(biases=biases), teaching.taught(problem))


def narrowed(backbone: Any, most: int, problem: Problem, biases: bool = False) -> Any:
    """``backbone`` with the largest ``hidden`` at which it has at most ``most`` prunable weights, no wider than it is.

    Attention heads share the hidden units, so ``hidden`` stays a multiple of ``heads``. Where not even one unit a head
    fits it is the widest with half as many heads, a quarter, and so on.

    Raises:
        GltError: it has no width, or no network fits.
    """
    if not hasattr(backbone, "hidden"):
        raise GltError("the width of this model is not known: only a backbone with an option 'hidden' is made narrower")

    def weights(candidate: Any) -> int:
        with torch.random.fork_rng([]):
            model = candidate(problem.data.x.size(1), problem.num_classes)
        return sum(p.numel() for p in prunable_weights(model, biases).values())

    def widest(heads: int) -> Any:
        fewer = replace(backbone, hidden=heads, heads=heads) if hasattr(backbone, "heads") else backbone
        candidates = [replace(fewer, hidden=units) for units in range(heads, backbone.hidden + 1, heads)]
        fitting = bisect_right(candidates, most, key=weights)
        return candidates[fitting - 1] if fitting else None

    heads = getattr(backbone, "heads", 1)
    halves = [heads >> n for n in range(1, heads.bit_length())]
    found = widest(heads) or max(filter(None, map(widest, halves)), key=lambda fit: fit.hidden, default=None)
    if found is None:
        least = weights(replace(backbone, hidden=1, **({"heads": 1} if halves else {})))
        raise GltError(f"no network fits: the narrowest has {least} weights, the ticket {most}")
    return found
