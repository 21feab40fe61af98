"""What a measurement needs from the machine: its copy bandwidth, peak memory, and a file of results."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from glt.files import atomic
from glt.results import Record, Results

IDENTITY = ("benchmark", "parameters", "device", "threads")
"""Fields that say what was measured where: new records replace those that agree in all of them."""


def timed(function: Callable[[], Any], device: str = "cpu") -> tuple[float, Any]:
    """(milliseconds, result) of one call, until ``device`` has done it."""
    wait(device)
    started = time.perf_counter()
    result = function()
    wait(device)
    return (time.perf_counter() - started) * 1e3, result


def wait(device: str) -> None:
    """Until ``device`` has done what it was asked for."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def median_iqr(values: Sequence[float]) -> tuple[float, list[float]]:
    """(median, [lower quartile, upper quartile]) of at least one value."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return round(statistics.median(values), 4), [round(quartiles[0], 4), round(quartiles[2], 4)]


def bandwidth(megabytes: int = 512, repetitions: int = 9, device: str = "cpu") -> dict[str, float]:
    """Bytes read plus bytes written per second, GB/s, of copying a tensor larger than the caches.

    Returns:
        ``copy_gb_s``: into memory that the process has already touched, the hardware's limit and the one that
        fractions of the floor refer to; ``clone_gb_s``: ``tensor.clone()``, which also waits for the system to
        hand out fresh pages, as every operation that returns a large new tensor does.
    """
    source = torch.ones(megabytes * 2**17, dtype=torch.int64, device=device)
    into = source.clone()
    bytes_moved = 2 * source.numel() * source.element_size()
    copy = [timed(partial(into.copy_, source), device)[0] for _ in range(repetitions)]
    del into
    clone = [timed(source.clone, device)[0] for _ in range(repetitions)]
    return {
        "copy_gb_s": round(bytes_moved / median_iqr(copy)[0] / 1e6, 2),
        "clone_gb_s": round(bytes_moved / median_iqr(clone)[0] / 1e6, 2),
    }


def least_bytes(rows: int, entries: int, width: int) -> int:
    """Bytes that a product of a square CSR matrix and a dense float32 one of ``width`` columns moves at least.

    Row pointers and column indices (int64) and values are read once, every dense row is read once and written once.
    """
    return 8 * (rows + 1) + (8 + 4) * entries + 2 * 4 * rows * width


def resident() -> tuple[int, int]:
    """(resident bytes now, their peak so far) of this process.

    On Linux both come from ``/proc/self/status``. Its peak belongs to the program that runs now, whereas
    ``ru_maxrss`` starts at the footprint of the process that started this one. Elsewhere only ``ru_maxrss`` is
    to be had, and stands for both: right as long as memory has only grown before the first reading.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        if "VmRSS" in fields and "VmHWM" in fields:
            return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return peak, peak


def replace_records(path: Path, fresh: Iterable[Record]) -> None:
    """Write ``fresh`` records into a JSONL file, in the place of those that measured the same thing.

    The file is replaced at once: it is never seen half written.
    """
    fresh = list(fresh)
    same = {identity(record) for record in fresh}
    kept = [record for record in Results(path) if identity(record) not in same]
    with atomic(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in [*kept, *fresh]))


def identity(record: Record) -> str:
    """The values of :data:`IDENTITY` as one string."""
    return json.dumps([record.get(field) for field in IDENTITY], sort_keys=True)
