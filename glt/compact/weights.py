"""A weight in a file: in the smallest of three exact forms, whatever it is multiplied as."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from glt.compact.checks import check_csr, need
from glt.compact.graphs import Csr
from glt.ticket_file import pack, unpack


def packed(weight: Tensor) -> dict[str, Tensor]:
    """``weight`` [out, in] by the fewest bytes: as it is, as one bit per entry and those that are not zero, or as CSR.

    Returns:
        ``weight``; or ``bits``, uint8, lowest bit first, and ``values``; or ``ptr``, ``index`` and ``values``.
    """
    total, size, index = weight.numel(), weight.element_size(), torch.int32.itemsize
    entries = int(weight.count_nonzero())
    bits, rows = (total + 7) // 8 + entries * size, (weight.size(0) + 1) * index + entries * (index + size)
    if total * size <= min(bits, rows):
        return {"weight": weight}
    if bits <= rows:
        kept = weight != 0
        return {"bits": pack(kept), "values": weight[kept]}
    matrix = Csr.of(weight)
    return dict(zip(("ptr", "index", "values"), matrix.tensors, strict=True))


def unpacked(tensors: Mapping[str, Tensor], out: int, columns: int) -> Tensor:
    """The dense weight [out, columns] that was :func:`packed`.

    Raises:
        ValueError: there is none of that size.
    """
    if "weight" in tensors:
        weight = tensors["weight"]
        need(
            weight.is_floating_point() and weight.shape == (out, columns), f"a weight is not {out} x {columns} numbers"
        )
        return weight
    values = tensors["values"]
    if "bits" in tensors:
        bits = tensors["bits"]
        need(
            bits.dtype == torch.uint8 and bits.shape == ((out * columns + 7) // 8,), "a weight has too few or many bits"
        )
        kept = unpack(bits, (out, columns), "a weight")
        need(values.is_floating_point() and values.shape == (int(kept.sum()),), "a weight has another number of values")
        return values.new_zeros(out, columns).masked_scatter_(kept, values)
    matrix = Csr(tensors["ptr"], tensors["index"], values, columns)
    check_csr(matrix, out, "a weight")
    return matrix.dense()
