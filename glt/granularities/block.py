"""Square blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from glt.constraints import Masks
from glt.granularities.base import Whole, no_groups
from glt.groups import Groups
from glt.registry import register


@register("granularities", "block")
class Block(Whole):
    """Tiles of ``size`` x ``size`` weights of every matrix; those at its lower and right edges are smaller."""

    size: Annotated[int, Field(ge=1, le=1 << 16, description="rows and columns of a block")] = 16

    def groups(self, shapes: Mapping[str, torch.Size], device: torch.device) -> Groups:
        """One group per tile, row by row."""
        matrices: dict[str, torch.Size] = {name: shape for name, shape in shapes.items() if len(shape) == 2}
        if not matrices:
            raise no_groups(self.name, "there is no weight matrix")
        return _Tiles(self.size, dict(shapes), matrices, device)


class _Tiles:
    """Tiles of every matrix; they do not overlap."""

    ends = True
    least = 0

    def __init__(
        self, size: int, shapes: Mapping[str, torch.Size], matrices: Mapping[str, torch.Size], device: torch.device
    ) -> None:
        self._side, self._parameters, self._matrices, self._device = size, shapes, matrices, device
        self.shapes = [(out, into) for out, into in matrices.values()]
        self._counts = [-(-out // size) * -(-into // size) for out, into in self.shapes]
        self.size = torch.cat([_lengths(out, size).outer(_lengths(into, size)).flatten() for out, into in self.shapes])
        self.size = self.size.to(device)
        self.layer = torch.repeat_interleave(torch.tensor(self._counts, device=device))

    def total(self, values: Mapping[str, Tensor], squared: bool = False) -> Tensor:
        """Sums of tiles."""
        sums = []
        for name in self._matrices:
            value = values[name].to(torch.float64, copy=squared)
            sums.append(self._sums(value.mul_(value) if squared else value).flatten())
        return torch.cat(sums)

    def _sums(self, value: Tensor) -> Tensor:
        size, (out, into) = self._side, value.shape
        value = F.pad(value, (0, -into % size)).view(out, -1, size).sum(2)
        return F.pad(value, (0, 0, 0, -out % size)).view(-1, size, value.size(1)).sum(1)

    def first(self, values: Mapping[str, Tensor]) -> Tensor:
        """Their upper left entries."""
        return torch.cat([values[name][:: self._side, :: self._side].double().flatten() for name in self._matrices])

    def kept(self, order: Tensor, alive: Mapping[str, Tensor] | None) -> Tensor:
        """A running sum."""
        size = self.size if alive is None else self.total(alive).long()
        others = {name: shape.numel() for name, shape in self._parameters.items() if name not in self._matrices}
        if alive is not None:
            others = {name: int(alive[name].sum()) for name in others}
        return F.pad(size[order].cumsum(0), (1, 0)) + sum(others.values())

    def masks(self, keep: Tensor) -> Masks:
        """Every tile's flag, repeated."""
        masks = {k: torch.ones(s, dtype=torch.bool, device=self._device) for k, s in self._parameters.items()}
        for (name, (out, into)), flags in zip(self._matrices.items(), keep.split(self._counts), strict=True):
            tiles = flags.view(-1, -(-into // self._side))
            wide = tiles.repeat_interleave(self._side, 1)[:, :into]
            masks[name] = wide.repeat_interleave(self._side, 0)[:out].contiguous()
        return masks


def _lengths(total: int, size: int) -> Tensor:
    """Lengths of the pieces of ``size`` that ``total`` falls into, the last one shorter."""
    return torch.arange(0, total, size).neg_().add_(total).clamp_(max=size)
