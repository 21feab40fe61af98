"""What every strategy is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor

from glt.constraints import largest_weights, prunable_weights
from glt.errors import GltError
from glt.forward import Forward
from glt.losses import DistilNodes, Loss, distilled
from glt.problem import Cost, Problem
from glt.registry import build, checked
from glt.reweight import check_reweights
from glt.schedules.level import Level
from glt.selection import Selection
from glt.sparsify import weigh_arcs
from glt.strategies.rounds import rounds
from glt.ticket import Ticket
from glt.training import Training


class Strategy(Protocol):
    """How tickets are found.

    ``iterative``: a level is reached through the ones before it. Such a strategy is given all levels of a run, in
    ascending order, and as ``start`` the ticket of the last one that is done, or one that it gave ``problem.on_round``
    since; it yields the levels after it, to the same bits. Any other strategy finds each level by itself and is given
    those that are wanted.
    """

    iterative: ClassVar[bool]

    def check(self, problem: Problem, levels: Sequence[Level]) -> None:
        """Raise GltError for a search that cannot be done, before anything is trained."""
        ...

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Yield one ticket per level, lazily, in the order of the levels."""
        ...


@checked("strategy")
class Taught:
    """Distillation from the dense model: an option of every strategy, off unless the method has it."""

    weight: Annotated[float, Field(ge=0, description="lambda of the distillation; 0 trains without a teacher")] = 0.0
    temperature: Annotated[float, Field(gt=0, description="temperature of the distillation")] = 1.0
    distil: Annotated[
        DistilNodes,
        Field(description="nodes whose teacher outputs are used: all, or those outside validation and test"),
    ] = "all"

    iterative: ClassVar[bool] = False
    soft_masks: ClassVar[bool] = False
    """Whether edges are soft-masked, which not every layer can be."""

    def __post_init__(self) -> None:
        """Build the pieces that are named now, so that a bad one is an error before anything runs."""
        for name, family in (("scorer", "scorers"), ("pruner", "pruners"), ("granularity", "granularities")):
            if hasattr(self, name):
                object.__setattr__(self, name, build(family, getattr(self, name)))

    @property
    def track(self) -> str:
        """``"none"`` without distillation, else which nodes the teacher's outputs are used on."""
        return self.distil if self.weight else "none"

    def arrivals(self, seed: int) -> Any:
        """The scorer of edges of nodes that come later (:mod:`glt.inductive`): ``random``, drawn by the seed.

        Masks that were learned belong to the edges that they were learned on, and say nothing of others.
        """
        return build("scorers", {"name": "random", "seed": seed})

    def check(self, problem: Problem, levels: Sequence[Level]) -> None:
        """Every level can be had, iterative ones ascend, and a soft mask of 0 is removal here."""
        visited = [step.level for step in rounds(levels)] if self.iterative else levels
        weights = prunable_weights(problem.model(), getattr(self, "biases", False))
        for level in visited:  # first: what a granularity can have is less than what single weights can
            self.check_weights(weights, level.weight_sparsity)
        problem.check(levels)
        if self.soft_masks:
            problem.check_soft_masks(getattr(self, "twice", False))

    def check_weights(self, weights: Mapping[str, Tensor], sparsity: float) -> None:
        """Raise GltError if the granularity cannot reach a sparsity."""
        granularity = getattr(self, "granularity", None)
        if granularity is not None and granularity.name != "element":
            largest_weights(weights, sparsity, granularity=granularity)

    def taught(self, problem: Problem) -> tuple[Loss | None, list[Cost]]:
        """(loss, what the teacher cost); None is cross-entropy alone."""
        if not self.weight:
            return None, []
        teacher = problem.dense
        return distilled(problem.data, teacher.logits, self.weight, self.temperature, self.distil), [teacher]


@checked("strategy")
class ChoosesEdges(Taught):
    """Options of strategies that choose edges by a scorer, before any training."""

    scorer: Annotated[Any, Field(description="edge scorer, a name or {name: ..., options}")] = "teddy"
    selection: Annotated[
        Selection | None, Field(description="how scores become edges: {inverse, by, blend, weights} (default: highest)")
    ] = None
    reweight: Annotated[
        bool,
        Field(description="edges that stay weigh more, where the scorer defines it; the model has to heed weights"),
    ] = False

    def __post_init__(self) -> None:
        """Levels say how many edges stay, and only the highest scores have weights."""
        super().__post_init__()
        if self.reweight:
            check_reweights(self.scorer)
            if self.selection and not self.selection.plain:
                raise GltError("reweight goes with the highest scores of the whole graph: leave out selection")
        if self.selection and self.selection.per_node is not None:
            raise GltError(
                f"selection.per_node = {self.selection.per_node} says how many edges stay, and so do the levels: leave "
                "it out, or use by: node"
            )

    def arrivals(self, seed: int) -> Any:
        """The strategy's own scorer.

        Raises:
            GltError: it looks at a model, which the ticket does not hold, or scores alone do not say what happens.
        """
        selection = self.selection or Selection()
        if looking := self._look(selection):
            raise GltError(
                f"train.inductive: scorer {looking[0].name!r} looks at the dense model, which no ticket holds for the "
                "edges of new nodes: use a scorer that looks at the graph alone"
            )
        if not selection.plain or self.reweight:
            odd = "reweight" if self.reweight else "selection"
            raise GltError(f"train.inductive: {odd} says nothing of the edges of new nodes: leave it out")
        return seeded(self.scorer, seed)

    def edge_scores(self, problem: Problem) -> tuple[Tensor, list[Cost]]:
        """(scores of the edges, what the model cost that they look at); scorers that draw, draw anew for every seed."""
        selection = self.selection or Selection()
        scorer = seeded(self.scorer, problem.seed)
        blend = tuple(seeded(build("scorers", other), problem.seed) for other in selection.blend)
        selection = replace(selection, blend=blend)
        if not self._look(selection):
            make = partial(selection.score, problem.edges, scorer, problem.data)
            return problem.remembered((scorer, selection), make), []
        model = problem.model_at(problem.dense.state)
        return selection.score(problem.edges, scorer, problem.data, model), [problem.dense]

    def _look(self, selection: Selection) -> list[Any]:
        """The scorers that look at a model."""
        scorers = (self.scorer, *(build("scorers", other) for other in selection.blend))
        return [scorer for scorer in scorers if getattr(scorer, "needs_model", False)]

    def check(self, problem: Problem, levels: Sequence[Level]) -> None:
        """And scorers can look at the model; where edges are to be weighted, there are weights, and it heeds them."""
        super().check(problem, levels)
        for scorer in self._look(self.selection or Selection()):
            scorer(problem.data, problem.model())
        if not self.reweight:
            return
        if problem.recipe.inductive:  # also where no edge goes
            self.arrivals(problem.seed)
        weights = self.edge_weights(problem, problem.masks()[0])
        half = torch.linspace(0.5, 1.5, problem.edges.num_edges, device=problem.data.x.device)
        graph = weigh_arcs(problem.data, problem.edges, half if weights is None else half * weights)
        if torch.equal(*(Forward(problem.model(), data).evaluate() for data in (graph, problem.data))):
            raise GltError(
                f"reweight: {type(problem.model()).__name__} does not heed edge weights; use the backbone gcn, or a "
                "model of your own whose forward takes edge_weight"
            )

    def edge_weights(self, problem: Problem, keep: Tensor) -> Tensor | None:
        """What the edges that stay weigh, float [edges], 0 for the others; None without ``reweight``."""
        if not self.reweight:
            return None
        scorer = seeded(self.scorer, problem.seed)
        return problem.edges.pool(scorer.weights(problem.data, problem.edges.to_arcs(keep)))

    def keep_edges(self, problem: Problem, scores: Tensor, level: Level) -> Tensor:
        """The edges that stay at a level, bool [edges]."""
        return (self.selection or Selection()).keep(problem.edges, scores, level.graph_sparsity)


class LevelByLevel:
    """A strategy whose every level is one training, found without those of other levels: several can run at once."""

    @abstractmethod
    def trainings(self, problem: Problem, levels: Iterable[Level]) -> Iterator[Training]:
        """The training of each level, lazily, in the order of the levels."""

    def tickets(self, problem: Problem, levels: Iterable[Level], start: Ticket | None = None) -> Iterator[Ticket]:
        """Each level by itself."""
        return (training.done() for training in self.trainings(problem, levels))


def seeded(scorer: Any, seed: int) -> Any:
    """The scorer for one seed of the experiment, and so the one it builds on."""
    if hasattr(scorer, "base"):
        scorer = replace(scorer, base=seeded(build("scorers", scorer.base), seed))
    return replace(scorer, seed=scorer.seed + seed) if hasattr(scorer, "seed") else scorer
