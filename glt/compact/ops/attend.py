"""Attention whose logits are sums: GAT's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact.checks import is_number, need, sizes_in
from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense
from glt.compact.ops.softmax import by_heads, sizes_of, softmax_over


class Attend(Step):
    """Attention per head over the entries of operator ``graph``: softmax(leaky_relu(s[source] + d[target])) h.

    Inputs: s and d [nodes, heads], h [nodes, sum of ``sizes``], where ``sizes`` are the channels of each head.

    Attributes:
        vectors: of a recorded step, the model's own vectors [1, heads, channels] that s and d are made with.
    """

    kind = "attend"
    work = "propagation"
    vectors: tuple[str, ...] = ()

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[2] == 0, 0.0, float("nan"))

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        heads = torch.tensor([size > 0 for size in sizes_of(kept, self.options["sizes"])])
        return [heads, heads, kept]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        sizes = [size for size in sizes_of(kept, self.options["sizes"]) if size]
        inputs = [source.fit(need) for source, need in zip(sources, self.needs(kept, []), strict=True)]
        return self.again(inputs, width=int(kept.sum()), sizes=sizes)

    def macs(self, graph: Prepared, x: Any = None) -> int:
        return graph.operators[self.options["graph"]].entries * self.width

    def check(self, widths: Sequence[int], operators: int) -> None:
        sizes = sizes_in(self.options, "sizes", 1)
        need(sum(sizes) == self.width, f"attend {self.width} wide has heads of {sizes}")
        need(list(widths) == [len(sizes), len(sizes), self.width], f"attend with heads of {sizes} reads {list(widths)}")
        need(is_number(self.options.get("slope")), "attend has no slope")
        need(self._reads(operators), "attend reads an operator that is not there")

    def run(self, graph: Prepared, *values: Any) -> Any:
        s, d, h = map(dense, values)
        arcs = graph.operators[self.options["graph"]]
        logits = F.leaky_relu(s[arcs.index] + d[arcs.target], self.options["slope"])
        return by_heads(graph, arcs, softmax_over(graph, arcs, logits), h, self.options["sizes"])
