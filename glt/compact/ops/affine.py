"""Scale and shift, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Affine(Step):
    """x * scale + shift, channel by channel; either may be missing."""

    kind = "affine"
    overwrites = True
    optional = ("scale", "shift")
    scale: Tensor | None
    shift: Tensor | None

    def known(self, known: list[Tensor]) -> Tensor:
        value = known[0] if self.scale is None else torch.where(self.scale == 0, 0.0, known[0] * self.scale)
        return value if self.shift is None else value + self.shift

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        parts = {k: None if v is None else v[kept] for k, v in self._buffers.items()}
        return self.again([sources[0].fit(kept)], width=int(kept.sum()), **parts)

    def check(self, widths: Sequence[int], operators: int) -> None:
        super().check(widths, operators)
        self._has("scale", self.width)
        self._has("shift", self.width)

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.scale is not None and self.shift is not None:
            return torch.addcmul(self.shift, x, self.scale)
        if self.scale is not None:
            return x.mul_(self.scale) if self.options.get("inplace") else x * self.scale
        if self.shift is None:
            return x
        return x.add_(self.shift) if self.options.get("inplace") else x + self.shift
