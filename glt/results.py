"""Records: one JSON line per seed and level, appended at once, read back whatever happened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glt.errors import GltError

Record = dict[str, Any]


class Results:
    """A JSONL file of records.

    A record is appended by a single write, so a killed run leaves at most one torn last line; it is passed
    over when reading, and the next append starts a new line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[Record]:
        """Records in the order of writing; for the same point the last one counts."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise GltError(f"cannot read the results {self.path}: {error.strerror}") from None
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue  # torn by a kill, or empty
            if isinstance(record, dict):
                yield record

    def find(self, **fields: Any) -> Record | None:
        """The latest finished record (status ok) with these fields."""
        found = None
        for record in self:
            if record.get("status") == "ok" and all(record.get(k) == v for k, v in fields.items()):
                found = record
        return found

    def append(self, record: Record) -> None:
        """Append one record durably."""
        line = json.dumps(record, sort_keys=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise GltError(f"cannot write the results {self.path}: {error.strerror}") from None
        try:
            size = os.fstat(handle).st_size
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                if os.read(handle, 1) != b"\n":
                    line = b"\n" + line
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
