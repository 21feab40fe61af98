"""Rows of the board, and how they are ranked beside those of their track, dataset and backbone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from glt.inductive import TRACK
from glt.leaderboard.claims import Claim
from glt.leaderboard.rules import Verdict, path_of
from glt.leaderboard.scalars import LOSSES, Scalars
from glt.version import __version__

TRACKS = ("held-out", "inductive", "open")
"""In the order of the board."""
RANKED = ("held-out", "inductive")
"""Those that rank methods, each for itself."""
AXES = ("graph", "weight")
LEAST_SPREAD = 0.01
"""Standard deviation over seeds of a dense model that is believed at least; of a single seed it is not known."""


@dataclass(frozen=True)
class Row:
    """One entry that verifies.

    Attributes:
        name, source, author, foreign, n_configs: see :class:`glt.leaderboard.entry.Entry`.
        track: one of :data:`TRACKS`.
        dataset: with its options; backbone, method: likewise, the method without its distillation.
        split, metric: of the dataset.
        config_id: of the experiment.
        trained_by: what its records say of versions, commits and hardware, as they say it.
        measured_by: the same of who computed this row.
        seeds: how many.
        val: mean validation metric over all levels, by which one of several configurations is chosen.
        dense: mean test metric of the dense model; dense_spread: its standard deviation.
        macs_dense: multiply-adds of the dense model.
        scalars: by axis, ``graph`` and ``weight``.
        claims: level by level.
        verdicts: what the rules say.
        alike: how many configurations of its method are on the board beside it, itself included.
        ranks: by ``axis.scalar``, among those it is compared with; empty where it is not ranked.
    """

    name: str
    source: str
    author: str
    foreign: bool
    n_configs: int | None
    track: str
    dataset: str
    backbone: str
    method: str
    split: str
    metric: str
    config_id: str
    seeds: int
    val: float
    dense: float
    dense_spread: float
    scalars: dict[str, Scalars]
    claims: tuple[Claim, ...]
    verdicts: tuple[Verdict, ...]
    trained_by: str = ""
    measured_by: str = ""
    alike: int = 1
    ranks: dict[str, int] = field(default_factory=dict)

    @property
    def tried(self) -> int | None:
        """How many configurations were tried, at least; None where that is not known."""
        return None if self.n_configs is None and self.alike == 1 else max(self.n_configs or 0, self.alike)

    @property
    def unranked(self) -> str:
        """Why it has no rank; empty where it has."""
        return "; ".join(v.reason for v in self.verdicts if v.status == "unranked")

    @property
    def path(self) -> str:
        """On which path or grid its points are, and at which levels; see :func:`glt.leaderboard.rules.path_of`."""
        return path_of({claim.level: (claim.graph_sparsity, claim.weight_sparsity) for claim in self.claims})

    @property
    def group(self) -> tuple[str, ...]:
        """Entries are compared within this."""
        return *self.place, self.path

    @property
    def place(self) -> tuple[str, ...]:
        """What its dense model depends on, and the track."""
        return self.track, self.dataset, self.split, self.metric, self.backbone


@dataclass(frozen=True)
class Board:
    """All rows, ranked, and what was rejected, as (source, reason)."""

    rows: tuple[Row, ...]
    rejected: tuple[tuple[str, str], ...]

    def tree(self) -> dict[str, Any]:
        """As JSON."""
        rows = [{**asdict(row), "path": row.path, "tried": row.tried, "unranked": row.unranked} for row in self.rows]
        rejected = [{"entry": source, "reason": reason} for source, reason in self.rejected]
        return {"glt": __version__, "tracks": list(TRACKS), "rows": rows, "rejected": rejected}


def weak_dense(rows: Iterable[Row]) -> list[Row]:
    """Rows whose dense model is clearly weaker than that of the others have no rank: anything looks good beside it.

    Held to the median dense model on the same dataset, backbone and split, whatever the recipe: of our own runs where
    there are any, so that nobody else's can put them out. Clearly: by more than two standard errors.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    rows = list(rows)
    for row in rows:
        groups[_same_dense(row)].append(row)
    made = []
    for row in rows:
        group = groups[_same_dense(row)]
        others = sorted([one for one in group if not one.foreign] or group, key=lambda one: one.dense)
        usual = others[len(others) // 2]
        spread = max(usual.dense_spread, LEAST_SPREAD)
        if usual.dense - row.dense > 2 * spread * (1 / row.seeds + 1 / usual.seeds) ** 0.5:
            why = f"its dense model ({row.dense:.1%}) is clearly weaker than that of {usual.name} ({usual.dense:.1%})"
            row = replace(row, verdicts=(*row.verdicts, Verdict("dense", "unranked", why, beside=True)))
        made.append(row)
    return made


def _same_dense(row: Row) -> tuple[Any, ...]:
    """Dense models of one dataset, split, metric and backbone; a teacher does not touch them."""
    return row.track == TRACK, *row.place[1:]


def one_each(rows: Iterable[Row]) -> list[Row]:
    """Rule 3: of several configurations of one method, the one that validates best is ranked, the others are shown.

    That many configurations were tried, whatever each of them states.
    """
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(*row.group, row.method)].append(row)
    made: list[Row] = []
    for group in groups.values():
        eligible = [row for row in group if not row.unranked] or group
        best = max(eligible, key=lambda row: row.val)
        different = len({row.config_id for row in group})
        for row in group:
            if row is not best:
                better = f"another configuration, {best.config_id}, validates better"
                why = f"the same experiment as {best.source}" if row.config_id == best.config_id else better
                said = (*row.verdicts, Verdict("selection", "unranked", why, beside=True))
                made.append(replace(row, alike=different, verdicts=said))
            else:
                made.append(replace(row, alike=different))
    return made


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Rows with their ranks by every scalar, track by track, groups together, the best area first."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    made: list[Row] = []
    for group in sorted(groups, key=lambda g: (TRACKS.index(g[0]), *g[1:])):
        fit = [row for row in groups[group] if not row.unranked]
        ranks: dict[int, dict[str, int]] = defaultdict(dict)
        for name in names_of_scalars() if group[0] in RANKED else ():
            values = {id(row): value_of(row, name) for row in fit}
            for row in fit:
                mine = values[id(row)]
                if mine is not None:
                    better = sum(v > mine + 1e-9 for v in values.values() if v is not None)
                    ranks[id(row)][name] = 1 + better
        placed = [replace(row, ranks=dict(ranks[id(row)])) for row in groups[group]]
        made += sorted(placed, key=lambda row: (bool(row.unranked), -_best_area(row), row.name))
    return made


def names_of_scalars() -> list[str]:
    """``graph.area``, ``graph.S_0`` and so on."""
    return [f"{axis}.{name}" for axis in AXES for name in ("area", *(f"S_{points:g}" for points in LOSSES))]


def value_of(row: Row, name: str) -> float | None:
    """A row's scalar by its name."""
    axis, _, which = name.partition(".")
    return row.scalars[axis].area if which == "area" else row.scalars[axis].s[float(which.removeprefix("S_"))]


def _best_area(row: Row) -> float:
    return max(of.area for of in row.scalars.values())


def as_json(board: Board) -> str:
    """The board as one JSON document."""
    return json.dumps(board.tree(), indent=1) + "\n"
