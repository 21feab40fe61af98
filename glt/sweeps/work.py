"""What a worker does: one unit, recorded whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from glt.errors import in_a_line
from glt.kernels.choice import use
from glt.outcomes import point
from glt.pipeline import run
from glt.provenance import provenance
from glt.results import Results
from glt.sweeps.status import Status
from glt.sweeps.units import Unit


@dataclass(frozen=True)
class Place:
    """Where units are worked on, the same for all of them.

    Attributes:
        folder: the sweep's; ``status/`` and ``units.jsonl`` are in it.
        invocation: marks the ends of units that were written for this call of the command.
        root: where dataset files are.
        device: ``"cpu"`` or ``"cuda"``.
        kernel: how sparse products are computed.
        prepare: called first: threads, allocator.
    """

    folder: Path
    invocation: str
    root: Path | None = None
    device: str = "cpu"
    kernel: str = "auto"
    prepare: Callable[[], None] = lambda: None

    @property
    def status(self) -> Path:
        """Folder of :class:`~glt.sweeps.status.Status`."""
        return self.folder / "status"

    @property
    def ends(self) -> Results:
        """A line for every unit that came to an end."""
        return Results(self.folder / "units.jsonl")


def work(unit: Unit, place: Place) -> None:
    """Do what is left of a unit; an error of any kind is recorded: in the unit's end, and for every level left undone.

    One process at a time works on a unit, so that what a killed sweep has left running is not done twice.
    """
    place.status.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(place.status / f"{unit.name}.lock"),
        Status(place.status, unit.name, unit.label, unit.seed) as status,
    ):
        place.prepare()
        started, state, why = time.perf_counter(), "ok", None
        try:
            with use(place.kernel):
                for record in run(unit.run, place.root, place.device, status):
                    if record["status"] == "failed":
                        state = "failed"
        except Exception as error:
            state, why = "failed", in_a_line(error)
            lose(unit, state, why, place.device)
        end(unit, place, state, time.perf_counter() - started, status.epochs, why)


def end(unit: Unit, place: Place, state: str, seconds: float = 0.0, epochs: int = 0, why: str | None = None) -> None:
    """Note that nothing more will be done for a unit in this call, and the error that ended it, if one did."""
    place.ends.append(
        {
            "unit": unit.name,
            "invocation": place.invocation,
            "status": state,
            "controls": unit.controls,
            "seconds": round(seconds, 3),
            "epochs": epochs,
            **({"error": why} if why else {}),
        }
    )


def lose(unit: Unit, state: str, why: str, device: str) -> None:
    """Record every level that is not there yet as ``failed`` or ``killed``."""
    there = unit.run.records(unit.seed)
    for level in unit.levels:
        if level not in there:
            about = point(unit.run.config, unit.seed, level, None)
            unit.run.results.append({**about, **provenance(device), "status": state, "error": why})
