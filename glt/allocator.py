"""Keep freed memory: large tensors come and go every epoch, and each fresh page costs a fault."""

from __future__ import annotations

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Tell glibc's malloc to reuse freed blocks of any size instead of returning them to the system.

    Other allocators and systems are left as they are. It concerns the whole process, so the command line does it
    and the library never does.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
