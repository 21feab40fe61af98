"""What every control is, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from glt.constraints import Masks, prunable_weights
from glt.losses import Loss
from glt.problem import Cost, Problem
from glt.registry import build, spec_of
from glt.schedules.level import Level
from glt.strategies.base import Taught
from glt.ticket import Ticket

Draw = Annotated[int, Field(ge=0, lt=2**63, description="seed of the draw, beside the run's own")]
Lesson = tuple[Loss | None, Sequence[Cost]]
"""A loss (None: cross-entropy alone), and what its teacher cost; as of :meth:`Taught.taught`."""


@dataclass(frozen=True)
class Outcome:
    """A trained control.

    Attributes:
        ticket: its edges, weights, initial and trained weights and metrics.
        logits: float [nodes, classes] of that very object.
    """

    ticket: Ticket
    logits: Tensor


class Control(Protocol):
    """A deliberately uninformed ticket, trained as the ticket was.

    ``taught``: whether it learns from the dense model where the ticket does.
    """

    taught: ClassVar[bool]

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """The control of ``ticket``, trained; deterministic in (this control, the problem, the ticket).

        Args:
            problem: the ticket's graph, model, recipe and seed.
            ticket: the one to be controlled; its graph is the problem's.
            teaching: the ticket's distillation.

        Raises:
            GltError: the control is not possible for this ticket; the message says why.
            TrainingError: its training failed.
        """
        ...


def trained(
    problem: Problem,
    ticket: Ticket,
    phase: str,
    edges: Tensor,
    weights: Masks,
    lesson: Lesson = (None, ()),
    initial: Mapping[str, Tensor] | None = None,
) -> Outcome:
    """A control of ``ticket``: ``edges`` (bool [edges]) and ``weights`` (bool by name), fixed and trained.

    Training starts from ``initial`` (default: the problem's own initial weights). The ticket's edges weigh what they
    weigh in the ticket.
    """
    loss, spent = lesson
    initial = problem.initial if initial is None else initial
    on_edges = ticket.edge_weights if torch.equal(edges.cpu(), ticket.edge_keep) else None
    result = problem.fit(
        problem.subgraph(edges, on_edges),
        model=problem.model_at(initial),
        loss=loss,
        masks=weights,
        phase=phase,
    )
    level = Level(int(ticket.config["level"]), ticket.graph_sparsity, ticket.weight_sparsity)
    return Outcome(problem.ticket(level, edges, weights, result, spent, initial, on_edges), result.logits)


def masks_biases(problem: Problem, ticket: Ticket) -> bool:
    """Whether the ticket's masks are over more than weight matrices; then its controls' are too, and totals agree."""
    return not ticket.weight_masks.keys() <= prunable_weights(problem.model()).keys()


def with_backbone(problem: Problem, backbone: Any) -> Problem:
    """The same problem for another backbone, initialised under the same seed."""
    config = {**problem.config, "backbone": spec_of(backbone)}
    undirected, recipe = problem.undirected, problem.recipe
    return Problem(problem.data, backbone, recipe, problem.seed, problem.metric, undirected, config, problem.on_epoch)


def backbone_of(problem: Problem) -> Any:
    """The built-in backbone of a problem; None for a user's own model."""
    spec = problem.config.get("backbone")
    return None if spec is None else build("backbones", spec)


def shuffled(mask: Tensor, *seeds: int) -> Tensor:
    """As many True as in the bool ``mask``, anywhere in it; a permutation by numpy's PCG64 of the seeds."""
    flat = mask.cpu().numpy().reshape(-1)
    order = np.random.default_rng(seeds).permutation(flat.size)
    return mask.flatten()[order].view_as(mask)
