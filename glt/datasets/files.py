"""Where raw files come from and where what is made of them is kept.

Raw files lie at ``<root>/<family>/<Name>/raw/`` and are only ever read. What is made of them goes to the
cache folder, under an id of the very files it was made of, so that sources never mix and nothing goes stale.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from filelock import FileLock

from glt.errors import DataUnavailable, GltError


def cache_dir() -> Path:
    """``$GLT_CACHE``, else the folder ``glt`` in the platform's own place for caches."""
    if given := os.environ.get("GLT_CACHE"):
        return Path(given).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(base) / "glt"


def locate(family: str, name: str, raw_names: Sequence[str], root: Path | str | None = None) -> Path | None:
    """The raw folder of a local copy.

    Args:
        family: folder of the family, as ``planetoid``.
        name: folder of the dataset in it, as ``Cora``.
        raw_names: the files that must all be there.
        root: where to look; default: ``$GLT_DATA``.

    Returns:
        ``<root>/<family>/<name>/raw``, or None where ``$GLT_DATA`` is not set or has no copy.

    Raises:
        DataUnavailable: ``root`` was given and has no copy: nothing else may silently take its place.
        GltError: some of the files are there and others are not.
    """
    base = root if root is not None else os.environ.get("GLT_DATA")
    if not base:
        return None
    raw = Path(base).expanduser().absolute() / family / name / "raw"
    missing = [file for file in raw_names if not (raw / file).is_file()]
    if not missing:
        return raw
    if len(missing) < len(raw_names):
        raise GltError(f"dataset {family}/{name}: {raw} has no {', '.join(missing)}; complete or remove it")
    if root is not None:
        raise DataUnavailable(
            f"dataset {family}/{name} is not in the given root: no {raw / raw_names[0]}; "
            f"give a root that holds {family}/{name}/raw/, or none to use $GLT_DATA or a download"
        )
    return None


def source_id(files: Iterable[Path], *more: str) -> str:
    """Twelve hex digits of the files' paths, sizes and modification times, and of ``more``."""
    digest = hashlib.sha256(repr(more).encode())
    for file in files:
        stat = file.stat()
        digest.update(f"\n{file}\t{stat.st_size}\t{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def link(raw: Path, raw_names: Sequence[str], into: Path) -> None:
    """Put the raw files into a fresh folder: links where the platform allows them, else copies."""
    into.mkdir(parents=True)
    for name in raw_names:  # a name may lead to a folder beside raw
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            (into / name).symlink_to(raw / name)
        except OSError:
            shutil.copyfile(raw / name, into / name)


def once(target: Path, make: Callable[[Path], Path]) -> Path:
    """Make ``target`` unless it exists, whole or not at all, in one process at a time.

    Args:
        target: file or folder in the cache.
        make: gets an empty scratch folder, removed afterwards, and returns what in it becomes ``target``.

    Returns:
        ``target``.

    Raises:
        GltError: the cache cannot be written; and whatever ``make`` raises, with nothing left behind.
    """
    if target.exists():  # a finished target never changes: no lock, so a read-only cache serves too
        return target
    scratch = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}.lock")
        lock.acquire()
    except OSError as error:
        raise GltError(f"cannot write to the cache {target.parent} ({error}); set GLT_CACHE") from error
    try:
        if not target.exists():
            shutil.rmtree(scratch, ignore_errors=True)  # what an interrupted process left
            scratch.mkdir()
            os.replace(make(scratch), target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()
    return target
