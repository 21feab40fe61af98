"""In which form weights are stored: the fastest exact one, by measuring on the device at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from glt.compact.graphs import Csr, Prepared
from glt.compact.ops import Linear
from glt.errors import GltError, unknown

FORMS = ("dense", "csr")
CHOICES = ("auto", *FORMS)
REPEATS = 5
HOPELESS = 0.5
"""CSR is not tried where more of the entries than this are there."""


def choose(step: Linear, x: Any, graph: Prepared, storage: str) -> tuple[Linear, dict[str, float]]:
    """``step`` with its weight in the cheapest form, and what was measured (ms by form; nothing if not measured).

    Args:
        step: a linear step with a dense weight.
        x: its input, as it will be.
        graph: the graph it runs on.
        storage: ``auto`` measures; ``dense`` and ``csr`` force a form. Sparse features always meet dense weights.

    Raises:
        GltError: an unknown form.
    """
    if storage not in CHOICES:
        raise GltError(unknown("storage", storage, CHOICES))
    if isinstance(x, Csr):
        return step.stored("dense", transposed=True), {}
    if storage != "auto":
        return step.stored(storage), {}
    weight = step.get_buffer("weight")
    forms = {"dense": step.stored("dense")}
    if int(weight.count_nonzero()) <= HOPELESS * weight.numel() and weight.dtype.is_floating_point:
        forms["csr"] = step.stored("csr")
    if len(forms) == 1:
        return forms["dense"], {}
    times = {form: milliseconds(partial(made.run, graph, x), x.device) for form, made in forms.items()}
    return forms[min(times, key=lambda form: times[form])], times


def milliseconds(call: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Median time of ``call`` after one run to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])
