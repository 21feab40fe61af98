"""Times in turns, and bytes."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def interleaved(
    calls: Mapping[str, Sequence[Callable[[], Any]]], warm_up: int, passes: int, device: torch.device
) -> dict[str, list[float]]:
    """Milliseconds of every pass, by name: A B C A B C ..., so that what disturbs the machine disturbs all alike.

    Args:
        calls: what is timed; several of a name are taken in turns.
        warm_up: first rounds that do not count.
        passes: rounds that count.
        device: waited for after every call.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(warm_up + passes):
        for name, turns in calls.items():
            call = turns[i % len(turns)]
            started = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if i >= warm_up:
                times[name].append(1e3 * (time.perf_counter() - started))
    return times


def spread(values: Sequence[float]) -> tuple[float, list[float]]:
    """(median, [lower quartile, upper quartile])."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return round(statistics.median(values), 4), [round(quartiles[0], 4), round(quartiles[2], 4)]


@torch.no_grad()
def transient(call: Callable[[], Any], device: torch.device) -> int:
    """Bytes that torch allocates in one call at most at a time, beyond what was there before."""
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
    with _quiet(), profile:
        call()
    results: Any = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [(e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]"]
    now = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        now += size
        peak = max(peak, now)
    return peak


@contextmanager
def _quiet() -> Iterator[None]:
    """The profiler's own library reports its start and stop on stderr, past Python: not within the block."""
    sys.stderr.flush()
    usual = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(usual, 2)
        os.close(usual)


def held(things: Any) -> int:
    """Bytes of all tensors in ``things``, each storage once."""
    sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(things)}
    return sum(sizes.values())


def _tensors(thing: Any) -> Iterator[Tensor]:
    inside: Iterable[Any] = ()
    if isinstance(thing, Tensor):
        if thing.layout == torch.strided:
            yield thing
        elif thing.layout == torch.sparse_csr:
            inside = (thing.crow_indices(), thing.col_indices(), thing.values())
        else:
            inside = (thing._indices(), thing._values())
    elif isinstance(thing, nn.Module):
        derived = (tensor for module in thing.modules() for tensor in getattr(module, "derived", ()))
        inside = (*thing.parameters(), *thing.buffers(), *derived)
    elif is_dataclass(thing) and not isinstance(thing, type):
        inside = [getattr(thing, f.name) for f in fields(thing)]
    elif isinstance(thing, Mapping):
        inside = thing.values()
    elif isinstance(thing, (list, tuple)):
        inside = thing
    for item in inside:
        yield from _tensors(item)
