"""What every granularity is, and what those of whole groups share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor

from glt.allocate import check_request
from glt.constraints import Masks
from glt.errors import GltError
from glt.groups import Groups, Pool, best_groups

Granularity = Annotated[
    Any, Field(description="what goes as a whole: element, unit, feature, {name: block, size} or {name: n:m, n, m}")
]


class Choice(Protocol):
    """Which weights may stay together; ``whole``: groups of them stay or go as one."""

    whole: ClassVar[bool]

    def masks(
        self,
        scores: Mapping[str, Tensor],
        sparsity: float,
        how: str = "global",
        floor: float | None = None,
        alive: Mapping[str, Tensor] | None = None,
        pool: Pool = "mean",
    ) -> Masks:
        """Masks of the best weights, never more than ``total - round(sparsity * total)``.

        Args as of :func:`glt.allocate.allocate`; ``pool`` as of :func:`glt.groups.best_groups`.
        """
        ...


class Whole(ABC):
    """A granularity of whole groups: :meth:`groups` says which."""

    whole: ClassVar[bool] = True
    name: ClassVar[str]

    @abstractmethod
    def groups(self, shapes: Mapping[str, torch.Size], device: torch.device) -> Groups:
        """The groups of parameters of these shapes, in the order of the layers; all else is kept.

        Raises:
            GltError: there is no group.
        """

    def masks(
        self,
        scores: Mapping[str, Tensor],
        sparsity: float,
        how: str = "global",
        floor: float | None = None,
        alive: Mapping[str, Tensor] | None = None,
        pool: Pool = "mean",
    ) -> Masks:
        """Masks of whole groups; see :func:`glt.groups.best_groups`."""
        check_request(scores, how, floor, alive)
        device = next(iter(scores.values())).device
        groups = self.groups({name: score.shape for name, score in scores.items()}, device)
        if alive is not None:
            alive = {name: alive[name].to(device) for name in scores}
        return best_groups(groups, scores, sparsity, how, floor, alive, pool, self.name)


class Axes:
    """Groups of rows and columns: whole lines of matrices; an entry stays if its row's and its column's group do.

    Args:
        shapes: of all parameters by name, in order.
        rows, columns: int64 ids of groups by parameter name, [outputs] or [inputs]; where there are none, no group has
            that side. Groups are numbered layer by layer.
        sizes: number of groups of each layer.
        layers: (outputs, inputs) of each of these layers.
        least: groups of every layer that stay.
        device: of the weights.
    """

    ends = False

    def __init__(
        self,
        shapes: Mapping[str, torch.Size],
        rows: Mapping[str, Tensor],
        columns: Mapping[str, Tensor],
        sizes: list[int],
        layers: list[tuple[int, int]],
        least: int,
        device: torch.device,
    ) -> None:
        self._parameters = dict(shapes)
        self._device = device
        lines = [(name, 0, ids.to(device)) for name, ids in rows.items()]
        self._lines = lines + [(name, 1, ids.to(device)) for name, ids in columns.items()]
        self.layer = torch.repeat_interleave(torch.tensor(sizes, device=device))
        self.size = torch.zeros_like(self.layer)
        for name, side, ids in self._lines:
            self.size[ids] += shapes[name][1 - side]
        self.shapes, self.least = layers, least

    def total(self, values: Mapping[str, Tensor], squared: bool = False) -> Tensor:
        """Sums along the other side; an entry of two groups counts for both."""
        sums = torch.zeros(len(self.layer), dtype=torch.float64, device=self._device)
        for name, side, ids in self._lines:
            value = values[name].to(torch.float64, copy=squared)
            sums[ids] += (value.mul_(value) if squared else value).sum(1 - side)  # ids of a line are different
        return sums

    def first(self, values: Mapping[str, Tensor]) -> Tensor:
        """The first entry of a group's row, or of its column where it has no row."""
        out = torch.zeros(len(self.layer), dtype=torch.float64, device=self._device)
        for name, side, ids in reversed(self._lines):
            out[ids] = values[name].double().select(1 - side, 0)
        return out

    def kept(self, order: Tensor, alive: Mapping[str, Tensor] | None) -> Tensor:
        """An entry of two groups stays as long as the later of them in the order."""
        place = torch.full_like(self.layer, len(order))
        place[order] = torch.arange(len(order), device=self._device)
        costs = torch.zeros(len(order) + 1, dtype=torch.int64, device=self._device)
        for name, shape in self._parameters.items():
            places = [(side, place[ids] + 1) for line, side, ids in self._lines if line == name]
            if alive is None:  # a rectangle: rows so far times columns so far
                area = torch.full_like(costs, shape.numel())
                for side, since in places:
                    area = area // shape[side] * since.bincount(minlength=len(order) + 2).cumsum(0)[: len(order) + 1]
                costs += area
                continue
            since = torch.zeros((), dtype=torch.int64, device=self._device)
            for side, line_since in places:
                since = torch.maximum(since, line_since.unsqueeze(1 - side))
            living = since.expand(shape)[alive[name]]
            costs += living.bincount(minlength=len(order) + 2).cumsum(0)[: len(order) + 1]
        return costs

    def masks(self, keep: Tensor) -> Masks:
        """True where the groups of the row and of the column stay."""
        masks = {}
        for name, shape in self._parameters.items():
            mask = torch.ones((), dtype=torch.bool, device=self._device)
            for line, side, ids in self._lines:
                if line == name:
                    mask = mask & keep[ids].unsqueeze(1 - side)
            masks[name] = mask.expand(shape).contiguous()
        return masks


def no_groups(name: str, why: str) -> GltError:
    """The error of a model in which a granularity finds nothing to take away."""
    return GltError(f"granularity {name!r} finds nothing to prune: {why}; use element or block")
