"""Run PyG's own dataset classes: quietly, in the cache, on raw files that were checked first."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_geometric
from torch_geometric.data import Data, InMemoryDataset

from glt.datasets.files import cache_dir, link, locate, once, source_id
from glt.errors import DataUnavailable, GltError


@dataclasses.dataclass(frozen=True)
class PygSource:
    """A dataset that a class of PyG makes of raw files.

    Attributes:
        cls: PyG's dataset class, made as ``cls(folder, title)``, or as ``cls(folder / title)`` unless ``named``.
        family: folder of the family below a root, as ``planetoid``.
        title: PyG's name of the dataset and its folder below the family, as ``Cora``.
        raw_names: its raw files.
        check: called with each raw file before PyG opens it; raises GltError for one that must not be read.
        named: whether the class is of several datasets and takes their name.
    """

    cls: type[InMemoryDataset]
    family: str
    title: str
    raw_names: Sequence[str]
    check: Callable[[Path], None]
    named: bool = True

    def load(self, root: Path | str | None = None) -> Data:
        """The graph as PyG gives it, from the cache the second time.

        Args:
            root: where the raw files are; default: ``$GLT_DATA``, else a kept or new download.

        Raises:
            DataUnavailable: no copy and no download.
            GltError: raw files that are incomplete, refused by ``check`` or not readable by PyG.
        """
        raw = locate(self.family, self.title, self.raw_names, root)
        if raw is None:
            downloads = cache_dir() / "downloads"
            raw = once(downloads / self.family / self.title / "raw", self._download)
            locate(self.family, self.title, self.raw_names, downloads)  # raises if a file was removed
        made_of = source_id([raw / name for name in self.raw_names], torch_geometric.__version__)
        path = cache_dir() / made_of / self.family / f"{self.title}.pt"
        once(path, lambda scratch: self._process(raw, scratch))
        try:
            with quiet():
                data = Data.from_dict(torch.load(path, weights_only=True))  # tensors, nothing is unpickled
            data.x = data.x.to_dense()
            return data
        except Exception as error:
            raise GltError(f"{self}: the cached {path} is damaged ({line(error)}); remove it") from error

    def __str__(self) -> str:
        return f"dataset {self.family}/{self.title}"

    def _open(self, cls: type[InMemoryDataset], folder: Path) -> InMemoryDataset:
        """PyG's dataset with its files in ``<folder>/<title>/raw/``."""
        return cls(str(folder), self.title) if self.named else cls(str(folder / self.title))

    def _download(self, scratch: Path) -> Path:
        """Let PyG's class download its files into ``scratch``; the raw folder, checked."""
        folder = Path(self.family) / self.title
        try:
            with quiet(), patience(60):
                self._open(type(self.cls.__name__, (self.cls,), {"process": _stop}), scratch)
        except _Downloaded:
            raw = scratch / self.title / "raw"
        except Exception as error:
            files = f"{(folder / 'raw').as_posix()}/ with {', '.join(self.raw_names)}"
            raise unavailable(str(self), folder, files, f"the download failed ({line(error)})") from None
        try:
            for name in self.raw_names:
                self.check(raw / name)
        except GltError as error:
            raise DataUnavailable(f"{self}: the download was discarded: {error}") from None
        return raw

    def _process(self, raw: Path, scratch: Path) -> Path:
        """Let PyG's class read the files in ``raw``; a file in ``scratch`` with what it made."""
        link(raw, self.raw_names, scratch / self.title / "raw")
        try:
            for name in self.raw_names:
                self.check(scratch / self.title / "raw" / name)
            with quiet():
                data = self._open(self.cls, scratch)[0]
                if 4 * int(data.x.count_nonzero()) < data.x.numel():  # bags of words: a hundredth on the disk
                    data.x = data.x.to_sparse_csr()
        except Exception as error:
            raise GltError(f"{self}: cannot use the files in {raw}: {line(error)}") from None
        torch.save(data.to_dict(), scratch / "data.pt")
        return scratch / "data.pt"


def check_npz(path: Path, keys: Sequence[str]) -> None:
    """Raise GltError unless ``path`` is an npz whose arrays ``keys`` are numbers, not pickles."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in keys:
                arrays[key]
    except Exception as error:
        raise GltError(f"{path.name} is not an npz with plain arrays {', '.join(keys)}: {line(error)}") from error


def unavailable(what: str, folder: Path, files: str, why: str) -> DataUnavailable:
    """The error for a dataset of which there is no copy, and no download because of ``why``."""
    given = os.environ.get("GLT_DATA")
    local = f"no copy in GLT_DATA ({Path(given) / folder})" if given else "GLT_DATA is not set"
    return DataUnavailable(
        f"{what} is not available: {local}, none in the cache ({cache_dir() / 'downloads' / folder}), and {why}; "
        f"set GLT_DATA or --root to a folder that holds {files}, or connect to the network"
    )


class _Downloaded(Exception):
    """Raised to stop PyG's class between downloading and reading."""


def _stop(dataset: Any) -> None:
    raise _Downloaded


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress lines and no warnings of the libraries below us."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """A time limit for each network read: PyG sets none, and a stalled one would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds if before is None else before)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def line(error: Exception) -> str:
    """An error on one line, with its kind where it is not our own."""
    text = " ".join(str(error).split())
    return text if isinstance(error, GltError) else f"{type(error).__name__}: {text}"
