"""Peak memory of a part of a process's life, not of all of it so far."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import torch

PROCESS = Path("/proc/self")


class Peak:
    """The most memory that was held since this was made; one at a time in a process.

    On CUDA what torch had allocated on the device. On Linux the resident memory of the process, libraries and graph
    included; what freed blocks still hold is given back to the system first, so that it does not count what came
    before. Elsewhere unknown: a system that only tells the peak since the process began tells nothing of its part.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._reset = True
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        with contextlib.suppress(OSError, AttributeError, TypeError):  # other allocators have none
            ctypes.CDLL(None).malloc_trim(0)
        try:
            (PROCESS / "clear_refs").write_text("5")
        except OSError:
            self._reset = False

    def mb(self) -> float | None:
        """In MB (2^20 bytes); None where it is not known."""
        if self._device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self._device) / 2**20, 1)
        if self._device.type != "cpu" or not self._reset:
            return None
        try:
            lines = (PROCESS / "status").read_text().splitlines()
        except OSError:
            return None
        kilobytes = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return next((round(int(number) / 2**10, 1) for number in kilobytes), None)


def larger(one: float | None, other: float | None) -> float | None:
    """The larger of two peaks; unknown where one of them is."""
    return None if one is None or other is None else max(one, other)
