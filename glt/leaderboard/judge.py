"""One entry, measured, judged and held to its controls: a row of the board."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from glt.leaderboard.check import measured
from glt.leaderboard.claims import Claim, claims, wanted
from glt.leaderboard.entry import Entry
from glt.leaderboard.limits import LIMITS, Limits, NotVerified
from glt.leaderboard.memory import Memory
from glt.leaderboard.ranking import AXES, Row
from glt.leaderboard.rules import Measured, Verdict, verdicts
from glt.leaderboard.scalars import Mark, scalars
from glt.provenance import made_by, provenance
from glt.registry import spec_of
from glt.results import Record


def judge(
    entry: Entry,
    root: Path | None = None,
    limits: Limits = LIMITS,
    *,
    latency: bool = False,
    run_missing: bool = False,
    memory: Memory | None = None,
) -> Row:
    """The row of an entry, without ranks.

    Args:
        entry: it.
        root: where dataset files are.
        limits: what it may ask for.
        latency: also time forward passes.
        run_missing: train mandatory controls that have no record; all of them where somebody else made the entry.
        memory: points that need not be measured again.

    Raises:
        GltError: what cannot be read or built.
        NotVerified: what is not as it says, took too long, or is rejected by a rule.
    """
    known = memory or Memory(None, latency)
    m = measured(entry, root, limits, costs=True, latency=latency, known=known.get, on_point=known.keep)
    said = verdicts(m)
    if out := [v.reason for v in said if v.status == "rejected"]:
        raise NotVerified(out[0])
    believed = run_missing or not entry.foreign
    recorded = () if entry.foreign and run_missing else entry.controls
    controls = [*recorded, *(_missing(m, entry) if run_missing else ())]
    return _row(m, said, claims(m, controls, believed))


def _missing(m: Measured, entry: Entry) -> Iterator[Record]:
    """Train the controls that have no record, or none of our own."""
    from glt.config import controls_of
    from glt.controlled import run_controls
    from glt.subject import Subject

    for path in entry.tickets:
        subject = Subject.of(path)
        if not subject.level or (subject.seed, subject.level) not in m.records:
            continue
        if entry.foreign:  # its folder is not ours to write to
            subject = replace(subject, results=None)
        done = {
            r.get("control")
            for r in entry.controls
            if not entry.foreign and r.get("status") == "ok" and r.get("ticket_sha256") == subject.sha256
        }
        if names := [name for name in wanted(m) if name not in done]:
            yield from run_controls([subject], controls_of(names), m.setting.data)


def _row(m: Measured, said: Sequence[Verdict], found: Sequence[Claim]) -> Row:
    config, data = m.setting.config, m.setting.data
    levels = m.levels()
    dense = [p.test for p in levels[0].values()]
    curves: dict[str, list[Mark]] = {axis: [] for axis in AXES}
    for claim in found:
        points = levels[claim.level].values()
        gaps = tuple(p.test - levels[0][p.seed].test for p in points)
        pair = (claim.graph_sparsity, claim.weight_sparsity)
        curves["graph"].append(Mark(*pair, claim.test, gaps))
        curves["weight"].append(Mark(*pair[::-1], claim.test, gaps))
    base = statistics.fmean(dense)
    kernels = [f"kernel {kernel}" for kernel in sorted({p.kernel for p in m.points} - {""})]
    return Row(
        name=m.entry.name,
        source=m.entry.source,
        author=m.entry.author,
        foreign=m.entry.foreign,
        n_configs=m.entry.n_configs,
        track=m.track,
        dataset=_label(spec_of(config.dataset)),
        backbone=_label(spec_of(config.backbone)),
        method=_label(
            {k: v for k, v in spec_of(config.strategy).items() if k not in ("weight", "temperature", "distil")}
        ),
        split=str(data.get("split")),
        metric=str(data.get("metric", "accuracy")),
        config_id=config.id,
        seeds=len(m.seeds),
        val=statistics.fmean([p.val for p in m.points if p.level] or [0.0]),
        dense=base,
        dense_spread=statistics.stdev(dense) if len(dense) > 1 else 0.0,
        scalars={axis: scalars(marks, base) for axis, marks in curves.items()},
        claims=tuple(found),
        verdicts=tuple(said),
        trained_by=made_by(m.records.values()),
        measured_by=", ".join([made_by([provenance()]), *kernels]),
    )


def _label(spec: Any) -> str:
    """``teddy``, ``csbm (nodes 200)``."""
    if not isinstance(spec, dict):
        return str(spec)
    options = ", ".join(f"{k} {_label(v)}" for k, v in spec.items() if k != "name")
    return f"{spec['name']} ({options})" if options else str(spec["name"])
