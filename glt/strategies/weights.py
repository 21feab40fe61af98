"""Which weights stay, by a registered pruner and an allocation: what imp, oneshot and random share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data

from glt.constraints import Masks
from glt.losses import Loss, cross_entropy
from glt.problem import Cost, Problem
from glt.pruners.base import Pruning
from glt.registry import build, checked
from glt.strategies.base import ChoosesEdges

Pruner = Annotated[Any, Field(description="weight pruner, a name or {name: ..., options}")]
Allocation = Annotated[
    Literal["global", "uniform", "uniform_plus", "erk"],
    Field(description="how the budget of weights is shared among layers"),
]
Floor = Annotated[
    float | None, Field(ge=0, le=1, description="least density of the last layer (default: 0 if global, else 0.2)")
]
RewindTo = Annotated[
    Annotated[float, Field(ge=0, le=1)] | Literal["none"],
    Field(description="0: initial weights; a fraction of training: the weights by then; none: go on from the trained"),
]


@checked("strategy")
class PrunesWeights(ChoosesEdges):
    """Options of strategies that prune edges by a scorer and weights by a pruner."""

    pruner: Pruner = "magnitude"
    allocation: Allocation = "global"
    floor: Floor = None

    def prune(
        self,
        problem: Problem,
        data: Data,
        state: Mapping[str, Tensor],
        sparsity: float,
        alive: Masks | None = None,
        loss: Loss | None = None,
        biases: bool = False,
    ) -> Masks:
        """Masks of the weights of ``state`` that stay at a sparsity, at the pruner's granularity."""
        pruning = Pruning(
            problem.model_at(state),
            data,
            loss or cross_entropy(problem.data),
            initial=problem.initial,
            alive=alive,
            sparsity=sparsity,
            seed=problem.seed,
            biases=biases,
        )
        pool = getattr(self.pruner, "pool", "mean")
        masks: Masks = self._choice.masks(self.pruner(pruning), sparsity, self.allocation, self.floor, alive, pool)
        return masks

    def check_weights(self, weights: Mapping[str, Tensor], sparsity: float) -> None:
        """Raise GltError if the pruner's granularity cannot reach a sparsity by the allocation."""
        if self._choice.name != "element":
            scores = {name: weight.detach().abs() for name, weight in weights.items()}
            self._choice.masks(scores, sparsity, self.allocation, self.floor)

    @property
    def _choice(self) -> Any:
        return build("granularities", getattr(self.pruner, "granularity", "element"))


def rewound(
    problem: Problem, to: float | str, trained: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], list[Cost]]:
    """(the state that training starts from again, what it cost to get there); see :data:`RewindTo`."""
    return (trained, []) if to == "none" else problem.early(float(to))
