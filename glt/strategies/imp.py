"""IMP: the original lottery ticket, weights by magnitude in rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from glt.errors import GltError
from glt.problem import Cost, Problem
from glt.registry import register
from glt.schedules.level import Level
from glt.strategies.rounds import Spent, rounds
from glt.strategies.weights import PrunesWeights, RewindTo, rewound
from glt.ticket import Ticket


@register("strategies", "imp")
class IMP(PrunesWeights):
    """Train, prune the smallest weights, rewind, again (Frankle and Carbin, ICLR 2019), on edges chosen by a scorer.

    ``rewind_to`` above 0 is late rewinding (Frankle et al., ICML 2020): the weights that the dense training has after
    that fraction of its epochs; the ticket's initial weights are those. ``none`` fine-tunes. Every round trains on the
    edges of its own level.
    """

    iterative: ClassVar[bool] = True

    rewind_to: RewindTo = 0.0

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """One training per round, whose weights say what goes next; ``problem.on_round`` gets what is not asked for."""
        levels = list(levels)
        self.check(problem, levels)
        edge_scores, _ = self.edge_scores(problem)
        loss, _ = self.taught(problem)
        edges, weights = problem.masks(start)
        graph = problem.subgraph(edges, start.edge_weights if start else None)
        if start and start.trained is None:
            raise GltError(
                f"the ticket of level {start.config['level']} was saved without trained weights, by which imp prunes"
            )
        trained = start.trained if start and start.trained else problem.dense.state
        begin: Mapping[str, Tensor]
        early: Sequence[Cost]
        if start and "rounds" in start.metrics:  # a round of this search, rewound to where the others are
            begin, early = start.initial, ()
        else:
            begin, early = rewound(problem, self.rewind_to, trained)
        spent = Spent.before(start, 0, [problem.dense, *early])
        if early and not start:
            problem.on_round(_round(problem, Level(0, 0.0, 0.0), edges, weights, problem.dense, early, begin))
        for step in rounds(levels, start):
            level = step.level
            weights = self.prune(problem, graph, trained, level.weight_sparsity, weights, loss)
            edges = self.keep_edges(problem, edge_scores, level)
            on_edges = self.edge_weights(problem, edges)
            graph = problem.subgraph(edges, on_edges)
            begin = trained if self.rewind_to == "none" else begin
            result = problem.fit(
                graph,
                model=problem.model_at(begin),
                loss=loss,
                masks=weights,
                phase=f"level {level.number}",
            )
            ticket = _round(problem, level, edges, weights, result, [spent], begin, on_edges)
            if step.wanted:
                yield ticket
            else:
                problem.on_round(ticket)
            trained, spent = result.state, spent + result


def _round(problem: Problem, level: Level, *found: Any) -> Ticket:
    """The ticket of a round, as of :meth:`glt.problem.Problem.ticket`."""
    ticket = problem.ticket(level, *found)
    ticket.metrics["rounds"] = level.number
    return ticket
