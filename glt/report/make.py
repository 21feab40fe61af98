"""Records and tickets to a report, from start to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glt.files import atomic
from glt.report.collect import Collected, collect
from glt.report.pictures import pictures
from glt.report.render import render
from glt.version import __version__

SOURCES = ("device", "glt", "torch", "pyg", "python", "commit")


def report(
    paths: Sequence[str | Path], output: str | Path, title: str = "Graph lottery tickets", root: Path | None = None
) -> Collected:
    """Write a report of all records in ``paths``; returns what was found.

    Args:
        paths: JSONL files, and folders that hold some; tickets are looked for beside them.
        output: an HTML file, written atomically.
        title: of the page.
        root: where dataset files are, for pictures of tickets; nothing is downloaded.

    Raises:
        GltError: no finished records, plotly is not installed, or the file cannot be written.
    """
    found = collect([Path(path) for path in paths])
    drawn, missing = pictures(found.records, root)
    data: dict[str, Any] = {
        "rows": found.rows,
        "verdicts": found.verdicts,
        "pictures": drawn,
        "without_picture": missing,
        "records": sum(found.files.values()),
        "files": found.files,
        "passed_over": found.passed_over,
        "made": {"glt": __version__, **_sources(found)},
    }
    page = render(data, title)
    with atomic(output) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return found


def _sources(found: Collected) -> dict[str, list[str]]:
    """What the records were made with."""
    return {
        f"records_{key}": sorted({str(r[key]) for _, r in found.records if r.get(key) is not None}) for key in SOURCES
    }
