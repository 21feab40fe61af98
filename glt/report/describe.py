"""What a record says of its experiment: what tells it from others, and what a reader knows it by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from glt.errors import GltError
from glt.inductive import TRACK
from glt.registry import build
from glt.results import Record

NAMES = ("dataset", "backbone", "method")


def experiment_of(record: Record) -> str:
    """What tells experiments apart: the config, whichever of its schedule's levels were asked for.

    Of a dense record only what the dense training depends on, so that experiments share it.
    """
    config: Mapping[str, Any] = record.get("config") or {}
    if not config:
        return json.dumps([record.get("config_id"), *(record[name] for name in NAMES)])
    parts = {part: value for part, value in config.items() if part not in ("config_id", "seed", "level")}
    if not record["level"] and not record.get("control"):
        parts = {part: value for part, value in parts.items() if part not in ("strategy", "schedule")}
    elif isinstance(parts.get("schedule"), dict):
        parts["schedule"] = {key: value for key, value in parts["schedule"].items() if key != "levels"}
    return json.dumps(parts, sort_keys=True)


def describe(record: Record) -> dict[str, Any]:
    """What a reader tells its experiment by: dataset, backbone, method, scorer, track and options."""
    dense = not record["level"] and not record.get("control")
    return {
        "dataset": record["dataset"],
        "backbone": record["backbone"],
        "method": "dense" if dense else record["method"],
        "scorer": "" if dense else _scorer(record),
        "track": "" if dense else str(record.get("track") or ""),
        "options": _options(record, dense),
    }


def section_of(record: Record, part: str) -> dict[str, Any]:
    """A part of the config as a mapping; empty where the record does not have it."""
    section = (record.get("config") or {}).get(part)
    return section if isinstance(section, dict) else {"name": section} if isinstance(section, str) else {}


def _scorer(record: Record) -> str:
    """The name of the edge scorer, the strategy's default where the config leaves it out."""
    spec = section_of(record, "strategy")
    scorer: Any = spec.get("scorer")
    if scorer is None and spec:
        try:
            scorer = getattr(build("strategies", spec), "scorer", None)
        except GltError:  # a strategy of another version, or a user's own
            return ""
    if isinstance(scorer, Mapping):
        return _said(scorer)
    return str(getattr(scorer, "name", scorer) or "")


def _options(record: Record, dense: bool) -> list[str]:
    """Options away from their defaults that the other columns do not show."""
    by_track = () if record.get("track") == TRACK else ("distil",)  # the inductive one does not say
    shown = {"strategy": ("name", "scorer", *by_track), "schedule": ("levels",)}
    said = []
    for part in ("dataset", "backbone", "train", *(() if dense else ("strategy", "schedule"))):
        options = {k: v for k, v in section_of(record, part).items() if k not in shown.get(part, ("name",))}
        if part == "schedule" and options.get("name") in ("geometric", "grid", "oneshot"):
            options = {"schedule": options["name"]} if options["name"] != "geometric" else {}
        said += [f"{key} {_said(value)}" for key, value in options.items()]
    return said


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        others = ", ".join(f"{key} {_said(item)}" for key, item in value.items() if key != "name")
        return f"{value.get('name', '')} ({others})".strip() if others else str(value.get("name", ""))
    return value if isinstance(value, str) else json.dumps(value)


def asked(record: Record, level: int) -> list[float] | None:
    """The (graph, weight) sparsities of a level of a grid."""
    spec = section_of(record, "schedule")
    if spec.get("name") != "grid" or not level:
        return None
    try:
        levels = {made.number: made for made in build("schedules", spec)}
    except GltError:
        return None
    return [levels[level].graph_sparsity, levels[level].weight_sparsity] if level in levels else None
