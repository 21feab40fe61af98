"""Table of what goes as a whole: accuracy of TEDDY's tickets beside those of single weights."""

from __future__ import annotations

from accuracy import GRANULARITIES
from compared import TAUGHT, title
from found import LEVELS, Found, tests
from wording import gap, percent, provenance

from glt.tables import markdown

PLACE = ("cora", "gcn")
NAMES = {"unit": "hidden units", "feature": "input features", "block": "blocks of 16 x 16"}


def granularities(found: Found) -> str:
    """Every granularity by teacher and level, and at the last level its difference from single weights."""
    last = LEVELS[-1]
    header = [title(*PLACE), "teacher", *(str(level) for level in LEVELS), f"{last}: over single weights"]
    lines, used, missing = [], [], []
    for teacher in ("alone", "held-out"):
        single = tests(found.point(("teddy", teacher, *PLACE), last))
        for method, name in {"teddy": "single weights", **{f"teddy-{g}": NAMES[g] for g in GRANULARITIES}}.items():
            where = (method, teacher, *PLACE)
            rows = [found.row(where, level) for level in LEVELS]
            if not all(rows):
                missing.append(f"{name} ({TAUGHT[teacher]})")
            over = "" if method == "teddy" else gap(tests(found.point(where, last)), single)
            lines.append([name, TAUGHT[teacher], *(percent(row) if row else "" for row in rows), over])
            used += [record for level in LEVELS for record in found.point(where, level).values()]
    absent = [f"<sub>Not yet measured: {', '.join(missing)}.</sub>"] if missing else []
    return "\n\n".join([markdown(header, lines), *absent, *([provenance(used)] if used else [])])
