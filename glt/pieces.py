"""Long arrays in pieces, so that temporaries stay in the cache and no fresh memory is touched."""

from __future__ import annotations

from collections.abc import Iterator

PIECE = 1 << 16
"""Items of a piece: 512 KB of int64."""


def pieces(total: int) -> Iterator[slice]:
    """Slices of :data:`PIECE` items that cover 0 to ``total`` in order."""
    for start in range(0, total, PIECE):
        yield slice(start, min(start + PIECE, total))
