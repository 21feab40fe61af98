"""Grid: the experiments of a sweep, from one YAML file."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glt.config import SECTIONS as PIECES
from glt.config import Config, assign, override, read_yaml
from glt.errors import GltError, unknown
from glt.sweeps.points import Point, counted, merged

SECTIONS = ("name", "base", "grid", "include", "exclude", "tune", "tune_seeds")
TUNABLE = ("backbone", "strategy", "train")
"""What candidates may differ in: validation metrics on other data, or at other levels, are not to be compared."""
TUNE_SEEDS = tuple(range(100, 105))

Values = Mapping[str, Any]
"""A value for every axis: ``{"dataset": "cora", "strategy.weight": 10}``."""


@dataclass(frozen=True)
class Grid:
    """Experiments that differ in some options.

    ``base`` is a config as ``glt run`` reads it. ``grid`` maps axes (``dataset``, ``strategy.weight``) to lists of
    values; every combination is an experiment. ``include`` lists more of them, each a mapping of axes to one value;
    ``exclude`` lists mappings of axes to a value or values, and a combination that agrees with all of one of them is
    left out (of a piece with options its name is enough). ``tune`` maps more axes to lists of values: every experiment
    is one of their combinations, see :mod:`glt.sweeps.tune`.

    Attributes:
        name: the folder of the results.
        points: the experiments; where two are the same, they are one, with the seeds and controls of both.
        tune_seeds: on which candidates are compared; no experiment has one of them.
    """

    name: str
    points: tuple[Point, ...]
    tune_seeds: tuple[int, ...] = TUNE_SEEDS

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Grid:
        """A grid from a YAML file; ``overrides`` (``"seeds=2"``) are for every experiment and win.

        Raises:
            GltError: not such a file, or one of its experiments is not possible.
        """
        tree = read_yaml(path, SECTIONS)
        if bad := [key for key in tree if key not in SECTIONS]:
            raise GltError(f"{path}: {unknown('section', bad[0], SECTIONS)}; options of every experiment go under base")
        base, grid, tune = (tree.get(section) or {} for section in ("base", "grid", "tune"))
        for section, value in (("base", base), ("grid", grid), ("tune", tune)):
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                raise GltError(f"{path}: {section} = {value!r} is not a mapping, e.g. {section}: {{backbone: [gcn]}}")
            for axis, values in value.items() if section != "base" else ():
                if not isinstance(values, list) or not values:
                    example = f"e.g. {axis}: [{'first, second' if values == [] else values}]"
                    raise GltError(f"{path}: {section}: {axis} = {values!r} is not a list of values, {example}")
        included, excluded = (_mappings(path, section, tree.get(section)) for section in ("include", "exclude"))
        axes = {*grid, *(axis for choice in included for axis in choice)}
        for rule in excluded:
            for axis in rule:
                if axis not in axes:
                    raise GltError(f"{path}: exclude: {unknown('axis', axis, axes)}")
        for axis in tune:
            if axis.partition(".")[0] not in TUNABLE:
                allowed = f"{', '.join(TUNABLE[:-1])} and {TUNABLE[-1]}"
                raise GltError(f"{path}: tune: {axis!r} cannot be chosen: give options of {allowed}, others under grid")
            if axis in axes:
                section = "grid" if axis in grid else "include"
                raise GltError(f"{path}: axis {axis!r} is under {section} and under tune: leave it in one of them")
        seeds = _tune_seeds(path, tree.get("tune_seeds"), tune)
        choices = list(_combinations(grid)) if grid else []
        choices = [choice for choice in choices if not any(_agrees(choice, rule) for rule in excluded)]
        choices += included
        if not choices and not (grid or included):
            choices = [{}]
        if not choices:
            raise GltError(f"{path}: exclude leaves nothing of the grid")
        same = {axis for axis in choices[0] if all(choice.get(axis) == choices[0][axis] for choice in choices)}
        told = axes - same or axes
        made = [_point(path, {**base, "name": tree["name"]}, choice, told, tune, overrides) for choice in choices]
        for point in made if tune else ():
            if both := [seed for seed in point.config.seeds if seed in seeds]:
                why = f"is one of those that candidates are compared on, {list(seeds)}"
                raise GltError(f"{path}: {point.label}: seed {both[0]} {why}: take other seeds, or set tune_seeds")
        return cls(tree["name"], tuple(counted(merged(made))), seeds)


def _mappings(path: str | Path, section: str, value: Any) -> list[dict[str, Any]]:
    wanted = [] if value is None else value
    if not isinstance(wanted, list) or not all(isinstance(one, Mapping) and one for one in wanted):
        raise GltError(f"{path}: {section} = {value!r} is not a list of mappings, e.g. {section}: [{{backbone: gin}}]")
    return [{str(axis): item for axis, item in one.items()} for one in wanted]


def _agrees(choice: Values, rule: Values) -> bool:
    return all(
        any(choice.get(axis) == value or _name(choice.get(axis)) == value for value in _list(values))
        for axis, values in rule.items()
    )


def _list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, Mapping) else value


def _combinations(axes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the axes' values; of no axis the empty one."""
    return (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def _tune_seeds(path: str | Path, value: Any, tune: Values) -> tuple[int, ...]:
    if value is None:
        return TUNE_SEEDS
    if not tune:
        raise GltError(f"{path}: tune_seeds = {value!r} without tune: say under tune what is chosen on them")
    good = isinstance(value, list) and value and all(type(seed) is int and 0 <= seed < 2**31 for seed in value)
    if not good or len(set(value)) < len(value):
        raise GltError(f"{path}: tune_seeds = {value!r}: give a list of different numbers, e.g. [100, 101, 102]")
    return tuple(value)


def _point(
    path: str | Path,
    base: Values,
    choice: Values,
    told: set[str],
    tune: Mapping[str, list[Any]],
    overrides: Sequence[str],
) -> Point:
    label = _label(choice, told) or str(base["name"])
    if not tune:
        return Point(label, _config(path, base, choice, label, overrides))
    found: dict[str, Point] = {}
    for one in _combinations(tune):
        said = _label(one, set(tune))
        config = _config(path, base, {**choice, **one}, f"{label} {said}", overrides)
        found.setdefault(config.id, Point(said, config))
    first, *others = candidates = tuple(found.values())
    for other in others:
        ours, theirs = _judged(first.config), _judged(other.config)
        if apart := [what for what in ours if ours[what] != theirs[what]]:
            pair = f"{first.label!r} and {other.label!r} differ in {apart[0]}"
            raise GltError(f"{path}: tune: {label}: {pair}, and cannot be compared: put what makes it so under grid")
    if others and not first.config.levels:
        raise GltError(f"{path}: tune: {label} has no level to compare candidates at: exclude it")
    return Point(label, first.config, candidates if others else ())


def _judged(config: Config) -> dict[str, Any]:
    """What validation metrics can only be compared within, by what it is called."""
    return {
        "levels": config.levels,
        "track (train.inductive)": config.train.inductive,
        "track (a teacher on validation nodes, or none)": getattr(config.strategy, "track", "none") == "all",
    }


def _config(path: str | Path, base: Values, choice: Values, label: str, overrides: Sequence[str]) -> Config:
    tree = copy.deepcopy(dict(base))
    said = f"{path}: {label}"
    try:
        for axis in sorted(choice, key=lambda axis: axis.count(".")):  # an option is one of the piece that is chosen
            assign(tree, axis, copy.deepcopy(choice[axis]), said)
        for text in overrides:
            override(tree, text)
        return Config(**tree)
    except GltError as error:
        text = str(error)
        raise GltError(text if text.startswith(("override", said)) else f"{said}: {text}") from None


def _label(choice: Values, told: set[str]) -> str:
    return " ".join(_said(axis, choice[axis]) for axis in choice if axis in told)


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
