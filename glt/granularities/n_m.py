"""N:M sparsity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from glt.allocate import allocate, check_request
from glt.constraints import Masks
from glt.errors import GltError
from glt.groups import Pool
from glt.registry import register
from glt.select import keep_count


@register("granularities", "n:m")
class NM:
    """At most ``n`` of every ``m`` neighbours along the inputs of a weight matrix (2:4: Mishra et al., 2021).

    In a row of a matrix [outputs, inputs] inputs 0 to m - 1 are neighbours, and so on; of the rest at its end at most n
    stay too. Among the n best of all neighbours the best stay, exactly as many as the sparsity says, so that it is at
    least 1 - n / m: at 1 - n / m every m neighbours keep n. Less is an error.
    """

    whole: ClassVar[bool] = False

    n: Annotated[int, Field(ge=1, description="weights that may stay of m neighbours")] = 2
    m: Annotated[int, Field(ge=2, le=256, description="how many neighbours")] = 4

    def __post_init__(self) -> None:
        """Something goes."""
        if self.n >= self.m:
            raise GltError(f"n = {self.n} is not below m = {self.m}: at most n of m neighbours stay, e.g. n: 2, m: 4")

    def masks(
        self,
        scores: Mapping[str, Tensor],
        sparsity: float,
        how: str = "global",
        floor: float | None = None,
        alive: Mapping[str, Tensor] | None = None,
        pool: Pool = "mean",
    ) -> Masks:
        """:func:`glt.allocate.allocate` among the best n of every m; there is nothing to pool.

        Raises:
            GltError: what that raises, or a sparsity below 1 - n / m.

        Cost: O(weights * m).
        """
        check_request(scores, how, floor, alive)
        if any(score.numel() and bool(score.max().isnan()) for score in scores.values()):
            raise GltError("scores hold NaN: check the features and the model that they were computed from")
        eligible = {name: self._best(score, alive[name] if alive else None) for name, score in scores.items()}
        total, most = (sum(int(mask.numel() if full else mask.sum()) for mask in eligible.values()) for full in (1, 0))
        if (keep := keep_count(total, sparsity, "weights")) > most:
            raise GltError(
                f"sparsity {sparsity} keeps {keep} of {total} weights, but {self.n}:{self.m} keeps at most {most}: use "
                f"at least {1 - self.n / self.m:g} (an iterative strategy passes through lower ones: start at a first "
                "level that is)"
            )
        if how == "global" and not floor:  # as below, in one pass over contiguous numbers
            scores = {name: score.masked_fill(~eligible[name], -torch.inf) for name, score in scores.items()}
            return allocate(scores, sparsity, alive=None)
        return allocate(scores, sparsity, how, floor, eligible)

    def _best(self, score: Tensor, alive: Tensor | None) -> Tensor:
        """The n best living entries of every m; a vector has no neighbours, and all of it may stay."""
        if score.dim() < 2:
            return torch.ones_like(score, dtype=torch.bool) if alive is None else alive.to(score.device)
        ranked = score if alive is None else score.masked_fill(~alive.to(score.device), -torch.inf)
        inputs = score.size(-1)
        ranked = F.pad(ranked, (0, -inputs % self.m), value=-torch.inf).unflatten(-1, (-1, self.m))
        ranked = ranked.movedim(-1, 0).contiguous()
        better = torch.zeros(ranked.shape, dtype=torch.int16, device=score.device)
        for i in range(self.m - 1):  # each entry against those after it: a sort of so few is many times slower
            above = ranked[i + 1 :] > ranked[i]
            better[i] += above.sum(0, dtype=torch.int16)
            better[i + 1 :] += ~above
        best = (better < self.n).movedim(0, -1).flatten(-2)[..., :inputs]
        return best if alive is None else best & alive.to(score.device)
