"""OGB's node sets from small files in its own layout, through its own classes: numbers, silence, clear errors."""

import builtins
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import ogb_files

from glt.check import check_data
from glt.config import Config
from glt.datasets import load
from glt.datasets.ogb import incident_mean
from glt.datasets.ogb_evaluator import evaluator, judged
from glt.errors import DataUnavailable, GltError
from glt.evaluate import accuracy, metric_named, roc_auc
from glt.find import find
from glt.registry import build
from glt.train import Recipe

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
every = pytest.mark.parametrize("name", list(ogb_files.MAKERS))
SPLIT = {"ogbn-products": "sales_ranking", "ogbn-proteins": "species"}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A fresh cache, no data, no network, and nobody to answer a question."""
    monkeypatch.setenv("GLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GLT_DATA", raising=False)

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    def ask(*args):
        raise AssertionError("a question on standard input")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(builtins, "input", ask)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def snapshot(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@every
def test_numbers_are_those_of_the_files(name, root):
    edges, features, labels, parts = ogb_files.MAKERS[name](root)
    data = load(name, root)
    check_data(data)
    arcs = {(int(u), int(v)) for u, v in edges}
    both = sorted(arcs | {(v, u) for u, v in arcs})
    assert [tuple(arc) for arc in data.edge_index.t().tolist()] == both
    assert data.x.dtype == torch.float32
    if name != "ogbn-proteins":
        assert np.array_equal(data.x.numpy(), np.asarray(features, dtype=np.float32))
        assert data.y.dtype == torch.int64
        assert data.y.tolist() == [-1 if value != value else int(value) for value in labels]
        assert "edge_attr" not in data
    for mask, index in zip((data.train_mask, data.val_mask, data.test_mask), parts, strict=True):
        assert mask.nonzero().squeeze(1).tolist() == sorted(index.tolist())
    assert (data.dataset, data.split) == (name, SPLIT.get(name, "time"))
    assert data.metric == ("roc_auc" if name == "ogbn-proteins" else "accuracy")
    assert (
        data.num_classes == {"ogbn-arxiv": 40, "ogbn-products": 47, "ogbn-proteins": 112, "ogbn-papers100M": 172}[name]
    )


@pytest.mark.parametrize("species", ["node_species", "species"])
def test_edge_features_of_proteins_go_with_their_edge_and_make_the_nodes(species, root):
    edges, attributes, labels, _ = ogb_files.proteins(root, species=species)
    data = load("ogbn-proteins", root)
    of = {frozenset(edge.tolist()): row for edge, row in zip(edges, attributes, strict=True)}
    want = np.array([of[frozenset(arc)] for arc in data.edge_index.t().tolist()], dtype=np.float32)
    assert np.array_equal(data.edge_attr.numpy(), want)
    for node in range(ogb_files.NODES):
        rows = [row for edge, row in zip(edges, attributes, strict=True) if node in edge]
        np.testing.assert_allclose(data.x[node], np.mean(rows, axis=0) if rows else np.zeros(8), rtol=1e-5)
    assert data.y.dtype == torch.float32 and np.array_equal(data.y.numpy(), labels)


def test_a_node_without_arcs_has_features_of_zero():
    x = incident_mean(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 3)
    assert x.tolist() == [[3, 4], [1, 2], [0, 0]]


@every
def test_a_ticket_is_found_and_verified_by_ogbs_own_evaluator(name, root):
    ogb_files.MAKERS[name](root)
    data = load(name, root)
    recipe = Recipe(epochs=3, lr=0.05)
    backbone = build("backbones", {"name": "gcn", "hidden": 8})
    ticket = find(backbone, data, 0.3, 0.5, recipe=recipe)
    sub = ticket.apply(data)
    assert sub.num_edges == 2 * round(0.7 * ogb_files.EDGES)
    model = ticket.restore(backbone(data.x.size(1), data.num_classes)).eval()
    score = judged(data, data.metric)
    logits = model(*model.prepare(sub))
    for part in ("val", "test"):
        mask = data[f"{part}_mask"]
        official = score(logits[mask].detach(), data.y[mask])
        assert ticket.metrics[part] == pytest.approx(official, abs=1e-12)
    assert ticket.verify(data, model).ok
    assert judged(data, "micro_f1") is None


@pytest.mark.parametrize("seed", range(2))
def test_metrics_are_those_of_ogbs_evaluator(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=(30, 112)).astype(np.float32)
    y[rng.random(y.shape) < 0.3] = np.nan
    y[:, 7], y[:, 8] = 0, np.nan  # tasks that are left out
    logits = torch.from_numpy(rng.integers(5, size=y.shape).astype(np.float32))  # ties
    labels = torch.from_numpy(y)
    assert roc_auc(logits, labels) == pytest.approx(evaluator("ogbn-proteins")(logits, labels), abs=1e-12)
    logits, classes = torch.from_numpy(rng.normal(size=(30, 40))), torch.from_numpy(rng.integers(40, size=30))
    assert accuracy(logits, classes) == pytest.approx(evaluator("ogbn-arxiv")(logits, classes), abs=1e-12)
    assert metric_named("micro_f1")(logits, classes) == accuracy(logits, classes)


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-papers100M"])
def test_a_direction_is_kept_where_it_is_asked_for(name, root):
    edges = ogb_files.MAKERS[name](root)[0]
    data = load({"name": name, "undirected": False}, root)
    assert {tuple(arc) for arc in data.edge_index.t().tolist()} == {(int(u), int(v)) for u, v in edges}
    assert load(name, root).num_edges == 2 * data.num_edges, "the two do not share a file"
    ticket = find("mlp", data, 0.5, 0.0, strategy="random", recipe=Recipe(epochs=1))
    assert not ticket.undirected and ticket.edge_keep.numel() == ogb_files.EDGES


@every
def test_nothing_is_written_to_the_source_and_the_cache_is_used(name, root, tmp_path, capfd):
    ogb_files.MAKERS[name](root)
    before = snapshot(root)
    one = load(name, root)
    assert snapshot(root) == before
    assert not [path for path in tmp_path.rglob("*.part")]
    assert capfd.readouterr() == ("", "")
    made = sorted((tmp_path / "cache").rglob("*.pt"))
    stamps = [path.stat().st_mtime_ns for path in made]
    two = load(name, root)
    assert [path.stat().st_mtime_ns for path in made] == stamps and len(made) == 1
    assert one.keys() == two.keys() and torch.equal(one.edge_index, two.edge_index) and torch.equal(one.x, two.x)
    made[0].write_bytes(b"no tensors")
    with pytest.raises(GltError, match="is damaged"):
        load(name, root)


def test_a_copy_without_a_release_file_is_taken_and_another_release_is_not(root):
    ogb_files.arxiv(root)
    folder = root / "ogb" / "ogbn_arxiv"
    (folder / "RELEASE_v1.txt").rename(folder / "RELEASE_v9.txt")
    with pytest.raises(GltError, match=r"of another release \(RELEASE_v9\.txt, not RELEASE_v1\.txt\)"):
        load("ogbn-arxiv", root)
    (folder / "RELEASE_v9.txt").unlink()
    assert load("ogbn-arxiv", root).num_nodes == ogb_files.NODES


@every
def test_what_is_not_there_is_one_clear_line(name, tmp_path):
    with pytest.raises(DataUnavailable) as error:
        load(name)
    message = str(error.value)
    assert "\n" not in message and "GLT_DATA is not set" in message
    assert f"ogb/{name.replace('-', '_')}/" in message
    assert ("download: true" if name == "ogbn-papers100M" else "Name or service not known") in message
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not left, "no half-written folder"
    with pytest.raises(DataUnavailable, match="is not in the given root"):
        load(name, tmp_path)


def test_papers_are_downloaded_when_asked_for():
    with pytest.raises(DataUnavailable, match="the download failed"):
        load({"name": "ogbn-papers100M", "download": True})


@pytest.mark.parametrize("gone", ["raw/node-feat.csv.gz", "split/time/valid.csv.gz"])
def test_an_incomplete_copy_is_said_to_be_so(gone, root):
    ogb_files.arxiv(root)
    (root / "ogb" / "ogbn_arxiv" / gone).unlink()
    with pytest.raises(GltError, match=gone.rpartition("/")[2]):
        load("ogbn-arxiv", root)


@pytest.mark.parametrize("harm", ["edge id", "split id", "not a gzip", "pickle"])
def test_files_that_cannot_be_used_are_refused_and_leave_nothing(harm, root, tmp_path):
    name = "ogbn-papers100M" if harm == "pickle" else "ogbn-arxiv"
    ogb_files.MAKERS[name](root)
    folder = root / "ogb" / name.replace("-", "_")
    if harm == "edge id":
        ogb_files.csv(folder / "raw" / "edge.csv.gz", [[0, 1]] * (ogb_files.EDGES - 1) + [[3, 4000]])
    elif harm == "split id":
        ogb_files.csv(folder / "split" / "time" / "test.csv.gz", [3, 4000])
    elif harm == "pickle":
        np.savez(folder / "raw" / "node-label.npz", node_label=np.array([{"harm": 1}], dtype=object))
    else:
        (folder / "raw" / "edge.csv.gz").write_bytes(b"1,2\n")
    with pytest.raises(GltError, match="cannot use the files in") as error:
        load(name, root)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").rglob("*.pt")) and not list((tmp_path / "cache").rglob("*.part"))


@pytest.mark.parametrize(
    ("file", "rows", "said"),
    [
        ("raw/node-feat.csv.gz", np.ones((30, 128)), "features of 30 nodes, but the graph has 40"),
        ("raw/node-label.csv.gz", np.ones(30), r"labels \[30, 1\], expected \[40, 1\]"),
        ("raw/node-label.csv.gz", np.full(40, 41), "a label is 41, but there are 40 classes"),
        ("split/time/valid.csv.gz", [3, -1], "split 'valid' is not a list of nodes 0 to 39"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused(file, rows, said, root, tmp_path):
    """A copy that was cut between two lines: ogb takes it."""
    ogb_files.arxiv(root)
    ogb_files.csv(root / "ogb" / "ogbn_arxiv" / file, rows)
    with pytest.raises(GltError, match=f"cannot use the files in .*{said}"):
        load("ogbn-arxiv", root)
    assert not list((tmp_path / "cache").rglob("*.pt"))


def test_a_saved_split_of_python_objects_is_not_opened(root):
    ogb_files.arxiv(root)
    (root / "ogb" / "ogbn_arxiv" / "split" / "time" / "split_dict.pt").write_bytes(b"harm")
    assert load("ogbn-arxiv", root).num_nodes == ogb_files.NODES


def test_a_downloaded_archive_is_unpacked_and_kept(root, tmp_path, monkeypatch):
    import shutil
    import zipfile

    import ogb.utils.url

    edges = ogb_files.arxiv(root)[0]
    archive = tmp_path / "arxiv.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (root / "ogb" / "ogbn_arxiv").rglob("*"):
            if path.is_file():
                file.write(path, "arxiv" / path.relative_to(root / "ogb" / "ogbn_arxiv"))
    calls = []

    def fetch(url, folder, log=True):
        calls.append(url)
        return shutil.copy(archive, folder)

    monkeypatch.setattr(ogb.utils.url, "download_url", fetch)
    assert load("ogbn-arxiv").num_edges == 2 * len(edges) == load("ogbn-arxiv").num_edges
    assert len(calls) == 1 and calls[0].endswith("arxiv.zip")
    assert not list((tmp_path / "cache").rglob("*.zip"))


def test_the_command_ends_with_3_and_asks_nothing(tmp_path):
    """Through an interpreter of its own: no prompt, no exit of ogb's, no look-up of newer releases."""
    code = (
        "import sys, urllib.request, urllib.error\n"
        "def no(*a, **k): raise urllib.error.URLError('offline')\n"
        "urllib.request.urlopen = no\n"
        "import threading; before = threading.active_count()\n"
        "from glt.cli import main\n"
        "sys.argv = ['glt', 'sparsify', '--dataset', 'ogbn-arxiv', '--sparsity', '0.4', '--output', 'out.csv']\n"
        "try: main()\n"
        "finally: assert threading.active_count() == before and sys.modules.get('outdated') is None\n"
    )
    environment = {**os.environ, "GLT_CACHE": str(tmp_path / "cache")}
    environment.pop("GLT_DATA", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL,
        timeout=240, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1 and "ogbn-arxiv is not available" in done.stderr


SMALL = ["train.epochs=2", "backbone.hidden=4", "backbone.layers=3", "schedule.levels=[1]", "seeds=1"]


@pytest.mark.parametrize("config", ["arxiv-gcn-teddy", "arxiv-resgcn28-ugs"])
def test_the_settings_of_the_papers_run_on_what_lies_there(config, root, main, workplace):
    """With few units and epochs; the residual network also in parts of the graph, as the preset has it."""
    ogb_files.arxiv(root)
    options = [*SMALL, *(["strategy.mask_epochs=2", "train.batches.num_parts=2"] if "ugs" in config else [])]
    preset = CONFIGS / f"{config}.yaml"
    code, out, err = main("run", preset, "--root", root, "-q", "--json", *(arg for o in options for arg in ("-o", o)))
    assert code == 0, err
    dense, level = (json.loads(line) for line in out.splitlines())
    assert (dense["status"], level["status"], level["dataset"]) == ("ok", "ok", "ogbn-arxiv")
    assert level["graph_sparsity"] == pytest.approx(0.05, abs=0.01)
    assert main("verify", next(workplace.rglob("level01.safetensors")), "--root", root)[0] == 0


def test_the_stand_in_has_the_size_of_arxiv():
    made = Config.load(CONFIGS / "csbm-arxiv-standin-gcn-teddy.yaml")
    real = Config.load(CONFIGS / "arxiv-gcn-teddy.yaml")
    spec = made.spec()["dataset"]
    assert (made.dataset.name, spec["nodes"], spec["classes"], spec["features"]) == ("csbm", 169_343, 40, 128)
    assert round(spec["nodes"] * spec["avg_degree"] / 2) == pytest.approx(1_166_243, rel=1e-3) and spec["dense"]
    assert {**made.spec(), "dataset": None} == {**real.spec(), "dataset": None}
