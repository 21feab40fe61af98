"""The board as Markdown: tracks apart, the held-out one first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from glt.leaderboard.claims import Claim
from glt.leaderboard.ranking import TRACKS, Board, Row, names_of_scalars, value_of
from glt.tables import markdown

ABOUT = {
    "held-out": "Nothing that a teacher computed on a validation or test node reaches the student; messages pass over "
    "unlabelled nodes. This track ranks methods: `(1)` is a rank.",
    "inductive": "Test nodes and their edges are absent from the search, the trainings and the teacher's; when they "
    "arrive the graph is sparsified again by the ticket's scorer, to the ticket's sparsity. Ranked within itself.",
    "open": "A teacher's outputs on every node may be used, test nodes included. Listed, not ranked.",
}
LEGEND = (
    "Every number but those marked *as recorded* is computed again from the ticket files, on the physically smaller "
    "graph and model. area: under the metric over sparsity, up to the largest sparsity shown. S_x: the largest "
    "sparsity at which the lower one-sided 95 % bound of (ticket - dense), paired over seeds, is at least -x points; "
    "? with fewer than 3 seeds. g: of the graph, w: of the weights. A claim is held to "
    "the best control that keeps no more edges and no more weights; at equal weights, to a narrower dense network that "
    "keeps all edges. Multiply-adds by dense kernels, dense or not, leave out the zeros of sparse features."
)

CONTROLS = "Controls, test in % (edges / weights kept)"


def render(board: Board) -> str:
    """A Markdown document."""
    parts = ["# Leaderboard of graph lottery tickets", LEGEND]
    for track in TRACKS:
        parts += [f"## {track.capitalize()} track", ABOUT[track]]
        rows = [row for row in board.rows if row.track == track]
        if not rows:
            parts.append("No entry.")
        for group, same in groupby(rows, key=lambda row: row.group):
            _, dataset, split, metric, backbone, path = group
            where = ", ".join(filter(None, (f"{_text(split)} split", _text(metric.replace("_", "-")), _text(path))))
            parts.append(f"### {_text(dataset)}, {_text(backbone)} ({where})")
            parts += _group(list(same))
    parts.append("## Rejected")
    if board.rejected:
        parts.append("\n".join(f"- {_text(source)}: {_text(reason)}" for source, reason in board.rejected))
    else:
        parts.append("Nothing.")
    return "\n\n".join(parts) + "\n"


def _group(rows: Sequence[Row]) -> list[str]:
    names = names_of_scalars()
    header = ["entry", "method", "seeds", "tried", "dense, %"]
    header += [name.replace("graph.", "g ").replace("weight.", "w ") for name in names]
    lines = [
        [
            _text(row.name),
            _text(row.method),
            str(row.seeds),
            "?" if row.tried is None else str(row.tried),
            f"{100 * row.dense:.1f} ± {100 * row.dense_spread:.1f}",
            *(_scalar(row, name) for name in names),
        ]
        for row in rows
    ]
    parts = [markdown(header, lines)]
    for row in rows:
        parts += [f"#### {_text(row.name)}", _remarks(row), _claims(row)]
        if any(claim.controls for claim in row.claims):
            parts += [CONTROLS + (", *as recorded*:" if row.claims[0].as_recorded else ":"), _controls(row)]
    return parts


def _scalar(row: Row, name: str) -> str:
    value = value_of(row, name)
    if value is None:
        return "?"
    text = f"{value:.3f}" if name.endswith("area") else f"{100 * value:.1f} %"
    return f"{text} ({row.ranks[name]})" if name in row.ranks else text


def _remarks(row: Row) -> str:
    out = {"unranked": " (**not ranked**)"}
    lines = [f"- {_text(v.rule)}: {_text(v.reason)}{out.get(v.status, '')}" for v in row.verdicts]
    lines.append(f"- experiment {_text(row.config_id)}" + (f", by {_text(row.author)}" if row.author else ""))
    made = (("trained", row.trained_by), ("measured", row.measured_by))
    lines += [f"- {what}: {_text(who)}" for what, who in made if who]
    if row.foreign and any(claim.as_recorded for claim in row.claims):
        lines.append("- its controls are *as recorded* by its author, and give no mark")
    return "\n".join(lines)


def _claims(row: Row) -> str:
    header = ["level", "graph", "weight", "degree", "isolated", "test, %", "last, %", "against dense", "claim"]
    header += ["at equal weights"]
    header += ["MACs W + A", "of dense", "by dense kernels", "of dense by these", "parameters", "KB", "search"]
    timed = all(claim.latency_ms for claim in row.claims) and row.claims
    if timed:
        header += ["ms", "ms dense"]
    return markdown(header, [_claim(claim, bool(timed)) for claim in row.claims])


def _controls(row: Row) -> str:
    """A line per level, a column per control."""
    names = sorted({name for claim in row.claims for name in claim.controls})
    lines = []
    for claim in row.claims:
        cells = [_kept(claim.test, claim.edges, claim.weights, claim.seeds, claim.seeds)]
        for name in names:
            found = claim.controls.get(name)
            cells.append(_kept(*found, claim.seeds) if found else "")
        lines.append([str(claim.level), *cells])
    return markdown(["level", "ticket", *(_text(name[:80]) for name in names)], lines)


def _kept(test: float, edges: float, weights: float, seeds: int, of: int) -> str:
    few = "" if seeds == of else f", {seeds} of {of} seeds"
    return f"{100 * test:.1f} ({edges:,.0f} / {weights:,.0f}{few})"


def _claim(claim: Claim, timed: bool) -> list[str]:
    bound = "" if claim.bound is None else f" (> {100 * claim.bound:+.1f})"
    cells = [
        str(claim.level),
        f"{100 * claim.graph_sparsity:.1f} %",
        f"{100 * claim.weight_sparsity:.1f} %",
        f"{claim.avg_degree:.2f}",
        f"{claim.isolated:.0f}",
        f"{100 * claim.test:.1f} ± {100 * claim.spread:.1f}",
        "" if claim.last is None else f"{100 * claim.last:.1f}",
        f"{100 * claim.difference:+.1f}{bound}",
        _text(verdict(claim)),
        _text(at_equal_weights(claim)),
        *(_macs(claim, form) for form in ("ticket", "dense", "compact", "dense_compact")),
        f"{claim.params:,.0f}",
        f"{claim.bytes / 1000:,.0f}",
        "" if claim.search is None else f"{claim.search:.1f} x",
    ]
    if timed:
        cells += [_time(*claim.latency_ms[form]) for form in ("compact", "dense")]
    return cells


def _time(median: float, low: float, high: float) -> str:
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def verdict(claim: Claim) -> str:
    """``beats random by +1.2 [+0.3, +2.0]``, or why that cannot be said."""
    if claim.missing:
        return "controls missing: " + ", ".join(claim.missing)
    if claim.as_recorded and claim.against:
        return f"as recorded, {claim.best}: {_gap(claim.against)}"
    if not claim.mark or claim.against is None:
        return "too few seeds to compare with a control" if claim.best else "no control is as sparse"
    words = {"beats": "beats", "ties": "ties with", "loses": "loses to"}[claim.mark]
    return f"{words} {claim.best}: {_gap(claim.against)}"


def at_equal_weights(claim: Claim) -> str:
    """``loses: -1.2 [-2.0, -0.3]``, of the narrower dense network; empty where nothing is known."""
    if claim.narrow_against is None:
        return ""
    return f"{claim.narrow_mark or ('as recorded' if claim.as_recorded else '')}: {_gap(claim.narrow_against)}"


def _gap(against: tuple[float, float, float]) -> str:
    gap, low, high = (100 * value for value in against)
    return f"{gap:+.1f} [{low:+.1f}, {high:+.1f}]"


def _macs(claim: Claim, form: str) -> str:
    spent = claim.macs.get(form, {})
    return f"{_short(spent.get('weights'))} + {_short(spent.get('propagation'))}"


def _short(value: float | None) -> str:
    if value is None:
        return "?"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def _text(text: str) -> str:
    """What somebody wrote, as plain text of one line: no tables, links, markup or controls."""
    line = "".join(c if c.isprintable() else " " for c in text)
    for char in "\\`*_[]<>|#":
        line = line.replace(char, f"\\{char}" if char not in "<>" else {"<": "&lt;", ">": "&gt;"}[char])
    return line
