"""Which kernel multiplies: a table made from measurements, or the one that is asked for.

Asked for, the nearest wins: :func:`use` (and ``glt run --kernel``), then the environment's ``GLT_KERNEL``. Otherwise
:data:`RULES` is read from the top, or :data:`DETERMINISTIC` where torch's deterministic algorithms are on.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from glt.errors import GltError, unknown
from glt.kernels.base import Kernel
from glt.registry import build, names

AUTO = "auto"
VARIABLE = "GLT_KERNEL"


@dataclass(frozen=True)
class Rule:
    """A kernel, and from where on it is the faster one.

    Attributes:
        kernel: its name.
        device: kind of device; ``""`` is any.
        width: least number of dense columns.
        degree: least number of entries per row on average.
        nodes: least number of rows.
    """

    kernel: str
    device: str = ""
    width: int = 0
    degree: float = 0.0
    nodes: int = 0

    def fits(self, matrix: Tensor, width: int) -> bool:
        """Whether the product of ``matrix`` with a dense one of ``width`` columns is the rule's."""
        device, rows = matrix.device.type, matrix.size(0)
        return (
            self.device in ("", device)
            and width >= self.width
            and rows >= self.nodes
            and matrix.col_indices().numel() >= self.degree * rows
        )


RULES = (
    Rule("reduce", device="cpu", width=32),  # benchmarks/kernels.py
    Rule("matmul"),  # on CUDA not yet measured
)
DETERMINISTIC = (
    Rule("reduce", device="cpu", width=32),
    Rule("matmul", device="cpu"),
    Rule("segment_csr", device="cuda"),
    Rule("segment_reduce", device="cuda"),
    Rule("matmul"),
)
"""The same, of kernels that are deterministic on their device; a kernel that is not installed is passed over."""

_asked: ContextVar[str | None] = ContextVar("kernel", default=None)
_seen: ContextVar[set[str] | None] = ContextVar("kernels seen", default=None)


@functools.cache
def _kernel(name: str) -> tuple[Kernel, bool]:
    kernel = build("kernels", name)
    return kernel, kernel.available()


def asked() -> str:
    """The kernel that is asked for, or ``"auto"``."""
    return _asked.get() or os.environ.get(VARIABLE) or AUTO


@contextmanager
def use(name: str | None) -> Iterator[None]:
    """Compute sparse products within the block with the kernel of this name.

    Their gradients use the kernel of the forward product, wherever they are computed.

    Args:
        name: a registered kernel, ``"auto"`` for the default, or None to change nothing.

    Raises:
        GltError: no such kernel, or it is not installed.
    """
    if name is None:
        yield
        return
    if name != AUTO:
        _required(name)
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)


@contextmanager
def recording() -> Iterator[set[str]]:
    """Names of the kernels that are chosen within the block, in the set that is returned."""
    outer, seen = _seen.get(), set[str]()
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)
        if outer is not None:
            outer |= seen


def chosen(matrix: Tensor, width: int) -> Kernel:
    """The kernel for the products of ``matrix`` (sparse CSR) with dense matrices of ``width`` columns.

    Raises:
        GltError: the kernel that is asked for is unknown, not installed, not for the matrix's device, or not
            deterministic there where torch's deterministic algorithms are on.
    """
    name = asked()
    if name == AUTO:
        kernel = _by_rule(matrix, width)
    else:
        kernel, device = _required(name), matrix.device.type
        if device not in kernel.devices:
            fit = [other for other in names("kernels") if device in _kernel(other)[0].devices]
            raise GltError(f"kernel {name!r} does not run on {device}; use one of {AUTO}, {', '.join(fit)}")
        if torch.are_deterministic_algorithms_enabled() and device not in kernel.deterministic:
            fit = [other for other in names("kernels") if device in _kernel(other)[0].deterministic]
            raise GltError(
                f"kernel {name!r} does not give the same bits every time on {device}, which deterministic mode "
                f"promises; use one of {AUTO}, {', '.join(fit)}"
            )
    if (seen := _seen.get()) is not None:
        seen.add(kernel.name)
    return kernel


def _by_rule(matrix: Tensor, width: int) -> Kernel:
    rules = DETERMINISTIC if torch.are_deterministic_algorithms_enabled() else RULES
    for rule in rules:
        if rule.fits(matrix, width):
            kernel, available = _kernel(rule.kernel)
            if available:
                return kernel
    raise AssertionError("the last rule fits everything")


def _required(name: str) -> Kernel:
    if name not in names("kernels"):
        raise GltError(unknown("kernel", name, [AUTO, *names("kernels")]))
    kernel, available = _kernel(name)
    if not available:
        package = kernel.requires.replace("_", "-")
        raise GltError(f"kernel {name!r} needs {package}: pip install --no-build-isolation {package}, or use {AUTO!r}")
    return kernel
