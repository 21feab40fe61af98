"""Points that were measured before."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import torch
import torch_geometric
from pydantic import TypeAdapter, ValidationError

from glt.leaderboard.measure import Point
from glt.results import Results
from glt.version import __version__

ASIDE = ("bench", "commands", "report", "sweeps")
"""Folders of the package in which nothing is measured."""


class Memory:
    """Points by the sha256 of their files, as far as this very code measured them.

    Args:
        results: where they are kept; None: nowhere.
        latency: whether only those count whose forward passes were timed.
        writes: whether new ones are written there at once.
    """

    def __init__(self, results: Results | None, latency: bool, writes: bool = True) -> None:
        self.results, self.writes = results, writes
        self.points: dict[str, Point] = {}
        self.fresh: list[Point] = []
        point_of = TypeAdapter(Point).validate_python
        for record in results or ():
            if record.get("measurer") != measurer():
                continue
            try:
                point = point_of(record.get("point"))
            except ValidationError:
                continue
            if point.macs and (point.latency_ms or not latency):
                self.points[point.file_sha256] = point

    def get(self, file_sha256: str) -> Point | None:
        """The point of a file, if it is known."""
        return self.points.get(file_sha256)

    def keep(self, point: Point) -> None:
        """Remember a point."""
        if point.file_sha256 not in self.points:
            self.fresh.append(point)
            if self.results and self.writes:
                self.results.append({"glt": __version__, "measurer": measurer(), "point": point.tree()})
        self.points[point.file_sha256] = point


@functools.cache
def measurer() -> str:
    """Of the code that measures: all of the package but :data:`ASIDE`, and the versions of what it computes with."""
    package = Path(__file__).resolve().parent.parent
    total = hashlib.sha256(f"{torch.__version__} {torch_geometric.__version__}".encode())
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in ASIDE:
            total.update(f"{name.as_posix()}\n".encode() + file.read_bytes())
    return total.hexdigest()[:16]
