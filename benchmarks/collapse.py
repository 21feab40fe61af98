"""Table of what becomes of UGS's masks while they are trained: the penalty pulls until the network is none."""

from __future__ import annotations

import statistics

from accuracy import PLACES, TEACHERS
from compared import SHOWN, TAUGHT, title
from found import Found

from glt.tables import markdown

KEYS = ("mask_epoch", "mask_val", "mask_last_val")


def collapse(found: Found) -> str:
    """Of the last round before a level: the best epoch by validation, where masks are read, beside the last one."""
    header = ["UGS", "teacher", "level", "masks read at epoch", "validation then, %", "after the last epoch, %"]
    lines, missing = [], []
    for place in PLACES:
        for teacher in TEACHERS:
            points = {level: found.point(("ugs", teacher, *place), level) for level in SHOWN}
            known = {n: of for n, of in points.items() if of and all(KEYS[0] in r for r in of.values())}
            for level, point in known.items():
                epoch, best, last = (statistics.fmean(record[key] for record in point.values()) for key in KEYS)
                cells = [str(level), f"{epoch:.0f}", f"{100 * best:.1f}", f"{100 * last:.1f}"]
                lines.append([title(*place), TAUGHT[teacher], *cells])
            if not known:
                missing.append(f"{title(*place)} ({TAUGHT[teacher]})")
    absent = [f"<sub>Not recorded: {', '.join(missing)}.</sub>"] if missing else []
    return "\n\n".join([*([markdown(header, lines)] if lines else []), *absent])
