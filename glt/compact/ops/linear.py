"""A product with weights."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact.graphs import Csr, Prepared, multiply, multiply_rows
from glt.compact.ops.base import Source, Step, dense


class Linear(Step):
    """x W^T + b; W [out, in] is dense, or kept as CSR (``form`` says)."""

    kind = "linear"
    optional = ("bias",)
    weight: Tensor
    bias: Tensor | None

    def known(self, known: list[Tensor]) -> Tensor:
        varies = known[0].isnan()
        value = self.weight @ known[0].nan_to_num(0.0).to(self.weight)
        value = value if self.bias is None else value + self.bias
        return torch.where((self.weight[:, varies] != 0).any(1), float("nan"), value)

    def needs(self, kept: Tensor) -> list[Tensor]:
        return [(self.weight[kept] != 0).any(0)]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        (source,) = sources
        rows, bias = self.weight[kept], None if self.bias is None else self.bias[kept]
        constant = rows @ torch.where(source.kept, 0.0, source.known.nan_to_num(0.0)).to(rows)
        if bool(constant.any()):
            bias = constant if bias is None else bias + constant
        if bias is not None and not bool(bias.any()):
            bias = None
        return self.again([source.id], width=rows.size(0), weight=rows[:, source.kept], bias=bias)

    def stored(self, form: str, transposed: bool = False) -> Linear:
        """The same step with its weight in another form: ``dense``, for sparse features transposed, or ``csr``."""
        if form == "dense":
            weight = self.weight.t() if transposed else self.weight
            tensors: dict[str, Tensor | None] = {"weight": weight, "bias": self.bias}
            return Linear(self.inputs, self.width, self.name, tensors, form=form, transposed=transposed)
        packed = Csr.of(self.weight)
        tensors = {"ptr": packed.ptr, "index": packed.index, "values": packed.values, "bias": self.bias}
        return Linear(self.inputs, self.width, self.name, tensors, form=form, columns=packed.columns)

    def run(self, graph: Prepared, *values: Any) -> Any:
        (x,) = values
        if self.options.get("form") == "csr":
            weight = Csr(
                self.get_buffer("ptr"), self.get_buffer("index"), self.get_buffer("values"), self.options["columns"]
            )
            x, plain = dense(x), graph.multiply is not multiply
            out = graph.multiply(weight, x.t().contiguous()).t() if plain else multiply_rows(weight, x)
            return out if self.bias is None else out.add_(self.bias)
        if isinstance(x, Csr):
            out = graph.multiply(x, self.weight if self.options.get("transposed") else self.weight.t().contiguous())
            return out if self.bias is None else out.add_(self.bias)
        return F.linear(x, self.weight.t() if self.options.get("transposed") else self.weight, self.bias)
