"""Reddit, Reddit2, Flickr and Yelp from small files in their published formats, through PyG's own classes."""

import json

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric import datasets as pyg

from glt.check import check_data
from glt.datasets import load
from glt.errors import DataUnavailable, GltError
from glt.find import find
from glt.registry import build
from glt.train import Recipe

NODES = 30
SAINT = {"flickr": "Flickr", "reddit2": "Reddit2", "yelp": "Yelp"}
every = pytest.mark.parametrize("name", [*SAINT, "reddit"])


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A fresh cache, no data and no network."""
    monkeypatch.setenv("GLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GLT_DATA", raising=False)

    def refuse(self):
        raise OSError("no network")

    for cls in (pyg.Flickr, pyg.Reddit2, pyg.Yelp, pyg.Reddit):
        monkeypatch.setattr(cls, "download", refuse)


def write(name, root):
    """The raw files of a dataset; (symmetric adjacency, features, labels, split)."""
    rng = np.random.default_rng(0)
    upper = np.triu(rng.random((NODES, NODES)) < 0.15, 1)
    adjacency, x = upper | upper.T, rng.normal(size=(NODES, 6)).round(3)
    order, y = rng.permutation(NODES), rng.integers(3, size=NODES)
    parts = {"tr": order[:12], "va": order[12:20], "te": order[20:]}
    if name == "reddit":
        raw = root / "graphsage" / "Reddit" / "raw"
        raw.mkdir(parents=True)
        kinds = np.empty(NODES, dtype=np.int64)
        for kind, part in enumerate(parts.values(), start=1):
            kinds[part] = kind
        np.savez(raw / "reddit_data.npz", feature=x, label=y, node_types=kinds, node_ids=np.arange(NODES))
        sp.save_npz(raw / "reddit_graph.npz", sp.coo_matrix(adjacency))
    else:
        raw = root / "graphsaint" / SAINT[name] / "raw"
        raw.mkdir(parents=True)
        if name == "yelp":
            y = rng.integers(2, size=(NODES, 5))
        csr = sp.csr_matrix(adjacency)
        np.savez(raw / "adj_full.npz", data=csr.data, indices=csr.indices, indptr=csr.indptr, shape=csr.shape)
        np.save(raw / "feats.npy", x)
        (raw / "class_map.json").write_text(json.dumps({str(node): label for node, label in enumerate(y.tolist())}))
        (raw / "role.json").write_text(json.dumps({part: index.tolist() for part, index in parts.items()}))
    return raw, adjacency, x, y, parts


@every
def test_numbers_are_those_of_the_files_and_can_be_searched(name, tmp_path):
    raw, adjacency, x, y, parts = write(name, tmp_path)
    data = load(name, tmp_path)
    check_data(data)
    assert data.edge_index.tolist() == [list(ids) for ids in adjacency.nonzero()]
    assert np.array_equal(data.x.numpy(), x.astype(np.float32)) and np.array_equal(data.y.numpy(), y)
    for part, index in zip(("train", "val", "test"), parts.values(), strict=True):
        assert data[f"{part}_mask"].nonzero().squeeze(1).tolist() == sorted(index.tolist())
    assert (data.dataset, data.split) == (name, "public")
    several = name == "yelp"
    assert data.metric == ("micro_f1" if several else "accuracy")
    assert data.y.dtype == (torch.float32 if several else torch.int64) and data.num_classes == (5 if several else 3)
    backbone = build("backbones", {"name": "gcn", "hidden": 4})
    ticket = find(backbone, data, 0.25, 0.5, recipe=Recipe(epochs=2))
    assert ticket.metrics["metric"] == data.metric
    assert ticket.verify(data, backbone(6, data.num_classes)).ok
    assert sorted(path.name for path in raw.parent.iterdir()) == ["raw"], "nothing is written to the source"


@every
def test_what_is_not_there_is_one_clear_line(name, tmp_path):
    with pytest.raises(DataUnavailable, match=r"the download failed \(OSError: no network\)") as error:
        load(name)
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("flickr", "feats.npy"),
        ("flickr", "adj_full.npz"),
        ("flickr", "role.json"),
        ("reddit", "reddit_data.npz"),
        ("reddit", "reddit_graph.npz"),
    ],
)
def test_a_pickle_in_their_place_is_not_opened(name, file, tmp_path):
    raw = write(name, tmp_path)[0]
    harm = np.array([{"harm": 1}], dtype=object)
    if file.endswith(".npz"):
        np.savez(raw / file, data=harm, feature=harm)
    else:
        with (raw / file).open("wb") as stream:
            np.save(stream, harm)
    with pytest.raises(GltError, match=f"{file} is not a"):
        load(name, tmp_path)
