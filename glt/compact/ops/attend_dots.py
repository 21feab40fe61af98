"""Attention whose logits are inner products: TransformerConv's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from glt.arrays import csr
from glt.compact.checks import need, sizes_in
from glt.compact.graphs import Csr, Prepared
from glt.compact.ops.base import Source, Step, dense
from glt.compact.ops.softmax import by_heads, sizes_of, softmax_over


class AttendDots(Step):
    """Attention per head over the entries of operator ``graph``: softmax(q[target] . k[source]) v.

    Inputs: q and k [nodes, sum of ``dims``], v [nodes, sum of ``sizes``], where these are the channels of each head. A
    channel of q and k goes where it adds nothing (q is 0) or the same to all arcs into a node (k is constant): softmax
    does not see that. A head without any is a mean.
    """

    kind = "attend_dots"
    work = "propagation"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[2] == 0, 0.0, float("nan"))

    def _useful(self, kept: Tensor, known: list[Tensor]) -> Tensor:
        query, key = known[:2]
        heads = torch.tensor([size > 0 for size in sizes_of(kept, self.options["sizes"])])
        return heads.repeat_interleave(torch.tensor(self.options["dims"])) & key.isnan() & (query != 0)

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        useful = self._useful(kept, known)
        return [useful, useful, kept]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        needs = self.needs(kept, [source.known for source in sources])
        sizes = sizes_of(kept, self.options["sizes"])
        dims = sizes_of(needs[0], self.options["dims"])
        inputs = [source.fit(need) for source, need in zip(sources, needs, strict=True)]
        live = [(dim, size) for dim, size in zip(dims, sizes, strict=True) if size]
        return self.again(inputs, width=int(kept.sum()), dims=[d for d, _ in live], sizes=[s for _, s in live])

    def macs(self, graph: Prepared, x: Any = None) -> int:
        return graph.operators[self.options["graph"]].entries * (sum(self.options["dims"]) + self.width)

    def check(self, widths: Sequence[int], operators: int) -> None:
        sizes, dims = sizes_in(self.options, "sizes", 1), sizes_in(self.options, "dims")
        need(len(sizes) == len(dims) and sum(sizes) == self.width, f"attend_dots has heads of {sizes} by {dims}")
        need(list(widths) == [sum(dims), sum(dims), self.width], f"attend_dots by {dims} reads {list(widths)}")
        need(self._reads(operators), "attend_dots reads an operator that is not there")

    def run(self, graph: Prepared, *values: Any) -> Any:
        query, key, value = map(dense, values)
        arcs, dims = graph.operators[self.options["graph"]], self.options["dims"]
        heads = zip(query.split(dims, dim=1), key.split(dims, dim=1), strict=True)
        logits = torch.stack([dots(graph, arcs, q, k) for q, k in heads], dim=1)
        return by_heads(graph, arcs, softmax_over(graph, arcs, logits), value, self.options["sizes"])


def dots(graph: Prepared, arcs: Csr, query: Tensor, key: Tensor) -> Tensor:
    """``query[target] . key[source]`` for every arc, float [arcs]; for export and half precision by gathering."""
    if not query.size(1):
        return query.new_zeros(arcs.index.size(0))
    if graph.plain or query.dtype not in (torch.float32, torch.float64):  # which torch's kernel takes
        return (query[arcs.target] * key[arcs.index]).sum(1)
    where = csr(arcs.ptr, arcs.index, query.new_zeros(arcs.entries), arcs.columns)
    return torch.sparse.sampled_addmm(where, query.contiguous(), key.contiguous().t(), beta=0.0).values()
