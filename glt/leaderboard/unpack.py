"""The files of an entry, a folder or a zip file, without believing a word of what it says of itself."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glt.errors import GltError
from glt.leaderboard.limits import Limits, shown

SUFFIXES = (".json", ".jsonl", ".safetensors")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CHUNK = 2**20


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[tuple[Path, dict[str, Path]]]:
    """(folder, its files by name) of an entry; a zip file is unpacked into a temporary folder.

    Raises:
        GltError: not a folder or a zip file; a name that leads elsewhere or is of another kind, a link, too many files,
            too many bytes (declared or real), a damaged or encrypted zip.
    """
    if path.is_dir():
        yield path, _listed(path, limits)
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="glt-entry-") as made:
            yield Path(made), _extracted(path, Path(made), limits)
    else:
        raise GltError(f"there is no entry {path}: give a folder or a zip file that glt leaderboard submit made")


def safe(name: str) -> str:
    """``name`` if it is a plain relative path to a kind of file that entries have.

    Raises:
        GltError: anything else.
    """
    if not all(_PART.fullmatch(part) for part in name.split("/")) or len(name) > 200:
        raise GltError(f"the entry names a file {shown(name)}: only plain relative paths are allowed")
    if not name.endswith(SUFFIXES):
        raise GltError(f"the entry holds {shown(name)}: only {', '.join(SUFFIXES)} files are allowed")
    return name


def _counted(number: int, total: int, limits: Limits) -> None:
    if number > limits.files:
        raise GltError(f"the entry holds more than {limits.files} files")
    if total > limits.bytes:
        raise GltError(f"the entry holds more than {limits.bytes:,} bytes")


def _listed(folder: Path, limits: Limits) -> dict[str, Path]:
    found: dict[str, Path] = {}
    total, seen, waiting = 0, 0, [folder]
    while waiting:
        with os.scandir(waiting.pop()) as items:
            for item in items:
                seen += 1
                kind = item.stat(follow_symlinks=False)
                name = Path(item.path).relative_to(folder).as_posix()
                if stat.S_ISDIR(kind.st_mode):
                    _counted(seen, total, limits)
                    waiting.append(Path(item.path))
                    continue
                if not stat.S_ISREG(kind.st_mode):
                    raise GltError(f"the entry holds {shown(name)}, a link or a special file: only files are allowed")
                found[safe(name)] = Path(item.path)
                total += kind.st_size
                _counted(seen, total, limits)
    return found


def _extracted(path: Path, folder: Path, limits: Limits) -> dict[str, Path]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _counted(len(members), sum(member.file_size for member in members), limits)
            found: dict[str, Path] = {}
            total = 0
            for member in members:
                if member.is_dir():
                    continue
                name = safe(member.filename)
                mode = member.external_attr >> 16
                if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                    raise GltError(f"the entry holds {shown(name)}, a link or a special file: only files are allowed")
                if name in found:
                    raise GltError(f"the entry holds {shown(name)} twice")
                if member.flag_bits & 1:
                    raise GltError(f"the entry's {shown(name)} is encrypted")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise GltError(f"the entry's {shown(name)} is compressed in a way that is not read: use deflate")
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("xb") as written:
                    while chunk := source.read(_CHUNK):
                        total += len(chunk)
                        _counted(len(found), total, limits)  # what is there, not what was declared
                        written.write(chunk)
                found[name] = target
            return found
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise GltError(f"{path} is not a readable zip file: {' '.join(str(error).split())}") from None
    except Exception as error:  # zlib.error, struct.error, UnicodeDecodeError of a damaged file
        if isinstance(error, GltError):
            raise
        raise GltError(f"{path} is not a readable zip file: {' '.join(str(error).split())}") from None
