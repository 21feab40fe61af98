"""The machine that a command computes on."""

from __future__ import annotations

import os


def use(device: str, threads: int | None, deterministic: bool = False) -> None:
    """Check the device, set the threads, keep freed memory for the trainings to come, and warn in one line.

    ``deterministic`` makes torch use deterministic algorithms on a device other than the CPU, which has them anyway; an
    operation without one is then an error.

    Raises:
        GltError: no such device here.
    """
    import torch

    from glt.allocator import keep_freed_memory
    from glt.errors import GltError, warn_plainly

    warn_plainly()
    keep_freed_memory()
    devices = ["cpu", "cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in devices or (device != "cpu" and not torch.cuda.is_available()):
        raise GltError(f"device {device!r} is not available here; use cpu")
    if deterministic and device != "cpu":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
    if threads:
        torch.set_num_threads(threads)
