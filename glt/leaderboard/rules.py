"""The rules of the board: each one a question to what was measured, with a verdict and a reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any, Literal

from glt.inductive import TRACK
from glt.leaderboard.entry import SEEDS, Entry
from glt.leaderboard.measure import Point
from glt.leaderboard.setting import Setting
from glt.results import Record

Status = Literal["ok", "noted", "unranked", "rejected"]
LEAST_POINTS = 5
GRAPH_GRID, WEIGHT_GRID = (0.0, 0.2, 0.4, 0.6, 0.8), (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
GRAPH_RATES, WEIGHT_RATES = (0.05,), (0.2, 0.1)
NEAR = 0.005
"""A sparsity is rounded to whole edges, and to blocks of weights."""


@dataclass(frozen=True)
class Verdict:
    """What a rule says: ``noted`` is shown, ``unranked`` is shown without a rank, ``rejected`` is out.

    ``beside``: it is about the rows beside this one, and said anew for every board.
    """

    rule: str
    status: Status
    reason: str
    beside: bool = False


@dataclass(frozen=True)
class Measured:
    """An entry and all that was found of it.

    Attributes:
        entry: it.
        setting: its experiment.
        points: of the seeds that count, dense (level 0) included.
        records: by (seed, level), held to the points.
        taught: whether a teacher is used at all, and on which nodes.
    """

    entry: Entry
    setting: Setting
    points: tuple[Point, ...]
    records: dict[tuple[int, int], Record]

    @property
    def taught(self) -> str:
        """``none``, ``held_out`` or ``all``: the nodes that a teacher's outputs are used on, by the tickets' config."""
        return str(getattr(self.setting.config.strategy, "track", "none"))

    @property
    def track(self) -> str:
        """By the tickets' config.

        Inductive where test nodes come later; open where a teacher's outputs on validation or test nodes may have
        reached the student.
        """
        if self.setting.config.train.inductive:
            return TRACK
        return "open" if self.taught == "all" else "held-out"

    def levels(self) -> dict[int, dict[int, Point]]:
        """Points by level and seed; 0 is dense."""
        found: dict[int, dict[int, Point]] = defaultdict(dict)
        for point in self.points:
            found[point.level][point.seed] = point
        return {level: dict(sorted(found[level].items())) for level in sorted(found)}

    def pairs(self) -> dict[int, tuple[float, float]]:
        """(graph sparsity, weight sparsity) of each level but dense, means over seeds."""
        return {
            level: (fmean(p.graph_sparsity for p in of.values()), fmean(p.weight_sparsity for p in of.values()))
            for level, of in self.levels().items()
            if level
        }

    @property
    def seeds(self) -> list[int]:
        """Seeds of its tickets."""
        return sorted({point.seed for point in self.points})


Rule = Callable[[Measured], Verdict]


def split(m: Measured) -> Verdict:
    """1: the public split and the official metric."""
    data = m.setting.data
    where = f"split {data.get('split')!r}, {data.get('metric', 'accuracy')}"
    if hasattr(m.setting.config.dataset, "nodes"):
        return Verdict("split", "noted", f"{where}; the graph is generated, no public benchmark")
    if isinstance(getattr(m.setting.config.dataset, "split", None), int):
        return Verdict("split", "unranked", f"{where}: one of several, and each seed needs its own (split: by_seed)")
    return Verdict("split", "ok", where)


def seeds(m: Measured) -> Verdict:
    """2: seeds 0 to 9, fewer shown as such; the ticket found anew for each."""
    if m.seeds != list(SEEDS)[: len(m.seeds)]:
        return Verdict("seeds", "unranked", f"seeds {m.seeds}: they must be 0, 1, 2 and so on, none left out")
    owners: dict[str, set[int]] = defaultdict(set)
    for point in m.points:
        owners[point.weights_id].add(point.seed)
    if twins := next((sorted(of) for of in owners.values() if len(of) > 1), None):
        where = f"seeds {twins[0]} and {twins[1]} have the same trained weights"
        return Verdict("seeds", "rejected", f"{where}: the ticket was not found anew")
    if len(m.seeds) < len(SEEDS):
        return Verdict("seeds", "noted", f"{len(m.seeds)} of {len(SEEDS)} seeds")
    return Verdict("seeds", "ok", f"{len(SEEDS)} seeds")


def selection(m: Measured) -> Verdict:
    """3: the number of configurations that were tried is stated."""
    if m.entry.n_configs is None:
        return Verdict("selection", "noted", "the number of configurations tried is not stated")
    return Verdict("selection", "ok", f"{m.entry.n_configs} configurations tried")


def complete(m: Measured) -> Verdict:
    """2 and 6: every seed has a dense model, and the same levels."""
    levels = m.levels()
    if missing := [seed for seed in m.seeds if seed not in levels.get(0, {})]:
        return Verdict("complete", "rejected", f"seed {missing[0]} has no dense ticket (level 0) to be compared with")
    for level, points in levels.items():
        if missing := [seed for seed in m.seeds if seed not in points]:
            return Verdict("complete", "unranked", f"level {level} has no ticket of seed {missing[0]}")
    return Verdict("complete", "ok", "every seed has every level")


def dense(m: Measured) -> Verdict:
    """2: level 0, which every gap is from, is the whole graph and the whole network."""
    for point in m.levels().get(0, {}).values():
        taken = {
            "edges": point.graph_sparsity > 0,
            "weights": point.weight_sparsity > 0,
            "biases": point.biases > 0,
        }
        if gone := [what for what, lost in taken.items() if lost]:
            return Verdict("dense", "rejected", f"the dense ticket of seed {point.seed} lacks {' and '.join(gone)}")
        if point.weighted:
            return Verdict("dense", "rejected", f"the edges of the dense ticket of seed {point.seed} have weights")
    return Verdict("dense", "ok", "level 0 lacks nothing")


def points(m: Measured) -> Verdict:
    """6: at least five operating points, on a usual path or grid."""
    pairs = m.pairs()
    if len(pairs) < LEAST_POINTS:
        return Verdict("points", "unranked", f"{len(pairs)} operating points, at least {LEAST_POINTS} are needed")
    if path := path_of(pairs):
        return Verdict("points", "ok", f"{len(pairs)} operating points, {path}")
    odd = next((level for level, pair in pairs.items() if not path_of({level: pair})), min(pairs))
    graph, weight = pairs[odd]
    return Verdict("points", "unranked", f"level {odd} ({graph:.1%}, {weight:.1%}) is on no usual path or grid")


def path_of(pairs: Mapping[int, tuple[float, float]]) -> str:
    """The usual path or grid that all operating points are on; ``""`` where there is none.

    ``5 % of edges and 10 % of weights a level, levels 1, 5, 10``. What is on different ones, or at other levels, is not
    compared: at the same sparsity of the graph that of the weights is another, and means are over other levels.

    Args:
        pairs: (graph sparsity, weight sparsity) by level.
    """
    if not pairs:
        return ""
    levels = f", level{'s' if len(pairs) > 1 else ''} {', '.join(map(str, sorted(pairs)))}"
    for edges, weights in product((*GRAPH_RATES, 0.0), (*WEIGHT_RATES, 0.0)):
        if edges or weights:
            path = {level: (1 - (1 - edges) ** level, 1 - (1 - weights) ** level) for level in pairs}
            if all(
                _near(one, [wanted]) for level in pairs for one, wanted in zip(pairs[level], path[level], strict=True)
            ):
                taken = [f"{rate:.0%} of {what}" for rate, what in ((edges, "edges"), (weights, "weights")) if rate]
                return f"{' and '.join(taken)} a level".replace("%", " %") + levels
    if all(_near(graph, GRAPH_GRID) and _near(weight, WEIGHT_GRID) for graph, weight in pairs.values()):
        return "on the usual grid" + levels
    return ""


def _near(value: float, wanted: Any) -> bool:
    return any(abs(value - one) <= NEAR for one in wanted)


def sparsity(m: Measured) -> Verdict:
    """4: counted anew from the artefacts; biases apart."""
    if biases := max((p.biases for p in m.points), default=0):
        return Verdict("sparsity", "noted", f"up to {biases} biases are pruned too, which are not counted")
    if any(p.weighted for p in m.points):
        return Verdict("sparsity", "noted", "the edges that stay have weights of their own")
    return Verdict("sparsity", "ok", "counted over undirected edges and weight matrices")


def compacted(m: Measured) -> Verdict:
    """5: what is measured is the physically smaller model on the smaller graph."""
    worst = max((p.difference for p in m.points), default=0.0)
    return Verdict("compact", "ok", f"compact equals masked within {worst:.1e}")


def track(m: Measured) -> Verdict:
    """11: which track, by what the tickets say of their teacher, and of their test nodes."""
    strategy = m.setting.config.strategy
    if m.track == TRACK:
        if m.taught == "all":
            return Verdict("track", "unranked", "a teacher's outputs on validation nodes reach the student")
        how = "keep their edges"
        if any(point.graph_sparsity > 0 for point in m.points):
            how = f"lose edges by the scorer {strategy.arrivals(0).name!r}"
        return Verdict("track", "ok", f"test nodes come later, and {how}")
    scorer = getattr(strategy, "scorer", None)
    if getattr(scorer, "needs_model", False) and m.track == "held-out":
        why = f"scorer {scorer.name!r} looks at a trained model on every node; its outputs teach nobody"  # type: ignore[union-attr]
        return Verdict("track", "noted", why)
    what = {"none": "no teacher", "held_out": "teacher outside validation and test", "all": "teacher on every node"}
    return Verdict("track", "ok", what.get(m.taught, m.taught))


RULES: tuple[Rule, ...] = (split, seeds, selection, complete, dense, points, sparsity, compacted, track)


def verdicts(m: Measured) -> list[Verdict]:
    """What every rule says."""
    return [rule(m) for rule in RULES]
