"""Grid: the experiments of a sweep, from one YAML file."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glt.config import SECTIONS as PIECES
from glt.config import Config, assign, override, read_yaml
from glt.errors import GltError, unknown

SECTIONS = ("name", "base", "grid", "include", "exclude")

Choice = Mapping[str, Any]
"""A value for every axis: ``{"dataset": "cora", "strategy.weight": 10}``."""


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep, and what tells it from the others."""

    label: str
    config: Config


@dataclass(frozen=True)
class Grid:
    """Experiments that differ in some options.

    ``base`` is a config as ``glt run`` reads it. ``grid`` maps axes (``dataset``, ``strategy.weight``) to lists of
    values; every combination is an experiment. ``include`` lists more of them, each a mapping of axes to one value;
    ``exclude`` lists mappings of axes to a value or values, and a combination that agrees with all of one of them is
    left out (of a piece with options its name is enough).

    Attributes:
        name: the folder of the results.
        points: the experiments; where two are the same, they are one, with the seeds and controls of both.
    """

    name: str
    points: tuple[Point, ...]

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Grid:
        """A grid from a YAML file; ``overrides`` (``"seeds=2"``) are for every experiment and win.

        Raises:
            GltError: not such a file, or one of its experiments is not possible.
        """
        tree = read_yaml(path, SECTIONS)
        if bad := [key for key in tree if key not in SECTIONS]:
            raise GltError(f"{path}: {unknown('section', bad[0], SECTIONS)}; options of every experiment go under base")
        base, grid = tree.get("base") or {}, tree.get("grid") or {}
        for section, value in (("base", base), ("grid", grid)):
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                raise GltError(f"{path}: {section} = {value!r} is not a mapping, e.g. {section}: {{dataset: [cora]}}")
        for axis, values in grid.items():
            if not isinstance(values, list) or not values:
                raise GltError(f"{path}: grid: {axis} = {values!r} is not a list of values, e.g. {axis}: [{values}]")
        included, excluded = (_mappings(path, section, tree.get(section)) for section in ("include", "exclude"))
        axes = {*grid, *(axis for choice in included for axis in choice)}
        for rule in excluded:
            for axis in rule:
                if axis not in axes:
                    raise GltError(f"{path}: exclude: {unknown('axis', axis, axes)}")
        choices = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()) if grid]
        choices = [choice for choice in choices if not any(_agrees(choice, rule) for rule in excluded)]
        choices += included
        if not choices and not (grid or included):
            choices = [{}]
        if not choices:
            raise GltError(f"{path}: exclude leaves nothing of the grid")
        same = {axis for axis in choices[0] if all(choice.get(axis) == choices[0][axis] for choice in choices)}
        told = axes - same or axes
        made = (_point(path, {**base, "name": tree["name"]}, choice, told, overrides) for choice in choices)
        return cls(tree["name"], tuple(_merged(made)))


def _mappings(path: str | Path, section: str, value: Any) -> list[dict[str, Any]]:
    wanted = [] if value is None else value
    if not isinstance(wanted, list) or not all(isinstance(one, Mapping) and one for one in wanted):
        raise GltError(f"{path}: {section} = {value!r} is not a list of mappings, e.g. {section}: [{{backbone: gin}}]")
    return [{str(axis): item for axis, item in one.items()} for one in wanted]


def _agrees(choice: Choice, rule: Choice) -> bool:
    return all(
        any(choice.get(axis) == value or _name(choice.get(axis)) == value for value in _list(values))
        for axis, values in rule.items()
    )


def _list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, Mapping) else value


def _point(path: str | Path, base: Choice, choice: Choice, told: set[str], overrides: Sequence[str]) -> Point:
    label = " ".join(_said(axis, choice[axis]) for axis in choice if axis in told) or str(base["name"])
    tree = copy.deepcopy(dict(base))
    said = f"{path}: {label}"
    try:
        for axis in sorted(choice, key=lambda axis: "." in axis):  # an option is one of the piece that is chosen
            assign(tree, axis, copy.deepcopy(choice[axis]), said)
        for text in overrides:
            override(tree, text)
        return Point(label, Config(**tree))
    except GltError as error:
        text = str(error)
        raise GltError(text if text.startswith(("override", said)) else f"{said}: {text}") from None


def _said(axis: str, value: Any) -> str:
    """``"cora"``, ``"gin(hidden=8)"``; of what is not a piece ``"strategy.weight=10"``."""
    if axis in PIECES and isinstance(value, str):
        return value
    if axis in PIECES and isinstance(value, Mapping) and "name" in value:
        options = ", ".join(f"{key}={_short(option)}" for key, option in value.items() if key != "name")
        return f"{value['name']}({options})" if options else str(value["name"])
    return f"{axis}={_short(value)}"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).replace('"', "")


def _merged(points: Iterable[Point]) -> Iterable[Point]:
    """One point per experiment, in order."""
    found: dict[str, Point] = {}
    for point in points:
        config, before = point.config, found.setdefault(point.config.id, point)
        both = before.config
        seeds = (*both.seeds, *(seed for seed in config.seeds if seed not in both.seeds))
        controls = (*both.controls, *(piece for piece in config.controls if piece not in both.controls))
        if (seeds, controls) != (both.seeds, both.controls):
            found[config.id] = replace(before, config=replace(both, seeds=seeds, controls=controls))
    return found.values()
