"""The machine that a command computes on."""

from __future__ import annotations


def use(device: str, threads: int | None) -> None:
    """Check the device, set the threads, and keep freed memory for the trainings to come.

    Raises:
        GltError: no such device here.
    """
    import torch

    from glt.allocator import keep_freed_memory
    from glt.errors import GltError

    keep_freed_memory()
    devices = ["cpu", "cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in devices or (device != "cpu" and not torch.cuda.is_available()):
        raise GltError(f"device {device!r} is not available here; use cpu")
    if threads:
        torch.set_num_threads(threads)
