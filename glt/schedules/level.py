"""Level: one point of a schedule."""

from __future__ import annotations

from dataclasses import dataclass

from glt.errors import GltError


@dataclass(frozen=True)
class Level:
    """One (graph_sparsity, weight_sparsity) point; both are fractions removed, in [0, 1).

    Attributes:
        number: the level's place in the schedule, as written into records (0 is the dense pair).
        graph_sparsity: fraction of edges removed.
        weight_sparsity: fraction of weights removed.

    Raises:
        GltError: a sparsity is outside [0, 1).
    """

    number: int
    graph_sparsity: float
    weight_sparsity: float

    def __post_init__(self) -> None:
        for name in ("graph_sparsity", "weight_sparsity"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and 0.0 <= value < 1.0):
                raise GltError(f"{name} {value!r} is not in [0, 1): it is the fraction removed, e.g. 0.4")
