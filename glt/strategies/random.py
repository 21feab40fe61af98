"""Random edges, random weights: what every method has to beat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from glt.registry import register
from glt.strategies.oneshot import OneShotStrategy
from glt.strategies.weights import Allocation, Pruner


@register("strategies", "random")
class RandomStrategy(OneShotStrategy):
    """Random edges and random weights, drawn anew for every seed, by ERK over layers (Liu et al., ICLR 2022)."""

    scorer: Annotated[Any, Field(description="edge scorer, a name or {name: ..., options}")] = "random"
    pruner: Pruner = "random"
    allocation: Allocation = "erk"
    at: Annotated[Literal["trained", "initial"], Field(description="which weights the pruner scores")] = "initial"
