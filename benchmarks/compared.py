"""Tables of the methods side by side: how accurate, what the accuracy is made of, what the search cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from accuracy import PLACES, TEACHERS, compared, experiments
from found import BY_LEVEL, BY_METHOD, BY_PLACE, CONTROLLED, LEVELS, Found, Where, tests, wanted
from wording import BACKBONES, DATASETS, against_dense, gap, percent, provenance

from glt.schedules.level import Level
from glt.summary import Row
from glt.tables import markdown

NAMES = {
    "teddy": "TEDDY",
    "random-edges": "TEDDY, random edges",
    "imp": "IMP, TEDDY's edges",
    "ugs": "UGS",
    "random": "random",
}
TAUGHT = {"alone": "no teacher", "held-out": "held-out", "all": "all nodes"}
SHOWN = (10, 20)
SEARCHES = {
    **{method: name for method, name in NAMES.items() if method != "random-edges"},
    "gebt": "GEBT",
    "wd_glt_joint": "WD-GLT, joint",
    "wd_glt": "WD-GLT",
}


def title(dataset: str, backbone: str) -> str:
    """What a place is called."""
    return f"{DATASETS[dataset]}, {BACKBONES[backbone]}"


def levels(dataset: str, backbone: str) -> list[Level]:
    """The levels of a place, of :data:`LEVELS`."""
    schedule = experiments()[compared("teddy", "alone", dataset, backbone)].schedule
    return [level for level in schedule if level.number in LEVELS]


def dense(found: Found, dataset: str, backbone: str, method: str = "teddy") -> Row | None:
    """The dense model by a method's recipe."""
    rows = (found.row((method, teacher, dataset, backbone), 0) for teacher in TEACHERS)
    return next((row for row in rows if row), None)


def missing(found: Found, places: Sequence[tuple[str, str]] = PLACES, numbers: Sequence[int] = LEVELS) -> str:
    """One line: what there is no number for, and what failed; empty where all is well."""
    lacking, failures = [], []
    for place in places:
        absent = {
            name: [TAUGHT[t] for t in TEACHERS if any(not found.row((method, t, *place), n) for n in numbers)]
            for method, name in NAMES.items()
        }
        absent["controls"] = [TAUGHT[t] for t in TEACHERS if not _controlled(found, t, place)]
        whole = [name for name, teachers in absent.items() if len(teachers) == len(TEACHERS)]
        some = [f"{n} ({', '.join(ts)})" for n, ts in absent.items() if 0 < len(ts) < len(TEACHERS)]
        if whole or some:
            said = "everything" if len(whole) == len(absent) else "; ".join([*some, *whole])
            lacking.append(f"{title(*place)}: {said}" if len(places) > 1 else said)
        for method, name in NAMES.items():
            for teacher in TEACHERS:
                if count := max(found.failed((method, teacher, *place), n) for n in numbers):
                    failures.append(f"{title(*place)}, {name} ({TAUGHT[teacher]}): {count} seed(s)")
    said = [f"Not yet measured: {'. '.join(lacking)}."] if lacking else []
    return " ".join([*said, *([f"Failed: {'; '.join(failures)}."] if failures else [])])


def _controlled(found: Found, teacher: str, place: tuple[str, str]) -> bool:
    return all(
        found.point((method, teacher, *place), level, control)
        for method in CONTROLLED
        for level, controls in wanted(method, teacher).items()
        for control in controls
    )


def _below(table: str, *lines: str) -> str:
    return "\n\n".join(filter(None, [table, *(f"<sub>{line}</sub>" for line in lines if line)]))


def summary(found: Found) -> str:
    """Every method at two levels, by place and teacher; bold where it is not shown to fall behind dense."""
    header = ["", "dense", *(f"{TAUGHT[t]}, {n}" for t in TEACHERS for n in SHOWN), "search"]
    lines = []
    for place in PLACES:
        group = []
        for method, name in NAMES.items():
            rows = [found.row((method, teacher, *place), n) for teacher in TEACHERS for n in SHOWN]
            if any(rows):
                base = dense(found, *place, method=method)
                costs = [c for t in TEACHERS if (c := search_cost(found, (method, t, *place), SHOWN[-1]))]
                low, high = min(costs, default=0), max(costs, default=0)
                cost = f"{low:.0f} to {high:.0f}" if f"{low:.0f}" != f"{high:.0f}" else f"{high:.0f}" if costs else ""
                group.append([name, percent(base) if base else "", *map(_marked, rows), cost])
        for control, name in (BY_LEVEL | {"mlp": BY_PLACE["mlp"]}).items():
            rows = []
            for teacher in TEACHERS:
                taught = "mlp_distilled" if control == "mlp" and teacher != "alone" else control
                at = [LEVELS[-1]] * len(SHOWN) if control == "mlp" else SHOWN
                rows += [found.row(("teddy", teacher, *place), n, taught) for n in at]
            if any(rows):
                group.append([f"*{name}*", "", *map(_marked, rows), ""])
        if group:
            lines += [[f"**{title(*place)}**", *[""] * (len(header) - 1)], *group]
    return _below(markdown(header, lines), missing(found, numbers=SHOWN)) + "\n\n" + provenance(found.records)


def _marked(row: Row | None) -> str:
    if not row:
        return ""
    return f"**{percent(row)}**" if row.high >= 0 else percent(row)


def methods(found: Found, place: tuple[str, str]) -> str:
    """Every method and control at every level in one place, by teacher, the best at the last level first."""
    head = [f"{n.number}: {100 * n.graph_sparsity:.0f} / {100 * n.weight_sparsity:.0f} %" for n in levels(*place)]
    header = ["", "teacher", *head, *(f"{n} - dense" for n in SHOWN), "search"]
    lines = []
    for teacher, said in TAUGHT.items():
        entries: list[tuple[str, dict[int, Row], str]] = []
        for method, name in NAMES.items():
            where = (method, teacher, *place)
            rows = {level: row for level in LEVELS if (row := found.row(where, level))}
            cost = search_cost(found, where, LEVELS[-1])
            entries.append((name, rows, f"{cost:.0f}" if cost else ""))
            entries += [(f"*{c}*", rows, "") for c, rows in _controls(found, where).items()]
        entries = [entry for entry in entries if entry[1]]
        entries.sort(key=lambda entry: -(entry[1][LEVELS[-1]].test if LEVELS[-1] in entry[1] else 0.0))
        for name, rows, cost in entries:
            tested = [percent(rows[n]) if n in rows else "" for n in LEVELS]
            lines.append([name, said, *tested, *(against_dense(rows[n]) if n in rows else "" for n in SHOWN), cost])
    bases = {name: dense(found, *place, method=method) for name, method in (("", "teddy"), ("UGS's recipe: ", "ugs"))}
    said = {f"{percent(row)}": name for name, row in reversed(bases.items()) if row}
    base = f"Dense: {', '.join(f'{name}{text}' for text, name in reversed(said.items()))}."
    picture = f"![{title(*place)}](results/{'-'.join(place)}.png)"
    return _below("\n\n".join([picture, base, markdown(header, lines)]) if lines else "", missing(found, [place]))


def _controls(found: Found, where: Where) -> dict[str, dict[int, Row]]:
    """Rows of a method's own controls, by what they are called; those that all methods share come with TEDDY."""
    rows: dict[str, dict[int, Row]] = {}
    for level in LEVELS:
        for name, point in found.controls(where, level).items():
            control = next(iter(point.values()))["control"]
            own = control in BY_METHOD
            if own or where[0] == "teddy":
                row = found.row(where, LEVELS[-1] if control in BY_PLACE else level, control)
                if row:
                    rows.setdefault(f"{NAMES[where[0]]}: {name}" if own else name, {})[level] = row
    return rows


def parts(found: Found, place: tuple[str, str]) -> str:
    """What every accuracy is made of in one place: over random, over the best control, by the teacher, by the epoch."""
    said = ["over random", "over the best control", "teacher - none", "best - last epoch"]
    header = ["", "teacher", "level", *said]
    lines = []
    for level in SHOWN:
        for teacher in TEACHERS:
            for method, name in NAMES.items():
                where = (method, teacher, *place)
                point = found.point(where, level)
                if not point:
                    continue
                test, random = tests(point), tests(found.point(("random", teacher, *place), level))
                alone = tests(found.point((method, "alone", *place), level))
                best = found.best_control(where, level)
                over = gap(test, tests(best[1])) if best else ""
                lines.append(
                    [
                        *(name, TAUGHT[teacher], str(level)),
                        gap(test, random) if method != "random" else "",
                        f"{over} ({best[0]})" if best else "",
                        gap(test, alone) if teacher != "alone" else "",
                        gap(test, tests(point, "last_test")),
                    ]
                )
    return markdown(header, lines) if lines else ""


def gains(found: Found) -> str:
    """What TEDDY's accuracy is made of, everywhere: its edges, its teacher, the choice of an epoch."""
    header = ["", "level", *(f"score, {TAUGHT[t]}" for t in TEACHERS)]
    header += ["teacher, held-out", "teacher, all nodes", "epoch, all nodes", "epoch, dense"]
    lines = []
    for place in PLACES:
        for level in SHOWN:
            at = {t: found.point(("teddy", t, *place), level) for t in TEACHERS}
            other = {t: found.point(("random-edges", t, *place), level) for t in TEACHERS}
            base = found.point(("teddy", "all", *place), 0)
            cells = [
                *(gap(tests(at[t]), tests(other[t])) for t in TEACHERS),
                *(gap(tests(at[t]), tests(at["alone"])) for t in ("held-out", "all")),
                *(gap(tests(point), tests(point, "last_test")) for point in (at["all"], base)),
            ]
            if any(cells[:-1]):
                lines.append([title(*place), str(level), *cells])
    return markdown(header, lines)


def search_cost(found: Found, where: Where, level: int, key: str = "search_epochs") -> float | None:
    """What the search for a level took, as a multiple of one dense training of the same run; mean over seeds."""
    point, base = found.point(where, level), found.point(where, 0)
    seeds = sorted(set(point) & set(base))
    return statistics.fmean(point[seed][key] / base[seed][key] for seed in seeds) if seeds else None


def searches(found: Found) -> str:
    """What every method's search takes in one place, without a teacher, and how much earlier GEBT knows its masks."""
    early = LEVELS[:2]
    said = ("masks after", "epochs, x dense", "time, x dense", "test")
    header = ["Cora, GCN, no teacher", *(f"{level}: {one}" for level in early for one in said)]
    lines, known = [], {}
    for method, name in SEARCHES.items():
        line = [name]
        for level in early:
            where = (method, "alone", "cora", "gcn")
            row, masks = found.row(where, level), masks_after(found, where, level)
            if row is None or masks is None:
                line += [""] * len(said)
                continue
            known[level, method] = masks
            cost, time = (search_cost(found, where, level, key) or 0.0 for key in ("search_epochs", "search_s"))
            line += [f"{masks:.0f}", f"{cost:.1f}", f"{time:.1f}", percent(row)]
        lines.append(line)
    absent = [line[0] for line in lines if not any(line[1:])]
    return _below(
        markdown(header, lines),
        f"Not yet measured: {'; '.join(absent)}." if absent else "",
        *(_saved(found, known, level) for level in early),
    )


def masks_after(found: Found, where: Where, level: int) -> float | None:
    """Epochs until masks are known: all but those of the ticket's own training; mean over seeds."""
    point, base = found.point(where, level), found.point(where, 0)
    seeds = sorted(set(point) & set(base))
    if not seeds:
        return None
    return statistics.fmean(point[seed]["search_epochs"] - base[seed]["search_epochs"] for seed in seeds)


def _saved(found: Found, known: dict[tuple[int, str], float], level: int) -> str:
    if (level, "gebt") not in known:
        return ""
    early = known[level, "gebt"]
    point = found.point(("gebt", "alone", "cora", "gcn"), level).values()
    settled = sum(bool(record.get("settled")) for record in point)
    others = [
        f"{known[level, m] / early:.0f} times as many for {NAMES[m]}" for m in ("imp", "ugs") if (level, m) in known
    ]
    return (
        f"Level {level}: GEBT draws its masks after {early:.0f} epochs ({settled} of {len(point)} had settled); "
        f"{', '.join(others)}."
    )
