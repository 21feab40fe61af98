"""Records of many files as one SQL table in memory: read anew each time, so never stale nor in a writer's way.

SQLite comes with Python: nothing has to be installed, and its authorizer holds a condition to reading.
"""

from __future__ import annotations

import json
import math
import sqlite3
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glt.errors import GltError, unknown
from glt.number import number
from glt.results import Record, Results

TABLE = "results"
NAMES = ("results.jsonl", "controls.jsonl")
MOST_COLUMNS = 1500
SOMETIMES = ("status", "control", "control_spec", "track", "error", "n_configs", "together")
"""Fields that only some records have; a condition may ask for them all the same."""
FINISHED = "(status IS NULL OR status = 'ok')"
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}


def files_of(paths: Iterable[str | Path]) -> list[Path]:
    """The files of records: those given, and within folders every results.jsonl and controls.jsonl; sorted.

    Raises:
        GltError: a path that is not there, or no such file in any folder.
    """
    found: dict[Path, None] = {}
    given = [Path(path) for path in paths]
    for path in given:
        if not path.exists():
            raise GltError(f"there are no results at {path}: give a JSONL file, or a folder that glt run wrote to")
        inside = sorted(p for name in NAMES for p in path.rglob(name)) if path.is_dir() else [path]
        found |= dict.fromkeys(inside)
    if not found:
        raise GltError(f"no {' or '.join(NAMES)} under {', '.join(map(str, given))}: glt run writes them")
    return list(found)


def flat(record: Record) -> dict[str, Any]:
    """A record as one row: scalars as they are, parts of ``config`` by short names, what else nests as JSON.

    ``config.strategy.scorer.name`` is ``scorer``, ``config.backbone.hidden`` is ``backbone_hidden``. An option at its
    default is not in a config, so its column is empty.
    """
    row: dict[str, Any] = {}
    for key, value in record.items():
        if key == "config" and isinstance(value, Mapping):
            for name, option in _options(value):
                row.setdefault(name, option)
        elif key == "control_spec" or isinstance(value, (Mapping, list)):
            row[key] = json.dumps(value, sort_keys=True)
        else:
            row[key] = value
    return row


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, spec in config.items():
        if not isinstance(spec, Mapping):
            yield section, json.dumps(spec) if isinstance(spec, list) else spec
            continue
        for option, value in spec.items():
            if option == "name":
                yield section, value
            elif isinstance(value, Mapping) and "name" in value:
                yield option, value["name"]
                yield f"{section}_{option}", json.dumps(value, sort_keys=True)
            else:
                yield f"{section}_{option}", json.dumps(value) if isinstance(value, (Mapping, list)) else value


class Index:
    """Records by SQL.

    Args:
        paths: files and folders, as of :func:`files_of`.
        every: also rows that a later one of the same point (experiment, seed, level, control) has replaced.

    Attributes:
        files: what was read.
        columns: names of the fields that there are, in the order in which records bring them. The table has those of
            :data:`SOMETIMES` besides, empty where no record has them.

    Cost: one pass over the files; memory grows with them.
    """

    def __init__(self, paths: Iterable[str | Path], every: bool = False) -> None:
        self.files = files_of(paths)
        rows: dict[Any, dict[str, Any]] = {}
        for path in self.files:
            for i, record in enumerate(Results(path)):
                point = [json.dumps(record.get(k)) for k in ("config_id", "seed", "level", "control_spec")]
                known = not every and "null" not in point[:3]
                key = (path, *point) if known else (path, i)
                rows.pop(key, None)
                rows[key] = {**flat(record), "path": str(path)}
        names: dict[str, str] = {}  # SQL does not tell Seed from seed
        for row in rows.values():
            for name in row:
                names.setdefault(name.lower(), name)
        self.columns = tuple(list(names.values())[:MOST_COLUMNS])
        self._connection = sqlite3.connect(":memory:")
        if not self.columns:
            raise GltError(f"no record in {', '.join(map(str, self.files))}")
        there = {name.lower() for name in self.columns}
        self._known = (*self.columns, *(name for name in SOMETIMES if name not in there))
        self._connection.execute(f"CREATE TABLE {TABLE} ({', '.join(map(_quoted, self._known))})")
        self._connection.executemany(
            f"INSERT INTO {TABLE} ({', '.join(map(_quoted, self.columns))}) VALUES "
            f"({', '.join('?' * len(self.columns))})",
            ([_value(row.get(name)) for name in self.columns] for row in rows.values()),
        )
        self._connection.commit()
        self._connection.create_aggregate("mean", 1, _Mean)  # type: ignore[arg-type]
        self._connection.create_aggregate("std", 1, _Std)  # type: ignore[arg-type]
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.set_authorizer(_authorised)

    def select(
        self,
        where: str | None = None,
        columns: Sequence[str] = (),
        sort: Sequence[str] = (),
        group: Sequence[str] = (),
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """(names, rows) of what a query finds.

        Args:
            where: an SQL expression over the columns; it can read this table and nothing else.
            columns: which, in order (default: all). With ``group`` those whose mean and unbiased standard deviation
                are wanted, of the finished records.
            sort: columns to order by, ``-name`` for descending.
            group: one row for each combination of these, with the number of finished records in ``n``, and of
                others (failed, killed) in ``failed``.

        Raises:
            GltError: a bad expression, an unknown column, or the mean of one that holds texts alone.
        """
        for name in (*columns, *group):
            self._check(name)
        if group:
            for name in columns:
                self._check_numbers(name)
            wanted = [_quoted(name) for name in group]
            wanted += [f"sum({FINISHED}) AS n", f"sum(NOT {FINISHED}) AS failed"]
            for name in columns:
                value = f"CASE WHEN {FINISHED} THEN {_quoted(name)} END"
                wanted += [f"mean({value}) AS {_quoted(name)}", f"std({value}) AS {_quoted(name + '_std')}"]
        else:
            wanted = [_quoted(name) for name in columns or self.columns]
        query = f"SELECT {', '.join(wanted)} FROM {TABLE}"
        if where is not None:
            query += f" WHERE (\n{where}\n)"
        if group:
            query += f" GROUP BY {', '.join(map(_quoted, group))}"
        order = []
        for name in sort:
            column = name.removeprefix("-")
            if not (group and column in ("n", "failed", *(f"{c}_std" for c in columns))):
                self._check(column)
            order.append(_quoted(column) + (" DESC" if name.startswith("-") else ""))
        if order:
            query += f" ORDER BY {', '.join(order)}"
        try:
            cursor = self._connection.execute(query)
            rows = cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise GltError(
                f"--where {where!r}: {error}; give an SQL expression over the columns {', '.join(self.columns)}"
            ) from None
        return [column[0] for column in cursor.description], rows

    def _check(self, name: str) -> None:
        if name.lower() not in {column.lower() for column in self._known}:
            raise GltError(unknown("column", name, self._known))

    def _check_numbers(self, name: str) -> None:
        """What is empty has no mean and no harm done; what is a text wants to be a group."""
        query = f"SELECT DISTINCT typeof({_quoted(name)}) FROM {TABLE} WHERE {_quoted(name)} IS NOT NULL"
        if {kind for (kind,) in self._connection.execute(query)} == {"text"}:
            raise GltError(f"--columns {name} with --group: texts have no mean; give numbers, or group by it")


class _Mean:
    """The mean of the numbers among some values; NULL where there are none, or one of them is not finite."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def step(self, value: Any) -> None:
        if isinstance(value, (int, float)):
            self.values.append(value)

    def finalize(self) -> float | None:
        return self.of() if all(number(value) is not None for value in self.values) else None

    def of(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None


class _Std(_Mean):
    """SQL's missing unbiased standard deviation; NULL of fewer than two numbers, or one that is not finite."""

    def of(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def _authorised(action: int, what: str | None, detail: str | None, *_: Any) -> int:
    """Selecting from this table and calling functions is allowed, nothing else."""
    if action not in _READS or (action == sqlite3.SQLITE_READ and what != TABLE):
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (detail or "").lower() in ("load_extension", "fts3_tokenizer"):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


def _value(value: Any) -> Any:
    """What SQLite can hold: a number too large for it as text, NaN as nothing."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return str(value).encode("utf-8", "replace").decode()  # half a surrogate pair
