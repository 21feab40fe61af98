"""The ticket's masks with other initial weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from glt.controls.base import Draw, Outcome, trained
from glt.errors import GltError
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "reinitialised")
class Reinitialised:
    """The ticket's edges and weight masks from fresh initial weights (Frankle and Carbin, ICLR 2019)."""

    taught: ClassVar[bool] = True
    start: ClassVar[str] = "anew"

    seed: Draw = 0

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """Every layer's ``reset_parameters()`` under another seed than the ticket's."""
        fresh = initialised_anew(problem.model(), self.seed, problem.seed)
        edges, weights = problem.masks(ticket)
        return trained(problem, ticket, "reinitialised", edges, weights, teaching.taught(problem), fresh)


def initialised_anew(model: nn.Module, *seeds: int) -> dict[str, Tensor]:
    """The state of ``model`` after all its modules' ``reset_parameters()``, which is called on the model itself.

    Raises:
        GltError: a parameter's values belong to a module without that method.
    """
    able = [module for module in model.modules() if hasattr(module, "reset_parameters")]
    reached = {id(p) for module in able for p in module.parameters()}
    if left := [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in reached]:
        raise GltError(f"{left[0]!r} cannot be initialised anew: its module has no reset_parameters()")
    cuda = [p.device for p in model.parameters() if p.is_cuda][:1]
    with torch.random.fork_rng(cuda):
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1))
        for module in reversed(able):  # a module has the last word over its parts
            module.reset_parameters()  # type: ignore[operator]
    return {k: v.detach().clone() for k, v in model.state_dict().items()}
