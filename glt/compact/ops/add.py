"""Sums of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.checks import is_number, need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Add(Step):
    """The sum of its inputs, times ``factors`` where it has them, and ``shift``.

    Input i gives the channels ``take_i`` of it to the channels ``put_i``.
    """

    kind = "add"
    overwrites = True

    def _factors(self) -> list[float]:
        return list(self.options.get("factors") or [1.0] * len(self.inputs))

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.stack([f * row for f, row in zip(self._factors(), known, strict=True)]).sum(0)

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        constant, tensors = torch.zeros(int(kept.sum())), dict[str, Tensor | None]()
        inputs: list[int] = []
        factors: list[float] = []
        for factor, source in zip(self._factors(), sources, strict=True):
            constant = constant + factor * torch.where(source.kept, 0.0, source.known.nan_to_num(0.0))[kept]
            shared = kept & source.kept
            if not bool(shared.any()):
                continue
            i = len(inputs)
            if not torch.equal(shared, source.kept):
                tensors[f"take_{i}"] = shared[source.kept].nonzero().squeeze(1)
            if not torch.equal(shared, kept):
                tensors[f"put_{i}"] = shared[kept].nonzero().squeeze(1)
            inputs.append(source.id)
            factors.append(factor)
        if bool(constant.any()):
            tensors["shift"] = constant
        if len(inputs) == 1 and not tensors and factors == [1.0]:
            return inputs[0]
        options = {} if set(factors) <= {1.0} else {"factors": factors}
        return Add(inputs, int(kept.sum()), self.name, tensors, **options)

    def check(self, widths: Sequence[int], operators: int) -> None:
        factors = self._factors()
        need(bool(widths) and len(factors) == len(widths) and all(map(is_number, factors)), "add has no factors")
        given = 0
        for i, width in enumerate(widths):
            taken, put = self._places(f"take_{i}", width), self._places(f"put_{i}", self.width)
            need(taken == put, f"add takes {taken} channels and puts {put}")
            given += taken
        need(given >= self.width, f"add {self.width} wide is given {given} channels")
        self._has("shift", self.width)

    def run(self, graph: Prepared, *values: Any) -> Any:
        total: Any = None
        fresh = bool(self.options.get("inplace"))  # whether ``total`` is nobody else's
        for i, (factor, value) in enumerate(zip(self._factors(), values, strict=True)):
            part = dense(value)
            if f"take_{i}" in self._buffers:
                part, fresh = part.index_select(1, self.get_buffer(f"take_{i}")), fresh or total is None
            if f"put_{i}" in self._buffers:
                base = part.new_zeros(part.size(0), self.width) if total is None else total
                total = base.index_add(1, self.get_buffer(f"put_{i}"), part, alpha=factor)
                fresh = True
            elif total is None:
                total, fresh = (part, fresh) if factor == 1 else (part * factor, True)
            else:
                total = total.add_(part, alpha=factor) if fresh else torch.add(total, part, alpha=factor)
                fresh = True
        shift = self._buffers.get("shift")
        return total if shift is None else total.add_(shift) if fresh else total + shift
