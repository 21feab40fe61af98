"""What becomes of a point of an experiment: its ticket written, its record appended."""

from __future__ import annotations

import warnings
from pathlib import Path

from glt.config import Config
from glt.cost import multiply_adds
from glt.errors import GltWarning
from glt.inductive import track_of
from glt.initial import NoSeed
from glt.layout import Run
from glt.measured import measured
from glt.problem import Problem
from glt.provenance import provenance
from glt.results import Record
from glt.schedules.level import Level
from glt.ticket import Ticket


def save(run: Run, problem: Problem, level: Level, ticket: Ticket, peak_mb: float | None = None) -> Record:
    """Write the ticket, then its record: a kill in between costs the record alone, which comes again."""
    path = run.path(problem.seed, level.number)
    ticket.metrics |= {"dense_val": problem.dense.val, "dense_test": problem.dense.test}
    sha256 = _written(ticket, path, run.config.initial)
    record = {
        **_about(run, problem, level),
        "track": track_of(problem.config, getattr(run.config.strategy, "track", "none") if level.number else "none"),
        **measured(problem, ticket, peak_mb),
        **multiply_adds(ticket, problem.model(), problem.whole),
        "ticket_bytes": path.stat().st_size,
        "ticket_sha256": sha256,
        **provenance(problem.data.x.device),
        "status": "ok",
    }
    run.results.append(record)
    return record


def _written(ticket: Ticket, path: Path, initial: bool) -> str:
    """The digest of the file, with the initial weights where they are wanted, or no seed gives them."""
    try:
        return ticket.save(path, initial=initial)
    except NoSeed:
        text = "initial: false: tickets whose initial weights no seed gives (rewind_to above 0) hold them all the same"
        warnings.warn(text, GltWarning, stacklevel=2)
        return ticket.save(path)


def fail(run: Run, problem: Problem, level: Level, error: Exception) -> Record:
    """Record that a training failed, and why."""
    record = {
        **_about(run, problem, level),
        **provenance(problem.data.x.device),
        "status": "failed",
        "error": str(error),
    }
    run.results.append(record)
    return record


def _about(run: Run, problem: Problem, level: Level) -> Record:
    known = {} if run.n_configs is None else {"n_configs": run.n_configs}
    return point(run.config, problem.seed, level.number, problem.data.split) | known


def point(config: Config, seed: int, level: int, split: str | None) -> Record:
    """Which point of which experiment a record is about."""
    return {
        "config_id": config.id,
        "method": config.strategy.name if level else "dense",
        "backbone": config.backbone.name,
        "dataset": config.dataset.name,
        "split": split,
        "task": "node",
        "seed": seed,
        "level": level,
        "config": config.spec(),
    }
