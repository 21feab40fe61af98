"""Which records there are of every configuration of ``accuracy.py``, and of the controls of its tickets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from accuracy import compared, experiments
from wording import SEEDS

from glt.results import Record
from glt.summary import Row, summarise

LEVELS = (5, 10, 15, 20)
BY_LEVEL = {"width_matched": "narrower dense network"}
BY_PLACE = {"mlp": "MLP, no graph", "mlp_distilled": "MLP, no graph"}
BY_METHOD = {"shuffled": "weights shuffled", "reinitialised": "other initial weights"}
"""Controls that depend on the level; on place and teacher alone; on the method."""

CONTROLLED = ("teddy", "ugs", "imp")
"""Methods with tickets that are controlled; random is a control itself."""

Where = tuple[str, str, str, str]
"""(method, teacher, dataset, backbone)"""
Point = dict[int, Record]
"""Finished records by seed."""


def wanted(method: str, teacher: str) -> dict[int, list[str]]:
    """Controls by level; what does not depend on a method is controlled once, by TEDDY's tickets."""
    if method not in CONTROLLED:
        return {}
    levels: dict[int, list[str]] = {level: list(BY_LEVEL) for level in LEVELS} if method == "teddy" else {}
    mlp = ["mlp" if teacher == "alone" else "mlp_distilled"] if method == "teddy" else []
    return {**levels, LEVELS[-1]: [*levels.get(LEVELS[-1], []), *mlp, *BY_METHOD]}


class Found:
    """Finished records by configuration, level and seed.

    Levels of a schedule are told apart by their numbers: a configuration with others of them is the same search.

    Args:
        records: of ``accuracy.py``.
        controls: of ``controls.py``.

    Attributes:
        records: those of both that are finished and of a known configuration.
    """

    def __init__(self, records: Iterable[Record], controls: Iterable[Record] = ()) -> None:
        self._kin = {name: _kin(config.spec()) for name, config in experiments().items()}
        self.records: list[Record] = []
        self._points: dict[tuple[str, str | None, int], Point] = {}
        self._failed: dict[tuple[str, str | None, int], set[int]] = {}
        known = set(self._kin.values())
        for record in (*records, *controls):
            key = _kin(record["config"]), record.get("control"), record["level"]
            if record["status"] == "ok":
                self.records += [record] if key[0] in known else []
                self._points.setdefault(key, {})[record["seed"]] = record
                self._failed.get(key, set()).discard(record["seed"])
            else:
                self._failed.setdefault(key, set()).add(record["seed"])

    def point(self, where: Where, level: int, control: str | None = None) -> Point:
        """Records of one point; none of them unless enough seeds are there.

        Args:
            where: which method, by what teacher, on what.
            level: 0 is dense.
            control: the control of that point's ticket, instead of the ticket.
        """
        found = self._points.get((self._kin[compared(*where)], control, level), {})
        return found if len(found) >= SEEDS else {}

    def failed(self, where: Where, level: int) -> int:
        """How many seeds failed and were not mended."""
        return len(self._failed.get((self._kin[compared(*where)], None, level), ()))

    def row(self, where: Where, level: int, control: str | None = None) -> Row | None:
        """The point over its seeds."""
        records = self.point(where, level, control)
        return summarise([{**r, "control": None} for r in records.values()])[0] if records else None

    def shared_controls(self, teacher: str, dataset: str, backbone: str, level: int) -> dict[str, Point]:
        """The controls at a level that are the same for every method, by what they are called."""
        where = ("teddy", teacher, dataset, backbone)
        named = [(title, self.point(where, level, name)) for name, title in BY_LEVEL.items()]
        named += [(title, self.point(where, LEVELS[-1], name)) for name, title in BY_PLACE.items()]
        return {title: point for title, point in named if point}

    def controls(self, where: Where, level: int) -> dict[str, Point]:
        """All that a method has at a level, by what they are called."""
        own = {title: self.point(where, level, name) for name, title in BY_METHOD.items()}
        return self.shared_controls(*where[1:], level) | {title: point for title, point in own.items() if point}

    def best_control(self, where: Where, level: int) -> tuple[str, Point] | None:
        """(what it is called, records) of the control with the best mean; random edges and weights are one."""
        _, *place = where
        named = self.controls(where, level)
        if where[0] != "random" and (point := self.point(("random", *place), level)):
            named["random"] = point
        return max(named.items(), key=lambda item: sum(tests(item[1]).values()) / len(item[1])) if named else None


def tests(point: Point, key: str = "test") -> dict[int, float]:
    """The test metric by seed."""
    return {seed: record[key] for seed, record in point.items()}


def _kin(spec: Mapping[str, Any]) -> str:
    schedule = {option: value for option, value in spec["schedule"].items() if option != "levels"}
    return json.dumps({**spec, "schedule": schedule}, sort_keys=True)
