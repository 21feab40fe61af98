"""Weights with two of four: in every group of four columns no row has more than two that are not zero.

A GPU of compute capability 8 and above multiplies such a matrix at up to twice the speed of a dense one (Mishra et al.,
"Accelerating Sparse Deep Neural Networks", arXiv 2104.08378). Everywhere else it is stored so, and computed dense.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

GROUP, KEPT = 4, 2
CAPABILITY = (8, 0)
MULTIPLES = {torch.float16: (32, 64), torch.bfloat16: (32, 64), torch.float32: (32, 32)}
"""Rows and columns that torch's kernels want multiples of, by dtype."""
WIDER = 1.5
"""More columns than this times as many, for groups to have two of four, and it is not tried."""


def capable(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a device multiplies such weights of this dtype."""
    if device.type != "cuda" or dtype not in MULTIPLES or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability(device) >= CAPABILITY


def grouped(weight: Tensor) -> Tensor | None:
    """Columns of ``weight`` [out, in] in groups of four that have two of four: int64 [4 * groups], -1 for none.

    Columns keep their order; a group is closed early where the next column does not fit, and filled up with -1. None
    where that would take more than :data:`WIDER` times as many columns. O(out * in).
    """
    filled = (weight != 0).t().cpu()
    places: list[int] = []
    count = torch.zeros(filled.size(1), dtype=torch.int64)
    for i, column in enumerate(filled):
        count += column
        if len(places) % GROUP == 0 or int(count.max() if count.numel() else 0) > KEPT:
            places += [-1] * (-len(places) % GROUP)
            count = column.long()
        places.append(i)
    places += [-1] * (-len(places) % GROUP)
    return torch.tensor(places, dtype=torch.int64) if len(places) < WIDER * weight.size(1) + GROUP else None


def packed(weight: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """``weight`` with its columns at ``places`` as two values per group and row, and where in the group they are.

    Returns:
        values [out, 2 * groups] of the weight's dtype; uint8 [out, groups]: four bits each, the lower two the first's.
    """
    wide = _wide(weight, places)
    groups = wide.view(wide.size(0), wide.size(1) // GROUP, GROUP)
    order = torch.argsort((groups == 0).to(torch.uint8), dim=2, stable=True)[..., :KEPT]
    values = groups.gather(2, order).flatten(1)
    return values, (order[..., 0] + GROUP * order[..., 1]).to(torch.uint8)


def unpacked(values: Tensor, where: Tensor) -> Tensor:
    """The inverse of :func:`packed`, columns at their places: [out, 4 * groups]."""
    index = torch.stack([where % GROUP, where // GROUP], dim=2).long()
    wide = values.new_zeros(values.size(0), where.size(1), GROUP)
    return wide.scatter_(2, index, values.view(*where.shape, KEPT)).flatten(1)


def accelerated(wide: Tensor) -> Tensor:
    """[out, 4 * groups] as torch's own semi-structured matrix, with rows and columns of zeros up to what it takes.

    Raises:
        RuntimeError: torch or the device cannot do it.
    """
    rows, columns = MULTIPLES[wide.dtype]
    full = F.pad(wide, (0, -wide.size(1) % columns, 0, -wide.size(0) % rows)).contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        if wide.dtype == torch.float32:  # which the kernels that are torch's first choice do not take
            made: Tensor = torch.sparse.SparseSemiStructuredTensorCUTLASS.from_dense(full)
        else:
            made = torch.sparse.to_sparse_semi_structured(full)
    return made


def _wide(weight: Tensor, places: Tensor) -> Tensor:
    wide = weight.new_zeros(weight.size(0), places.numel())
    taken = (places >= 0).nonzero().squeeze(1).to(weight.device)
    return wide.index_copy_(1, taken, weight.index_select(1, places[places >= 0].to(weight.device)))
