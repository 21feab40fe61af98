"""Status: what every worker is doing, as small files that also work where workers share nothing but a disk."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from glt.errors import GltError
from glt.files import atomic

EVERY = 0.5
"""Seconds between two signs of life."""


class Status:
    """One running unit's file, ``<folder>/<name>.json``; called after every epoch.

    It is there from the start of the block to its end: what a worker leaves behind, it was killed at.
    """

    def __init__(self, folder: Path, name: str, label: str, seed: int) -> None:
        self.path = folder / f"{name}.json"
        self.told: dict[str, Any] = {"unit": name, "label": label, "seed": seed}
        self.told |= {"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}
        self.epochs = 0
        self._last = ("", 0)
        self._written = -EVERY

    def __enter__(self) -> Status:
        self._write()
        self._written = -EVERY  # the first epoch is told at once
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def __call__(self, seed: int, phase: str, epoch: int, val: float) -> None:
        """An epoch of ``phase`` is over."""
        before = self._last[1] if self._last[0] == phase and self._last[1] < epoch else 0
        self.epochs += epoch - before
        self._last = (phase, epoch)
        if time.monotonic() - self._written > EVERY:
            self._write(phase=phase, epoch=epoch, epochs=self.epochs, val=val)

    def _write(self, **more: Any) -> None:
        with atomic(self.path) as file:
            file.write_text(json.dumps({**self.told, **more}))
        self._written = time.monotonic()


def running(folder: Path) -> dict[str, dict[str, Any]]:
    """What is being done, by the unit's name."""
    found = {}
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            told = json.loads(path.read_text())
            found[told["unit"]] = told
        except (OSError, ValueError, KeyError):  # just ended
            continue
    return found


def clear(folder: Path) -> None:
    """Nothing is being done, whatever a killed sweep has left.

    Raises:
        GltError: the folder cannot be written.
    """
    try:
        for path in folder.glob("*.json"):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise GltError(f"cannot write {folder}: {error.strerror}") from None
