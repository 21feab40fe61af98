"""A product with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glt.compact import two_four
from glt.compact.checks import need
from glt.compact.graphs import Csr, Prepared, multiply_rows
from glt.compact.ops.base import Source, Step, dense
from glt.compact.weights import packed, unpacked

FORMS = ("dense", "csr", "2:4")


class Linear(Step):
    """x W^T + b.

    W [out, in] is kept in one of three forms, ``form`` says which: ``dense``; ``csr``; ``2:4``, two of every four
    columns (:mod:`glt.compact.two_four`) with a device's own kernel where it has one.
    """

    kind = "linear"
    work = "weights"
    optional = ("bias",)
    weight: Tensor
    bias: Tensor | None
    _made: Tensor | None = None
    """Of 2:4: the matrix that the device multiplies with, made in the first call there."""

    def known(self, known: list[Tensor]) -> Tensor:
        varies = known[0].isnan()
        value = self.weight @ known[0].nan_to_num(0.0).to(self.weight)
        value = value if self.bias is None else value + self.bias
        return torch.where((self.weight[:, varies] != 0).any(1), float("nan"), value)

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
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

    @property
    def form(self) -> str:
        """``dense``, ``csr`` or ``2:4``."""
        return str(self.options.get("form", "dense"))

    def stored(self, form: str, transposed: bool = False) -> Linear | None:
        """The same step, whose weight is dense, with it in another form; for sparse features dense and transposed.

        None where the weight has no 2:4 form.
        """
        tensors: dict[str, Tensor | None] = {"bias": self.bias}
        if form == "dense":
            tensors["weight"] = self.weight.t() if transposed else self.weight
            return Linear(self.inputs, self.width, self.name, tensors, form=form, transposed=transposed)
        if form == "csr":
            matrix = Csr.of(self.weight)
            tensors |= {"ptr": matrix.ptr, "index": matrix.index, "values": matrix.values}
            return Linear(self.inputs, self.width, self.name, tensors, form=form, columns=matrix.columns)
        places = two_four.grouped(self.weight)
        if places is None:
            return None
        values, where = two_four.packed(self.weight, places)
        tensors |= {"values": values, "where": where}
        if not torch.equal(places[: self.weight.size(1)], torch.arange(self.weight.size(1))):
            tensors["take"] = places.clamp(min=0).to(values.device)  # what is taken for -1 meets zeros
        return Linear(self.inputs, self.width, self.name, tensors, form=form, columns=self.weight.size(1))

    @property
    def matrix(self) -> Tensor:
        """The weight, dense [out, in], whatever its form."""
        if self.form == "csr":
            return self._csr().dense()
        if self.form == "dense":
            return self.weight.t() if self.options.get("transposed") else self.weight
        wide = two_four.unpacked(self.get_buffer("values"), self.get_buffer("where"))
        if "take" not in self._buffers:
            return wide[:, : self.options["columns"]]
        weight = wide.new_zeros(wide.size(0), self.options["columns"])
        return weight.index_add_(1, self.get_buffer("take"), wide)

    def plain(self) -> Linear:
        """The same step; dense where its form is 2:4."""
        if self.form != "2:4":
            return self
        return Linear(self.inputs, self.width, self.name, {"weight": self.matrix, "bias": self.bias}, form="dense")

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        weight, options = self.matrix, {"form": self.form}
        tensors = packed(weight) | ({} if self.bias is None else {"bias": self.bias})
        return tensors, {**options, "columns": weight.size(1), "transposed": bool(self.options.get("transposed"))}

    @classmethod
    def unpacked(cls, entry: Mapping[str, Any], tensors: Mapping[str, Tensor], widths: Sequence[int]) -> Step:
        options, (columns,) = entry["options"], widths
        need(options["form"] in FORMS, f"there is no form {options['form']!r} of weights")
        need(options["columns"] == columns, f"a weight of {options['columns']!r} columns reads {columns}")
        own = {"weight": unpacked(tensors, entry["width"], columns), "bias": tensors.get("bias")}
        step = cls(entry["inputs"], entry["width"], entry["name"], own)
        made = step.stored(options["form"], options["transposed"] is True)
        need(made is not None, f"a weight has no form {options['form']}")
        assert made is not None
        return made

    def check(self, widths: Sequence[int], operators: int) -> None:
        self._has("bias", self.width)  # the rest was looked at when it was unpacked

    def _csr(self) -> Csr:
        ptr, index, entries = (self.get_buffer(name) for name in ("ptr", "index", "values"))
        return Csr(ptr, index, entries, self.options["columns"])

    @property
    def derived(self) -> list[Tensor]:
        made: Any = self._made
        parts = [made] if type(made) is Tensor else [getattr(made, "packed", None), getattr(made, "meta", None)]
        return [part for part in parts if part is not None]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}  # torch's semi-structured matrices cannot be copied

    def macs(self, graph: Prepared, x: Any = None) -> int:
        if self.form in ("csr", "2:4"):
            return self.get_buffer("values").numel() * graph.rows
        if isinstance(x, Csr):
            return x.entries * self.width
        return self.weight.numel() * graph.rows

    def run(self, graph: Prepared, *values: Any) -> Any:
        (x,) = values
        if self.form == "csr":
            weight, x = self._csr(), dense(x)
            if graph.plain:
                out = graph.multiply(weight, x.t().contiguous()).t()
            else:
                out = multiply_rows(weight, x, graph.multiply)
            return out if self.bias is None else out.add_(self.bias)
        if self.form == "2:4":
            return self._two_four(dense(x))
        if isinstance(x, Csr):
            out = graph.multiply(x, self.weight if self.options.get("transposed") else self.weight.t().contiguous())
            return out if self.bias is None else out.add_(self.bias)
        return F.linear(x, self.weight.t() if self.options.get("transposed") else self.weight, self.bias)

    def _two_four(self, x: Tensor) -> Tensor:
        values = self.get_buffer("values")
        fast = two_four.capable(x.device, x.dtype)
        if self._made is None or self._made.device != x.device or self._made.dtype != x.dtype:
            wide = two_four.unpacked(values, self.get_buffer("where"))
            self._made = two_four.accelerated(wide) if fast else self.plain().weight
        if not fast:
            return F.linear(x, self._made, self.bias)
        if "take" in self._buffers:
            x = x.index_select(1, self.get_buffer("take"))
        x = F.pad(x, (0, self._made.size(1) - x.size(1)))
        out = F.linear(x, self._made)[:, : self.width]
        return out if self.bias is None else out + self.bias
