"""Mean of the neighbours, weighted by a softmax of what they send: GENConv's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.compact.checks import need
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense
from glt.compact.ops.softmax import softmax_over

SAFE = {torch.float16: 6.0}
"""Logits of a channel that lie closer together than this are exponentiated without under- or overflow: by dtype."""
USUAL = 120.0


class SoftMean(Step):
    """For every node and channel the sum of softmax(``t`` x[source]) x[source] over the entries of ``graph``.

    It is a ratio of two products with the graph where the logits of each channel lie close together, whatever they are
    shifted by; else, and for export, it is computed arc by arc.
    """

    kind = "soft_mean"
    work = "propagation"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[0] == 0, 0.0, float("nan"))

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        return self.again([sources[0].fit(kept)], width=int(kept.sum()), t=self.get_buffer("t")[kept])

    def macs(self, graph: Prepared, x: Any = None) -> int:
        return 2 * graph.operators[self.options["graph"]].entries * self.width

    def check(self, widths: Sequence[int], operators: int) -> None:
        super().check(widths, operators)
        need(self._has("t", self.width), "soft_mean has no t")

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        arcs, logits = graph.operators[self.options["graph"]], x * self.get_buffer("t")
        if not graph.plain and x.numel():
            low, high = logits.aminmax(dim=0)
            if bool((high - low).max() < SAFE.get(x.dtype, USUAL)):
                weights = logits.sub_((low + high) / 2).exp_()
                total = graph.multiply(arcs, weights)
                return graph.multiply(arcs, weights.mul_(x)).div_(total.masked_fill_(total == 0, 1.0))
        alpha = softmax_over(graph, arcs, logits[arcs.index])
        return torch.zeros_like(x).index_add(0, arcs.target, alpha * x[arcs.index])
