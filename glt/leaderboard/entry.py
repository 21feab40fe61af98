"""An entry: ``entry.json``, ``records.jsonl``, ``controls.jsonl`` and tickets; JSON and safetensors, no more."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from glt.errors import GltError
from glt.files import atomic
from glt.leaderboard.limits import LIMITS, Limits, NotVerified, shown
from glt.leaderboard.unpack import opened, safe
from glt.registry import checked
from glt.results import CANDIDATES, TUNING, Record, Results

MANIFEST, RECORDS, CONTROLS = "entry.json", "records.jsonl", "controls.jsonl"
FORMAT = 1
SEEDS = range(10)
"""Seeds that count; configurations are chosen on 100 to 104."""
MOST_CONFIGS = 10**9
"""More nobody has tried."""

Text = Annotated[str, Field(max_length=2000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@checked("entry.json")
class Manifest:
    """``entry.json``.

    Attributes:
        format: of this file, 1.
        name: how the entry is called on the board.
        author, notes: of people, for people.
        n_configs: how many configurations were tried to find this one; None where it is not known.
        files: sha256 of every other file, by its path.
    """

    format: Annotated[int, Field(ge=1, le=FORMAT, strict=True)]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    files: dict[str, Sha256]
    author: Text = ""
    notes: Text = ""
    n_configs: Annotated[int, Field(ge=1, le=MOST_CONFIGS, strict=True)] | None = None


@dataclass(frozen=True)
class Entry:
    """Where the parts of an entry are.

    Attributes:
        name: of the entry.
        source: where it comes from, for people.
        tickets: their files.
        records: of the tickets.
        controls: records of their controls.
        n_configs: see :class:`Manifest`; else what all records say.
        foreign: whether somebody else made it: its controls are what that one says.
        author, notes: see :class:`Manifest`.
    """

    name: str
    source: str
    tickets: tuple[Path, ...]
    records: tuple[Record, ...]
    controls: tuple[Record, ...]
    n_configs: int | None = None
    foreign: bool = False
    author: str = ""
    notes: str = ""


def is_entry(path: Path) -> bool:
    """Whether this is a packed entry, not a run."""
    return path.is_file() or (path / MANIFEST).exists()


@contextmanager
def read(path: Path, limits: Limits = LIMITS) -> Iterator[Entry]:
    """The entry in a folder or a zip file, for the length of the block.

    Raises:
        GltError: not an entry; see :func:`glt.leaderboard.unpack.opened`.
        NotVerified: files that are not those that ``entry.json`` names.
    """
    with opened(path, limits) as (_, files):
        if MANIFEST not in files:
            raise GltError(f"{path} holds no {MANIFEST}: make an entry with glt leaderboard submit")
        manifest = _manifest(files.pop(MANIFEST), limits)
        for name in manifest.files:
            safe(name)
        if odd := sorted(files.keys() ^ manifest.files.keys()):
            where = "holds" if odd[0] in files else "does not hold"
            raise NotVerified(f"the entry {where} {shown(odd[0])}, and its {MANIFEST} says otherwise")
        for name, file in files.items():
            if sha256_of(file) != manifest.files[name]:
                raise NotVerified(f"{name} is not the file that {MANIFEST} names: its sha256 differs")
        tickets = tuple(files[name] for name in sorted(files) if name.endswith(".safetensors"))
        if not tickets:
            raise GltError("the entry holds no ticket")
        records = tuple(_records(files[RECORDS], limits)) if RECORDS in files else ()
        yield Entry(
            name=manifest.name,
            source=path.name,
            tickets=tickets,
            records=tuple(r for r in records if not r.get("control")),
            controls=tuple(_records(files[CONTROLS], limits)) if CONTROLS in files else (),
            n_configs=manifest.n_configs or stated(records),
            foreign=True,
            author=manifest.author,
            notes=manifest.notes,
        )


def of_run(folder: Path) -> Entry:
    """The entry of a run's folder, ``<out>/<name>/<config id>``, whose records lie in the folder above."""
    every = [r for r in Results(folder.parent / "results.jsonl") if r.get("config_id") == folder.name]
    controls = [*(r for r in every if r.get("control")), *Results(folder / CONTROLS)]
    tickets = [p for p in sorted(folder.glob("seed*/level*.safetensors")) if _seed(p) in SEEDS]
    records = [r for r in every if not r.get("control") and r.get("seed") in SEEDS]
    name = f"{folder.parent.name} {folder.name}"
    return Entry(name, str(folder), tuple(tickets), tuple(records), tuple(controls), _tried(folder.parent, records))


def runs_under(path: Path) -> list[Path]:
    """Every run's folder at or below ``path``, sorted; none of those that a run was chosen among."""
    found = {ticket.parent.parent for ticket in path.rglob("seed*/level*.safetensors")}
    return sorted(run for run in found if not (run.parent / CANDIDATES).exists())


def stated(records: Iterable[Record]) -> int | None:
    """The number of configurations tried that all records state; None where they do not."""
    said = {r.get("n_configs") for r in records if r.get("n_configs") is not None}
    number = said.pop() if len(said) == 1 else None
    return number if type(number) is int and 1 <= number <= MOST_CONFIGS else None


def _tried(sweep: Path, records: Iterable[Record]) -> int | None:
    """What all records state, and at least the candidates of their kind that the sweep has tried, before or since."""
    kinds = {_kind(r) for r in records if r.get("level")}
    candidates = {r.get("config_id") for r in Results(sweep / TUNING / CANDIDATES) if _kind(r) in kinds}
    return max(stated(records) or 0, len(candidates)) or None


def _kind(record: Record) -> tuple[str, ...]:
    """Method, backbone and dataset; of a dense training, those of the experiment that it is of."""
    config: Any = record.get("config")
    known = config if isinstance(config, dict) else {}
    return tuple(str((known.get(part) or {}).get("name")) for part in ("strategy", "backbone", "dataset"))


def pack(
    run: Path, target: Path, name: str, author: str = "", notes: str = "", n_configs: int | None = None
) -> Manifest:
    """Write a run as an entry for somebody else; returns its ``entry.json``.

    Args:
        run: a run's folder, as of :func:`runs_under`.
        target: the zip file to make or replace, atomically.
        name: see :class:`Manifest`.
        author: likewise.
        notes: likewise.
        n_configs: likewise; by default what all records say.

    Raises:
        GltError: a run without tickets of seeds 0 to 9.
    """
    entry = of_run(run)
    if not entry.tickets:
        raise GltError(f"{run} holds no ticket of seeds 0 to 9: these are the ones that count")
    texts = {RECORDS: _jsonl(entry.records)}
    if entry.controls:
        texts[CONTROLS] = _jsonl(entry.controls)
    tickets = {f"tickets/{path.parent.name}/{path.name}": path for path in entry.tickets}
    digests = {file: hashlib.sha256(text).hexdigest() for file, text in texts.items()}
    digests |= {file: sha256_of(path) for file, path in tickets.items()}
    manifest = Manifest(
        format=FORMAT, name=name, author=author, notes=notes, n_configs=n_configs or entry.n_configs, files=digests
    )
    with atomic(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in {MANIFEST: json.dumps(vars(manifest), indent=1).encode(), **texts}.items():
            archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
        for file, path in tickets.items():
            archive.writestr(zipfile.ZipInfo(file, (1980, 1, 1, 0, 0, 0)), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return manifest


def parse(text: str | bytes, what: str) -> Any:
    """JSON in which every number is one.

    Raises:
        GltError: not JSON, or NaN or an infinity in it.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _NoNumber) else "nested too deeply, or torn"
        raise GltError(f"{what} is not plain JSON: {why}") from None


class _NoNumber(ValueError):
    pass


def _refuse(constant: str) -> float:
    raise _NoNumber(f"it holds {constant}")


def _manifest(path: Path, limits: Limits) -> Manifest:
    tree = parse(_text(path, limits), MANIFEST)
    if not isinstance(tree, dict):
        raise GltError(f"{MANIFEST} must be a JSON object")
    return Manifest(**tree)


def _records(path: Path, limits: Limits) -> Iterator[Record]:
    for number, line in enumerate(_text(path, limits).split(b"\n"), start=1):
        if line.strip():
            record = parse(line, f"{path.name} line {number}")
            if not isinstance(record, dict):
                raise GltError(f"{path.name} line {number} is not a JSON object")
            yield record


def _text(path: Path, limits: Limits) -> bytes:
    if path.stat().st_size > limits.text:
        raise GltError(f"{path.name} has more than {limits.text:,} bytes")
    return path.read_bytes()


def _jsonl(records: Iterable[Record]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def sha256_of(path: Path) -> str:
    """Of the bytes of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            total.update(chunk)
    return total.hexdigest()


def _seed(path: Path) -> int:
    number = path.parent.name.removeprefix("seed")
    return int(number) if number.isdecimal() else -1
