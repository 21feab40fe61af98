"""The benchmark of one ticket, or of exported files: records of every variant and query."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.bench.measure import held, interleaved, spread, transient
from glt.bench.queries import Query
from glt.bench.variants import Case, Runner, Unsupported, Variant, called, variants
from glt.errors import GltError, unknown
from glt.kernels import recording
from glt.provenance import provenance
from glt.results import Record

TOLERANCE = 1e-3
BASE = "stock PyG"
OWN = "name it after the ticket that it was exported from, or alone"


def bench(
    case: Case,
    queries: Sequence[Query],
    warm_up: int = 20,
    passes: int = 100,
    names: Sequence[str] | None = None,
    others: Mapping[str, Runner] | None = None,
) -> list[Record]:
    """A record per query and variant; ``ratio`` is how many times as fast as stock PyG.

    Args:
        case: the ticket.
        queries: what is asked.
        warm_up: rounds that do not count; see :func:`glt.bench.measure.interleaved`.
        passes: rounds that do.
        names: variants (default: all); stock PyG is always among them.
        others: further runners of the ticket for the whole graph, such as exported files.

    Raises:
        GltError: an unknown variant; variants, or others, that should give the same logits do not.
    """
    known = variants()
    if wrong := [name for name in names or () if name not in known]:
        raise GltError(unknown("variant", wrong[0], list(known)))
    _check_others(case, others or {})
    chosen = {n: v for n, v in known.items() if names is None or n in (BASE, *names)}
    built: dict[str, Callable[[Data], Runner]] = {}
    notes: dict[str, str] = {}
    for name, variant in chosen.items():
        try:
            built[name] = variant.make(case)
        except Unsupported as reason:
            notes[name] = str(reason)
    records = []
    for query in queries:
        ready, prepare = _ready(query, chosen, built)
        whole = query.hops is None
        ready |= {name: [runner] for name, runner in (others or {}).items()} if whole else {}
        _check(query, chosen, ready)
        asked = {"query": query.name, "targets": query.targets, "hops": query.hops}
        found = _measured(ready, query.targets, warm_up, passes, case.data.x.device, BASE)
        for name in dict.fromkeys((*chosen, *ready)):
            record: Record = {"variant": name, **asked, **found.get(name, {})}
            if name in notes:
                record["note"] = notes[name]
            elif name in chosen:
                record["prepare_ms"] = prepare[name]
                record["neighbourhood"] = None if whole else round(query.sizes[chosen[name].graph], 1)
            records.append({**record, **provenance(case.data.x.device)})
    return records


def alone(runners: Mapping[str, Runner], warm_up: int, passes: int, device: str) -> list[Record]:
    """Records of runners without a ticket, such as exported files; ratios are to the first."""
    where = torch.device(device)
    with torch.no_grad():
        nodes = int(next(iter(runners.values())).call().size(0))
    found = _measured({n: [r] for n, r in runners.items()}, nodes, warm_up, passes, where, next(iter(runners)))
    asked = {"query": "full graph", "targets": nodes, "hops": None}
    return [{"variant": name, **asked, **values, **provenance(where)} for name, values in found.items()]


def _ready(
    query: Query, chosen: Mapping[str, Variant], built: Mapping[str, Callable[[Data], Runner]]
) -> tuple[dict[str, list[Runner]], dict[str, float]]:
    """Every variant on every graph of a query, and what making it ready took, ms."""
    ready: dict[str, list[Runner]] = {}
    prepare: dict[str, float] = {}
    for name, make in built.items():
        ready[name], times = [], []
        for graph in query.graphs[chosen[name].graph]:
            started = time.perf_counter()
            ready[name].append(make(graph))
            times.append(1e3 * (time.perf_counter() - started))
        prepare[name] = spread(times)[0]
    return ready, prepare


def _measured(
    ready: Mapping[str, Sequence[Runner]], targets: int, warm_up: int, passes: int, device: torch.device, base: str
) -> dict[str, Record]:
    """The measured fields of a record, by name."""
    found: dict[str, Record] = {}
    for name, runners in ready.items():
        with recording() as seen, torch.no_grad():
            runners[0].call()
        kept = None if runners[0].held is None else held(runners[0].held)
        peak = None if kept is None else kept + transient(runners[0].call, device)
        found[name] = {"kernel": "+".join(sorted(seen)), "held_mb": _mb(kept), "peak_mb": _mb(peak)}
    measured = interleaved({n: [r.call for r in runners] for n, runners in ready.items()}, warm_up, passes, device)
    usual = spread(measured[base])[0]
    for name, times in measured.items():
        median, iqr = spread(times)
        found[name] |= {
            "unit": "ms",
            "ms": median,
            "ms_iqr": iqr,
            "ratio": round(usual / median, 3),
            "nodes_per_s": round(1e3 * targets / median, 1),
            "passes": passes,
            "warm_up": warm_up,
        }
    return found


def _mb(size: int | None) -> float | None:
    return None if size is None else round(size / 1e6, 3)


@torch.no_grad()
def _check(query: Query, chosen: Mapping[str, Variant], ready: Mapping[str, Sequence[Runner]]) -> None:
    """Whoever should give the same logits does."""
    for name, runners in ready.items():
        same = chosen[name].same if name in chosen else ""
        if same not in ready:
            continue
        at: Any = slice(None) if query.at is None else query.at[chosen[name].graph][0]
        if not _close(runners[0].call()[at], ready[same][0].call()[at]):
            raise GltError(f"{name} and {same} give different logits for {query.name}: this is a fault of glt's")


@torch.no_grad()
def _check_others(case: Case, others: Mapping[str, Runner]) -> None:
    """They are the ticket's own: what they give is what the masked model gives."""
    wanted = called(case.masked(), case.sub, False).call() if others else None
    for name, runner in others.items():
        try:
            logits = runner.call()
        except Exception as error:  # of whatever runs the file
            reason = " ".join(str(error).split())[:100]
            raise GltError(
                f"{name} does not run beside this ticket ({type(error).__name__}: {reason}): {OWN}"
            ) from None
        assert wanted is not None
        if logits.shape != wanted.shape or not _close(logits, wanted):
            raise GltError(f"{name} and the ticket named before it give different logits: {OWN}")


def _close(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) <= TOLERANCE * max(float(other.abs().max()), 1e-30)
