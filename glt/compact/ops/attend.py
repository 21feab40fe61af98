"""Attention whose logits are sums: GAT's."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import softmax

from glt.compact.graphs import Csr, Prepared, multiply
from glt.compact.ops.base import Source, Step


class Attend(Step):
    """Attention per head over the entries of operator ``graph``: softmax(leaky_relu(s[source] + d[target])) h.

    Inputs: s and d [nodes, heads], h [nodes, sum of ``sizes``], where ``sizes`` are the channels of each head.
    """

    kind = "attend"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[2] == 0, 0.0, float("nan"))

    def _heads(self, kept: Tensor) -> list[int]:
        return [int(part.sum()) for part in kept.split(self.options["sizes"])]

    def needs(self, kept: Tensor) -> list[Tensor]:
        heads = torch.tensor([size > 0 for size in self._heads(kept)])
        return [heads, heads, kept]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        sizes = [size for size in self._heads(kept) if size]
        inputs = [source.fit(need) for source, need in zip(sources, self.needs(kept), strict=True)]
        return self.again(inputs, width=int(kept.sum()), sizes=sizes)

    def run(self, graph: Prepared, *values: Any) -> Any:
        s, d, h = values
        arcs = graph.operators[self.options["graph"]]
        logits = F.leaky_relu(s[arcs.index] + d[arcs.target], self.options["slope"])
        plain = graph.multiply is not multiply
        alpha = attention(logits, arcs.target, graph.rows) if plain else softmax(logits, ptr=arcs.ptr)
        parts = [
            graph.multiply(Csr(arcs.ptr, arcs.index, weights.contiguous(), arcs.columns), features.contiguous())
            for weights, features in zip(alpha.unbind(1), h.split(self.options["sizes"], dim=1), strict=True)
        ]
        return torch.cat(parts, dim=1)


def attention(logits: Tensor, target: Tensor, rows: int) -> Tensor:
    """Softmax of [arcs, heads] over each target, in operators that every exporter has."""
    place = target.unsqueeze(1).expand_as(logits)
    top = logits.new_full((rows, logits.size(1)), float("-inf")).scatter_reduce(0, place, logits, "amax")
    weights = (logits - top.gather(0, place)).exp()
    total = logits.new_zeros(rows, logits.size(1)).scatter_add(0, place, weights)
    return weights / (total.gather(0, place) + 1e-16)
