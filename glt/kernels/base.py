"""What a kernel is, and what several kernels need of a CSR matrix."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class Kernel(ABC):
    """One way to multiply a sparse CSR matrix with a dense one, outside autograd.

    The gradient is the same product with the transpose, so a kernel is only ever this function.

    Attributes:
        name: as registered.
        devices: kinds of device that it runs on.
        deterministic: kinds of device where the same input always gives the same bits, at least where torch's
            deterministic algorithms are on.
        requires: module that has to be installed, ``""`` for none.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    deterministic: ClassVar[tuple[str, ...]] = ("cpu",)
    requires: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        """``matrix @ dense``.

        Args:
            matrix: sparse CSR float [n, m], int64 indices.
            dense: float [m, k] of the same dtype, any strides.

        Returns:
            float [n, k].
        """

    def available(self) -> bool:
        """Whether what it :attr:`requires` is installed."""
        return not self.requires or importlib.util.find_spec(self.requires) is not None


_rows: WeakIdKeyDictionary = WeakIdKeyDictionary()


def rows_of(matrix: Tensor) -> Tensor:
    """The row of every entry of a CSR matrix, int64 [entries]; made once for a matrix that lives on."""
    if matrix not in _rows:
        ptr = matrix.crow_indices()
        every = torch.arange(matrix.size(0), device=ptr.device)
        _rows[matrix] = torch.repeat_interleave(every, ptr.diff(), output_size=matrix.col_indices().numel())
    return _rows[matrix]


def messages(matrix: Tensor, dense: Tensor) -> Tensor:
    """For every entry its value times the dense row of its column, float [entries, k]."""
    return dense.index_select(0, matrix.col_indices()).mul_(matrix.values().unsqueeze(1))
