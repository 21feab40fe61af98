"""Datasets from files: right numbers, nothing written to the source, nothing harmful opened, clear errors."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric import datasets as pyg
from torch_geometric.utils import contains_self_loops, is_undirected

from glt import registry
from glt.datasets import files, load
from glt.datasets.planetoid import DIGESTS
from glt.datasets.splits import per_class
from glt.errors import DataUnavailable, GltError

DATA = os.environ.get("GLT_DATA")

# name: family, folder, nodes, arcs, features, classes, metric, split, train/val/test nodes
FACTS: dict[str, tuple[Any, ...]] = {
    "cora": ("planetoid", "Cora", 2708, 10556, 1433, 7, "accuracy", "public", (140, 500, 1000)),
    "citeseer": ("planetoid", "CiteSeer", 3327, 9104, 3703, 6, "accuracy", "public", (120, 500, 1000)),
    "pubmed": ("planetoid", "PubMed", 19717, 88648, 500, 3, "accuracy", "public", (60, 500, 1000)),
    "minesweeper": (
        "heterophilous", "minesweeper", 10000, 78804, 7, 2, "roc_auc", "split-0", (5000, 2500, 2500)
    ),
    "tolokers": (
        "heterophilous", "tolokers", 11758, 1038000, 10, 2, "roc_auc", "split-0", (5879, 2939, 2940)
    ),
    "photo": ("amazon", "Photo", 7650, 238162, 745, 8, "accuracy", "seeded-0", (160, 240, 7250)),
    "computers": ("amazon", "Computers", 13752, 491722, 767, 10, "accuracy", "seeded-0", (200, 300, 13252)),
    "cs": ("coauthor", "CS", 18333, 163788, 6805, 15, "accuracy", "seeded-0", (300, 450, 17583)),
}  # fmt: skip


def raw_folder(name: str, root: str | Path | None = DATA) -> Path:
    family, title = FACTS[name][:2]
    return Path(root or "missing", family, title, "raw")


def real(*names: str) -> pytest.MarkDecorator:
    here = all(raw_folder(name).is_dir() for name in names)
    return pytest.mark.skipif(not here, reason=f"GLT_DATA has no {', '.join(names)}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh cache for every test."""
    monkeypatch.setenv("GLT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    for cls in (pyg.Planetoid, pyg.Amazon, pyg.Coauthor, pyg.HeterophilousGraphDataset):
        monkeypatch.setattr(cls, "download", refuse)


def copy(name: str, to: Path) -> Path:
    """A root of one's own with the files of one dataset, writable; the root."""
    raw = raw_folder(name, to)
    raw.mkdir(parents=True)
    for file in raw_folder(name).iterdir():
        shutil.copyfile(file, raw / file.name)
    return to


def made_files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def refused(call: Callable[[], object], *words: str, kind: type[GltError] = GltError) -> str:
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


# --- the real graphs ---------------------------------------------------------------------------------------


@pytest.mark.dataset
@pytest.mark.parametrize("name", [pytest.param(name, marks=real(name)) for name in FACTS])
def test_counts_and_form(name: str) -> None:
    data = load(name)
    _, _, nodes, arcs, features, classes, metric, split, parts = FACTS[name]
    assert (data.num_nodes, data.num_edges, data.num_features) == (nodes, arcs, features)
    assert (data.dataset, data.num_classes, data.metric, data.split) == (name, classes, metric, split)
    assert (data.x.dtype, data.x.layout, data.x.shape) == (torch.float32, torch.strided, (nodes, features))
    assert data.y.dtype == data.edge_index.dtype == torch.int64
    assert int(data.y.min()) == 0 and int(data.y.max()) == classes - 1
    assert is_undirected(data.edge_index) and not contains_self_loops(data.edge_index)
    assert torch.unique(data.edge_index[0] * nodes + data.edge_index[1]).numel() == arcs
    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask])
    assert masks.dtype == torch.bool and masks.shape == (3, nodes)
    assert tuple(masks.sum(1).tolist()) == parts
    assert int(masks.sum(0).max()) == 1, "disjoint"
    assert set(data.keys()) == {
        "x", "edge_index", "y", "train_mask", "val_mask", "test_mask", "dataset", "num_classes", "metric", "split"
    }  # fmt: skip


@real("cora")
def test_features_are_row_normalised_unless_told_otherwise() -> None:
    torch.testing.assert_close(load("cora").x.sum(1), torch.ones(2708))
    plain = load({"name": "cora", "normalize": False})
    assert set(plain.x.unique().tolist()) == {0.0, 1.0}


@real("minesweeper")
def test_published_splits_differ() -> None:
    data = {split: load({"name": "minesweeper", "split": split}) for split in (0, 9)}
    assert data[9].split == "split-9"
    assert not torch.equal(data[0].train_mask, data[9].train_mask)
    refused(lambda: load({"name": "minesweeper", "split": 10}), "split", "10")


@real("photo")
def test_seeded_splits_have_their_own_generator() -> None:
    torch.manual_seed(1)
    first = load("photo")
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = load({"name": "photo", "split_seed": 0})
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.train_mask, again.train_mask) and torch.equal(first.val_mask, again.val_mask)
    other = load({"name": "photo", "split_seed": 1})
    assert other.split == "seeded-1" and not torch.equal(first.train_mask, other.train_mask)
    assert torch.bincount(first.y[first.train_mask]).tolist() == [20] * 8
    assert torch.bincount(first.y[first.val_mask]).tolist() == [30] * 8


def test_a_class_too_small_for_its_split_is_refused() -> None:
    y = torch.tensor([0] * 60 + [1] * 50)
    refused(lambda: per_class(y, 20, 30, seed=0), "has 50 nodes")
    train, val, test = per_class(torch.cat([y, y.new_tensor([1])]), 20, 30, seed=0)
    assert (int(train.sum()), int(val.sum()), int(test.sum())) == (40, 60, 11)
    refused(lambda: per_class(torch.tensor([0, 0, 0, 1, 1]), 1, 1, seed=0, shrink=True), "has 2 nodes")
    refused(lambda: per_class(torch.tensor([0, 0, 0, 2, 2, 2]), 1, 1, seed=0), "has 0 nodes")


def test_all_names_are_registered_with_one_line_of_help() -> None:
    assert set(FACTS) | {"csbm"} <= set(registry.names("datasets"))
    for name in FACTS:
        cls = registry.get("datasets", name)
        assert len((cls.__doc__ or "").splitlines()[0]) > 40
        assert all(option.help for option in registry.options(cls))
        assert registry.build("datasets", registry.spec_of(cls())) == cls()


# --- the cache ---------------------------------------------------------------------------------------------


@real("cora", "minesweeper")
def test_sources_stay_untouched_and_the_second_load_is_from_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listing() -> list[tuple[str, int, int]]:
        paths = [raw_folder(name) for name in ("cora", "minesweeper")]
        found = [path for folder in paths for path in (folder, *folder.parent.rglob("*"))]
        return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in found]

    before = listing()
    first = load("cora"), load("minesweeper")
    assert listing() == before
    kept = made_files(cache)
    assert sorted(path.name for path in kept) == ["Cora.pt", "minesweeper.pt"]

    def fail(self: Any) -> None:
        raise AssertionError("processed a second time")

    monkeypatch.setattr(pyg.Planetoid, "process", fail)
    monkeypatch.setattr(pyg.HeterophilousGraphDataset, "process", fail)
    for a, b in zip(first, (load("cora"), load("minesweeper")), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in ("x", "edge_index", "y", "train_mask"))


@real("minesweeper")
def test_another_or_a_changed_source_is_processed_anew(tmp_path: Path, cache: Path) -> None:
    root = copy("minesweeper", tmp_path / "mine")
    assert load("minesweeper").num_nodes == load("minesweeper", root).num_nodes == 10_000
    assert len(made_files(cache)) == 2
    write_tiny_minesweeper(root)
    assert load("minesweeper", root).num_nodes == 4
    assert load("minesweeper").num_nodes == 10_000


def write_tiny_minesweeper(root: Path, **changed: Any) -> Path:
    masks = np.zeros((10, 4), dtype=bool)
    arrays: dict[str, Any] = {
        "node_features": np.eye(4, 7, dtype=np.float32),
        "node_labels": np.array([0, 1, 0, 1]),
        "edges": np.array([[0, 1], [1, 2], [2, 3]]),
        "train_masks": masks,
        "val_masks": masks,
        "test_masks": ~masks,
    }
    raw = raw_folder("minesweeper", root)
    raw.mkdir(parents=True, exist_ok=True)
    np.savez(raw / "minesweeper.npz", **{**arrays, **changed})
    return root


def test_files_are_copied_where_links_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("symbolic link privilege not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert load("minesweeper", write_tiny_minesweeper(tmp_path / "root")).num_edges == 6


def test_what_an_interrupted_process_left_is_not_used(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "it"
    leftover = tmp_path / "cache" / "it.part" / "half"
    leftover.mkdir(parents=True)

    def make(scratch: Path) -> Path:
        assert list(scratch.iterdir()) == []
        (scratch / "file").write_text("whole")
        return scratch / "file"

    assert files.once(target, make).read_text() == "whole"
    assert not leftover.parent.exists()
    assert files.once(target, lambda scratch: pytest.fail("made twice")) == target


def test_a_damaged_cache_and_one_that_cannot_be_written_are_said(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tiny_minesweeper(tmp_path / "root")
    load("minesweeper", root)
    (kept,) = made_files(cache)
    kept.write_bytes(kept.read_bytes()[:100])
    refused(lambda: load("minesweeper", root), "damaged", str(kept))
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GLT_CACHE", str(tmp_path / "file"))
    refused(lambda: load("minesweeper", root), "cannot write", "GLT_CACHE")


def test_two_processes_at_once_agree_and_print_nothing_else(tmp_path: Path, cache: Path) -> None:
    root = DATA if raw_folder("cora").is_dir() else str(write_tiny_minesweeper(tmp_path / "root"))
    name = "cora" if root == DATA else "minesweeper"
    code = f"from glt.datasets import load; print(load({name!r}, {root!r}).x.sum().item(), load('csbm'))"
    env = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    command = [sys.executable, "-W", "always::UserWarning", "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen(command, text=True, env=env, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    results = [process.communicate(timeout=120) for process in both]
    assert results[0] == results[1] and results[0][1] == "" and float(results[0][0].split()[0]) > 0
    assert len(made_files(cache)) == 1


def test_cache_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert files.cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("GLT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    expected = {"linux": "xdg/glt", "darwin": "home/Library/Caches/glt", "win32": "local/glt"}
    for platform, folder in expected.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert files.cache_dir() == tmp_path / folder


# --- no data, no network -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", list(FACTS))
def test_no_copy_and_no_network(name: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLT_DATA", str(tmp_path / "empty"))
    family, title = FACTS[name][:2]
    message = refused(lambda: load(name), f"{family}/{title}", "--root", "network", kind=DataUnavailable)
    assert str(tmp_path / "empty" / family / title) in message and str(cache) in message
    assert "Name or service not known" in message
    monkeypatch.delenv("GLT_DATA")
    refused(lambda: load(name), "GLT_DATA is not set", kind=DataUnavailable)
    assert made_files(cache) == []


@pytest.mark.parametrize("error", [OSError("gone\naway"), TimeoutError(), FileNotFoundError("https://x"), KeyError(1)])
def test_half_a_download_is_not_kept(error: Exception, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(self: Any) -> None:
        (Path(self.raw_dir) / "minesweeper.npz").write_bytes(b"half")
        raise error

    monkeypatch.delenv("GLT_DATA", raising=False)
    monkeypatch.setattr(pyg.HeterophilousGraphDataset, "download", half)
    refused(lambda: load("minesweeper"), type(error).__name__, kind=DataUnavailable)
    assert made_files(cache) == []


def test_a_good_download_is_kept_and_a_bad_one_is_not(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = raw_folder("minesweeper", write_tiny_minesweeper(tmp_path / "web")) / "minesweeper.npz"
    content, downloads = [b"<html>please log in</html>", source.read_bytes()], []

    def download(self: Any) -> None:
        print("Downloading", file=sys.stderr)
        downloads.append(self.raw_dir)
        (Path(self.raw_dir) / "minesweeper.npz").write_bytes(content[len(downloads) - 1])

    monkeypatch.delenv("GLT_DATA", raising=False)
    monkeypatch.setattr(pyg.HeterophilousGraphDataset, "download", download)
    refused(lambda: load("minesweeper"), "discarded", "minesweeper.npz", kind=DataUnavailable)
    assert made_files(cache) == []
    assert load("minesweeper").num_nodes == load("minesweeper").num_nodes == 4
    assert len(downloads) == 2, "kept after the first good one"
    assert capfd.readouterr() == ("", "")
    (cache / "downloads/heterophilous/minesweeper/raw/minesweeper.npz").unlink()
    refused(lambda: load("minesweeper"), "minesweeper.npz")


@pytest.mark.usefixtures("offline")
def test_a_given_root_is_never_replaced(tmp_path: Path, cache: Path) -> None:
    for root in (tmp_path / "none", tmp_path):
        message = refused(lambda root=root: load("cora", root), "given root", kind=DataUnavailable)  # type: ignore[misc]
        assert str(root / "planetoid" / "Cora" / "raw") in message
    assert not cache.exists()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("given", [True, False])
def test_a_partial_folder_names_the_missing_file(given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_folder("cora", tmp_path)
    raw.mkdir(parents=True)
    for name in DIGESTS:
        if name.startswith("ind.cora.") and not name.endswith((".ty", ".graph")):
            (raw / name).write_bytes(b"")
    monkeypatch.setenv("GLT_DATA", str(tmp_path))
    message = refused(lambda: load("cora", tmp_path if given else None), str(raw), "ind.cora.ty", "ind.cora.graph")
    assert "ind.cora.allx" not in message


# --- harmful or broken files -------------------------------------------------------------------------------


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_harmful_pickle_of_these_tests_does_harm(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Harmful(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()


@real("cora")
@pytest.mark.parametrize("part", ["x", "graph", "test.index"])
def test_a_changed_pickle_is_refused_before_it_is_opened(part: str, tmp_path: Path, cache: Path) -> None:
    root = copy("cora", tmp_path / "root")
    (raw_folder("cora", root) / f"ind.cora.{part}").write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    refused(lambda: load("cora", root), f"ind.cora.{part}", str(root), "not opened")
    assert not (tmp_path / "harm").exists()
    assert made_files(cache) == []


def test_a_downloaded_pickle_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: Any) -> None:
        for path in self.raw_paths:
            Path(path).write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))

    monkeypatch.delenv("GLT_DATA", raising=False)
    monkeypatch.setattr(pyg.Planetoid, "download", download)
    refused(lambda: load("cora"), "ind.cora.x", "not opened", kind=DataUnavailable)
    assert not (tmp_path / "harm").exists()


def test_an_npz_with_objects_is_refused(tmp_path: Path) -> None:
    harmful = np.array([Harmful(tmp_path / "harm"), None], dtype=object)
    root = write_tiny_minesweeper(tmp_path / "root", node_labels=harmful)
    refused(lambda: load("minesweeper", root), "minesweeper.npz", "allow_pickle=False")
    for name, file in (("photo", "amazon_electronics_photo.npz"), ("cs", "ms_academic_cs.npz")):
        raw = raw_folder(name, tmp_path / "root")
        raw.mkdir(parents=True)
        np.savez(raw / file, adj_data=harmful)
        refused(lambda name=name: load(name, tmp_path / "root"), file, "allow_pickle=False")  # type: ignore[misc]
    assert not (tmp_path / "harm").exists()


def test_broken_files_are_said_in_one_line(tmp_path: Path) -> None:
    root = write_tiny_minesweeper(tmp_path / "root", edges=np.zeros((3, 2, 2, 2)))
    refused(lambda: load("minesweeper", root), "cannot use the files in", str(root))
    path = raw_folder("minesweeper", root) / "minesweeper.npz"
    buffer = io.BytesIO()
    np.savez(buffer, edges=np.zeros((1, 2)))
    for content in (b"", b"not a zip", buffer.getvalue(), pickle.dumps(Harmful(tmp_path / "harm"))):
        path.write_bytes(content)
        refused(lambda: load("minesweeper", root), "minesweeper.npz", "plain arrays")
    assert not (tmp_path / "harm").exists()
