"""No graph at all, but its teacher has seen it."""

from __future__ import annotations

from typing import ClassVar

from glt.controls.base import Outcome, Part
from glt.controls.mlp import Width, without_graph
from glt.errors import GltError
from glt.problem import Problem
from glt.registry import register
from glt.strategies.base import Taught
from glt.ticket import Ticket


@register("controls", "mlp_distilled")
class DistilledMLP:
    """The MLP without an edge, taught by the dense GNN as the ticket is (Zhang et al., "GLNN", ICLR 2022)."""

    taught: ClassVar[bool] = True
    reads: ClassVar[tuple[Part, ...]] = ()

    hidden: Width = None

    def __call__(self, problem: Problem, ticket: Ticket, teaching: Taught) -> Outcome:
        """The teacher's outputs are used on the same nodes as for the ticket."""
        if not teaching.weight:
            raise GltError("the ticket has no teacher, so this would be the plain mlp")
        return without_graph(problem, ticket, "mlp_distilled", self.hidden, teaching.taught(problem))
