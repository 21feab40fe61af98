"""What every control is, and what they share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from glt.constraints import Masks, prunable_weights
from glt.errors import GltError
from glt.losses import Loss
from glt.problem import Cost, Problem
from glt.registry import build, spec_of
from glt.schedules.level import Level
from glt.strategies.base import Taught
from glt.ticket import Ticket
from glt.train import FitResult

Draw = Annotated[int, Field(ge=0, lt=2**63, description="seed of the draw, beside the run's own")]
Lesson = tuple[Loss | None, Sequence[Cost]]
"""A loss (None: cross-entropy alone), and what its teacher cost; as of :meth:`Taught.taught`."""
Part = Literal["edges", "weights", "initial"]
"""How many edges a ticket keeps; how many weights, of how many; the weights of :func:`start`."""


@dataclass(frozen=True)
class Outcome:
    """A trained control.

    Attributes:
        ticket: its edges, weights, initial and trained weights and metrics.
        logits: float [nodes, classes] of that very object, on the graph with the test nodes.
    """

    ticket: Ticket
    logits: Tensor


class Control(Protocol):
    """A deliberately uninformed ticket, trained as the ticket was.

    ``taught``: whether it learns from the dense model where the ticket does.

    One that is not a ticket's own has ``reads: ClassVar[Sequence[Part]]``, not inherited: nothing else of the ticket
    matters to it, so the tickets that agree in these parts share it; see :func:`shared_key`.

    One whose weights are not the ticket's starts from :func:`start`; any other says in ``start: ClassVar[str]`` what
    the record of a ticket that does not rewind says of it.
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
    scorer: Any = None,
) -> Outcome:
    """A control of ``ticket``: ``edges`` (bool [edges]) and ``weights`` (bool by name), fixed and trained.

    Training starts from ``initial`` (default: the problem's own initial weights). The ticket's edges weigh what they
    weigh in the ticket. ``scorer`` decides about the edges of nodes that come later (default: the ticket's own).
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
    made = problem.ticket(level, edges, weights, result, spent, initial, on_edges, scorer)
    return Outcome(made, tested(problem, result, edges, scorer))


def fine_tuned(ticket: Ticket) -> bool:
    """Whether the ticket goes on from trained weights (``rewind_to: none``): what it starts from knows the labels."""
    try:
        return getattr(build("strategies", ticket.config.get("strategy")), "rewind_to", None) == "none"
    except GltError:  # a user's own strategy
        return False


def start(problem: Problem, ticket: Ticket) -> Mapping[str, Tensor]:
    """What a control starts from whose weights are not the ticket's: the weights that the ticket is rewound to.

    Those of a ticket that does not rewind are trained, and mostly zero where a search of rounds had pruned before: they
    would inform the control, or leave it dead. Its controls start from the problem's initial weights.
    """
    return problem.initial if fine_tuned(ticket) else ticket.initial


def granularity_of(ticket: Ticket) -> Any:
    """What the ticket's strategy, or its pruner, prunes as a whole; single weights where it does not say."""
    try:
        strategy = build("strategies", ticket.config.get("strategy"))
    except GltError:  # a user's own
        strategy = None
    for piece in (strategy, getattr(strategy, "pruner", None)):
        if (found := getattr(piece, "granularity", None)) is not None:
            return build("granularities", found)
    return build("granularities", "element")


def tested(problem: Problem, result: FitResult, edges: Tensor, scorer: Any = None) -> Tensor:
    """The logits in which the test nodes of a training are read."""
    if not problem.recipe.inductive:
        return result.logits
    return problem.logits(problem.model_at(result.state), problem.tested(edges, scorer=scorer))


def reads_of(piece: Control) -> Sequence[Part] | None:
    """What of a ticket a control depends on; None: on anything."""
    reads: Sequence[Part] | None = vars(type(piece)).get("reads")
    return reads


def shared_key(piece: Control, problem: Problem, ticket: Ticket, teaching: Taught) -> dict[str, Any] | None:
    """What a control's outcome depends on beside graph, model, recipe and seed, as JSON.

    Two tickets of a problem with the same key have the same outcome, to the bit. None: it is this ticket's own, as of
    every control that does not say what it reads, of a ticket whose edges have weights, and where nodes come later: of
    their edges the ticket's scorer decides.
    """
    reads = reads_of(piece)
    if reads is None or ticket.edge_weights is not None or problem.recipe.inductive:
        return None
    parts: dict[Part, Callable[[], Any]] = {
        "edges": lambda: _edges(ticket),
        "weights": lambda: _weights(ticket),
        "initial": lambda: _digest(start(problem, ticket)),
    }
    taught = {k: getattr(teaching, k) for k in ("weight", "temperature", "distil")}
    return {
        "control": spec_of(piece),
        "biases": masks_biases(problem, ticket),
        "taught": taught if piece.taught and teaching.weight else None,
        **_whole(ticket, reads),
        **{part: parts[part]() for part in reads},
    }


def _whole(ticket: Ticket, reads: Sequence[Part]) -> dict[str, Any]:
    granularity = granularity_of(ticket)
    return {"granularity": spec_of(granularity)} if "weights" in reads and granularity.name != "element" else {}


def _edges(ticket: Ticket) -> int:
    return int(ticket.edge_keep.sum())


def _weights(ticket: Ticket) -> list[int]:
    masks = ticket.weight_masks.values()
    return [sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)]


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def masks_biases(problem: Problem, ticket: Ticket) -> bool:
    """Whether the ticket's masks are over more than weight matrices; then its controls' are too, and totals agree."""
    return not ticket.weight_masks.keys() <= prunable_weights(problem.model()).keys()


def with_backbone(problem: Problem, backbone: Any) -> Problem:
    """The same problem for another backbone, initialised under the same seed."""
    config = {**problem.config, "backbone": spec_of(backbone)}
    undirected, recipe = problem.undirected, problem.recipe
    return Problem(problem.whole, backbone, recipe, problem.seed, problem.metric, undirected, config, problem.on_epoch)


def backbone_of(problem: Problem) -> Any:
    """The built-in backbone of a problem; None for a user's own model."""
    spec = problem.config.get("backbone")
    return None if spec is None else build("backbones", spec)


def shuffled(mask: Tensor, *seeds: int) -> Tensor:
    """As many True as in the bool ``mask``, anywhere in it; a permutation by numpy's PCG64 of the seeds."""
    flat = mask.cpu().numpy().reshape(-1)
    order = np.random.default_rng(seeds).permutation(flat.size)
    return mask.flatten()[order].view_as(mask)


def random_scores(weights: Masks, *seeds: int) -> dict[str, Tensor]:
    """A number in [0, 1) per weight by numpy's PCG64 of the seeds and the matrix's place, float64."""
    return {
        name: torch.from_numpy(np.random.default_rng((*seeds, i)).random(tuple(mask.shape))).to(mask.device)
        for i, (name, mask) in enumerate(weights.items())
    }
