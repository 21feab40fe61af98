"""What glt bench measured, beside the records of the tickets it measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from glt.results import Record

FIELDS = {"compact": "latency_ms", "dense": "latency_dense_ms"}
"""The field of a ticket's record that a measured variant goes to: the compact ticket, and the dense model."""


def is_latency(record: Record) -> bool:
    """Whether it is glt bench's, of a whole graph."""
    number = record.get("ms")
    timed = isinstance(number, (int, float)) and not isinstance(number, bool)
    return record.get("benchmark") == "latency" and timed and isinstance(record.get("target"), str)


def latencies(records: Iterable[Record]) -> dict[Path, Record]:
    """Fields by ticket file, from records of :func:`is_latency`; of a variant measured twice the last one counts."""
    found: dict[Path, Record] = {}
    for record in records:
        name = FIELDS.get(str(record.get("variant")))
        if name and record.get("hops") is None:
            found.setdefault(Path(record["target"]).resolve(), {})[name] = record["ms"]
    return found


def ticket_file(folder: Path, record: Record) -> Path:
    """Where glt run writes a record's ticket, with the records in ``folder``."""
    return folder / str(record.get("config_id")) / f"seed{record['seed']}" / f"level{record['level']:02d}.safetensors"


def with_latencies(records: Iterable[tuple[Path, Record]], found: dict[Path, Record]) -> list[tuple[Path, Record]]:
    """The records with what was measured of their tickets."""
    made = []
    for folder, record in records:
        own = {} if record.get("control") or not found else found.get(ticket_file(folder, record).resolve(), {})
        made.append((folder, {**record, **own}))
    return made
