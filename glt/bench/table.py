"""Records as text."""

from __future__ import annotations

from collections.abc import Sequence

from glt.results import Record

HEADER = ("", "ms (IQR)", "times as fast", "nodes/s", "peak MB", "prepare ms", "kernel")


def table(records: Sequence[Record]) -> str:
    """A table per query of the records of one target, and what they were measured with."""
    parts = []
    for query in dict.fromkeys(record["query"] for record in records):
        rows = [record for record in records if record["query"] == query]
        lines = [(query, *HEADER[1:]), *(_cells(row) for row in rows if "ms" in row)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        text += [f"{row['variant'].ljust(widths[0])}  {row['note']}" for row in rows if "note" in row]
        parts.append("\n".join(line.rstrip() for line in text))
        if sizes := {r["neighbourhood"] for r in rows if r.get("neighbourhood")}:
            parts[-1] += f"\nneighbourhoods of {min(sizes):,.0f} to {max(sizes):,.0f} nodes, {rows[0]['hops']} hops"
    first = next(record for record in records if "ms" in record)
    said = (
        f"median of {first['passes']} passes after {first['warm_up']}, in turns; {first['threads']} thread(s), "
        f"{first['device']}; peak: what it holds and what torch allocates in a pass"
    )
    return "\n\n".join([*parts, said])


def _cells(record: Record) -> tuple[str, ...]:
    low, high = record["ms_iqr"]
    ratio, prepare = record.get("ratio"), record.get("prepare_ms")
    return (
        record["variant"],
        f"{_ms(record['ms'])} ({_ms(low)}-{_ms(high)})",
        "" if ratio is None else f"{ratio:.2f}",
        f"{record['nodes_per_s']:,.0f}",
        "" if record["peak_mb"] is None else f"{record['peak_mb']:.1f}",
        "" if prepare is None else _ms(prepare),
        record["kernel"],
    )


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
