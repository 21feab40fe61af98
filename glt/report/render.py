"""The page: one file with its data, its style, its script and plotly's."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from importlib.resources import files
from typing import Any

from glt.errors import GltError

INSTALL = "the report is drawn with plotly: pip install plotly"


def render(data: dict[str, Any], title: str) -> str:
    """The page as text.

    Its scripts are named by their hashes in a content security policy that allows no others and no network, so that
    nothing in a record can be run; the data are JSON in a block of their own, the title is escaped.

    Args:
        data: JSON-able; a number that is NaN or infinite becomes null.
        title: plain text.

    Raises:
        GltError: plotly is not installed.
    """
    own = "\n".join(_part(name) for name in ("look.js", "figures.js", "draw.js", "page.js"))
    scripts = {"plotly": script_text(plotly()), "script": script_text(own)}
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in scripts.values())
    parts = {
        **scripts,
        "policy": f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:",
        "style": _part("page.css"),
        "title": html.escape(title),
        "data": json_text(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _part("page.html"))


def plotly() -> str:
    """plotly.js as the Python package plotly carries it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise GltError(INSTALL) from None
    return str(get_plotlyjs())


def json_text(data: Any) -> str:
    """JSON that no HTML parser finds a tag in."""
    text = json.dumps(finite(data), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(data: Any) -> Any:
    """The same with None for numbers that JSON does not know."""
    if isinstance(data, dict):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def script_text(text: str) -> str:
    """JavaScript that does not end the element it stands in."""
    return re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE)


def _part(name: str) -> str:
    return (files("glt.report") / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
