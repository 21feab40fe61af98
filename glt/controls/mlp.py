"""No graph at all."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from glt.controls.base import Lesson, Outcome, Part, backbone_of, masks_biases, trained, with_backbone
from glt.problem import Problem
from glt.registry import get, register
from glt.strategies.base import Taught
from glt.ticket import Ticket

Width = Annotated[
    int | None, Field(ge=1, description="hidden units (default: as the ticket's backbone; 512 for a user's own model)")
]


@register("controls", "mlp")
class MLP:
    """A multi-layer perceptron without an edge, as wide and deep as the ticket's backbone, without a teacher."""

    taught: ClassVar[bool] = False
    reads: ClassVar[tuple[Part, ...]] = ()

    hidden: Width = None

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """All of its weights, cross-entropy alone."""
        return without_graph(problem, ticket, "mlp", self.hidden)


def without_graph(
    problem: Problem, ticket: Ticket, phase: str, hidden: int | None, lesson: Lesson = (None, ())
) -> Outcome:
    """Train the built-in ``mlp`` with the shape of the ticket's backbone on a graph without edges."""
    shape: dict[str, Any] = {
        option: getattr(backbone_of(problem), option)
        for option in ("hidden", "layers", "dropout", "residual", "norm")
        if hasattr(backbone_of(problem), option)
    }
    if hidden:
        shape["hidden"] = hidden
    plain = with_backbone(problem, get("backbones", "mlp")(**shape))
    edges, weights = plain.masks(biases=masks_biases(problem, ticket))
    return trained(plain, ticket, phase, edges & False, weights, lesson)
