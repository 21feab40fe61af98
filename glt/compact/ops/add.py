"""Sums of values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Add(Step):
    """The sum of its inputs and ``shift``; input i gives the channels ``take_i`` of it to the channels ``put_i``."""

    kind = "add"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.stack(known).sum(0)

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        constant = torch.stack([torch.where(s.kept, 0.0, s.known.nan_to_num(0.0)) for s in sources]).sum(0)[kept]
        shift = constant if bool(constant.any()) else None
        tensors: dict[str, Tensor | None] = {"shift": shift}
        inputs: list[int] = []
        for source in sources:
            shared = kept & source.kept
            if not bool(shared.any()):
                continue
            i = len(inputs)
            if not torch.equal(shared, source.kept):
                tensors[f"take_{i}"] = shared[source.kept].nonzero().squeeze(1)
            if not torch.equal(shared, kept):
                tensors[f"put_{i}"] = shared[kept].nonzero().squeeze(1)
            inputs.append(source.id)
        if len(inputs) == 1 and shift is None and len(tensors) == 1:
            return inputs[0]
        return Add(inputs, int(kept.sum()), self.name, tensors)

    def run(self, graph: Prepared, *values: Any) -> Any:
        total: Any = None
        parts = [dense(value) for value in values]
        for i, part in enumerate(parts):
            if f"take_{i}" in self._buffers:
                part = part.index_select(1, self.get_buffer(f"take_{i}"))
            if f"put_{i}" in self._buffers:
                base = part.new_zeros(part.size(0), self.width) if total is None else total
                total = base.index_add(1, self.get_buffer(f"put_{i}"), part)
            else:
                total = part if total is None else total + part
        shift = self._buffers.get("shift")
        return total if shift is None else total + shift
