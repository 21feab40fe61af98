"""Records: one JSON line per seed and level, appended at once, read back whatever happened."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not there on Windows, where one process at a time may append
    fcntl = None  # type: ignore[assignment]

from glt.errors import GltError

Record = dict[str, Any]
TUNING, CANDIDATES = "tuning", "candidates.jsonl"
"""Folder of a sweep, and the file in it, with the results of what experiments are chosen among.

They are not those of experiments: whoever looks for these passes over that file, and runs beside it.
"""


class Results:
    """A JSONL file of records.

    A record is appended by a single write under a lock, so a killed run leaves at most one torn last line; it is passed
    over when reading, and the next append starts a new line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[Record]:
        """Records in the order of writing; for the same point the last one counts."""
        return self.holding("")

    def holding(self, text: str) -> Iterator[Record]:
        """Those records whose lines hold a text (an id, a digest): the others are neither cut out nor read as JSON."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise GltError(f"cannot read the results {self.path}: {error.strerror}") from None
        for line in _lines(content, text.encode()):
            try:
                record = json.loads(line)
            except ValueError:
                continue  # torn by a kill, or empty
            if isinstance(record, dict):
                yield record

    def finished(self, **fields: Any) -> Iterator[Record]:
        """The finished records (status ok) with these fields, in the order of writing."""
        for record in self.holding(fields.get("config_id") or ""):
            if record.get("status") == "ok" and all(record.get(k) == v for k, v in fields.items()):
                yield record

    def append(self, record: Record) -> None:
        """Append one record durably; any number of processes may at once."""
        line = json.dumps(record, sort_keys=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _append(handle, line)
            finally:
                os.close(handle)  # which gives the lock back
        except OSError as error:
            raise GltError(f"cannot write the results {self.path}: {error.strerror or error}") from None


def _lines(content: bytes, text: bytes) -> Iterator[bytes]:
    """The lines that hold ``text``, each once; without splitting all of them, which would take longer than looking."""
    at = content.find(text)
    while at >= 0:
        start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
        end = end if end >= 0 else len(content)
        yield content[start:end]
        at = content.find(text, end + 1)


def _append(handle: int, line: bytes) -> None:
    """Nobody else appends between the look at the last byte and the end of the write."""
    if fcntl:
        fcntl.flock(handle, fcntl.LOCK_EX)
    size = os.fstat(handle).st_size
    if size:
        os.lseek(handle, size - 1, os.SEEK_SET)
        if os.read(handle, 1) != b"\n":
            line = b"\n" + line
    while line:  # once, but for a disk that is nearly full
        line = line[os.write(handle, line) :]
    os.fsync(handle)
