"""In which form weights are multiplied: the fastest exact one, by measuring on the device at hand.

In which form a file holds them is another matter: the smallest (:mod:`glt.compact.weights`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from glt.compact.exact import difference, tolerance
from glt.compact.graphs import Csr, Prepared
from glt.compact.ops import Linear
from glt.compact.ops.linear import FORMS
from glt.compact.two_four import capable
from glt.errors import GltError, unknown

CHOICES = ("auto", *FORMS)
REPEATS = 5
HOPELESS = 0.5
"""CSR is not tried where more of the entries than this are there."""
SPARSE = "not measured: sparse features are multiplied with dense weights alone"


def choose(step: Linear, x: Any, graph: Prepared, storage: str) -> tuple[Linear, str]:
    """``step`` with its weight in the fastest form, and what was measured, or why a form was passed over; or nothing.

    Args:
        step: a linear step with a dense weight.
        x: its input, as it will be.
        graph: the graph it runs on.
        storage: ``auto`` measures; a form forces it on all weights that have it. Sparse features always meet dense
            weights.

    Raises:
        GltError: an unknown form, or 2:4 where the device has no such kernel.
    """
    if storage not in CHOICES:
        raise GltError(unknown("storage", storage, CHOICES))
    if isinstance(x, Csr):
        return _dense(step, transposed=True), SPARSE
    if storage == "2:4" and not capable(x.device, step.weight.dtype):
        kind = str(step.weight.dtype).removeprefix("torch.")
        raise GltError(
            f"storage '2:4' needs a CUDA device of compute capability 8.0 and weights in float16, bfloat16 or float32; "
            f"here are {kind} on {x.device.type}: take 'auto'"
        )
    dense = _dense(step)
    forms: dict[str, Linear] = {"dense": dense}
    if storage in ("dense", "csr"):
        return step.stored(storage) or dense, ""
    tried = {"2:4": step.stored("2:4") if capable(x.device, step.weight.dtype) else None}
    share = int(step.weight.count_nonzero()) / max(step.weight.numel(), 1)
    notes: list[str] = []
    if storage == "auto" and share <= HOPELESS:
        tried = {"csr": step.stored("csr"), **tried}
    elif storage == "auto":
        notes += [f"csr not tried: {share:.0%} of it is there"]
    for form, made in tried.items():
        if made is not None:
            why = _fault(made, dense, graph, x)
            notes += [f"{form} {why}"] if why else []
            forms |= {} if why else {form: made}
    if storage != "auto" or len(forms) == 1:
        return forms.get(storage, dense), "; ".join(notes)
    times = {form: milliseconds(partial(made.run, graph, x), x.device) for form, made in forms.items()}
    best = min(times, key=lambda form: times[form])
    return forms[best], "; ".join([*(f"{form} {ms:.3g} ms" for form, ms in times.items()), *notes])


def _dense(step: Linear, transposed: bool = False) -> Linear:
    made = step.stored("dense", transposed)
    assert made is not None
    return made


def _fault(made: Linear, dense: Linear, graph: Prepared, x: Any) -> str:
    """Why a form cannot be used; ``""`` where it can. Some kernels round float32 to fewer digits."""
    try:
        error = difference(made.run(graph, x), dense.run(graph, x))
    except (RuntimeError, NotImplementedError) as reason:
        return f"failed ({' '.join(str(reason).split())[:80]})"
    return "" if error <= tolerance(x.dtype) else f"differs by {error:.0e}"


def milliseconds(call: Callable[[], Any], device: torch.device, repeats: int = REPEATS) -> float:
    """Median time of ``call`` after one run to warm up."""
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:])
