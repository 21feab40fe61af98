"""What every registered dataset promises (facts of single datasets: test_datasets.py)."""

import os
from pathlib import Path

import pytest
import torch

from glt.check import check_data
from glt.datasets import load
from glt.edges import PrunableEdges
from glt.errors import DataUnavailable
from glt.evaluate import METRICS
from glt.registry import names

GENERATED = {"csbm"}
LARGE = {"cs"}  # half a gigabyte of features: test_datasets.py loads it once
LARGE |= {"reddit", "reddit2", "flickr", "yelp"}  # downloads of gigabytes: test_large_pyg.py has their formats
LARGE |= {name for name in names("datasets") if name.startswith("ogbn-")}  # likewise: test_ogb.py
DATA = os.environ.get("GLT_DATA", "")


def here(name):
    """A name to test: generated, or with local files."""
    if name in GENERATED:
        return name
    skip = pytest.mark.skipif(not Path(DATA or "missing").is_dir(), reason="GLT_DATA is not set")
    return pytest.param(name, marks=[pytest.mark.dataset, skip])


@pytest.fixture(scope="module", params=[here(name) for name in names("datasets") if name not in LARGE])
def data(request):
    try:
        return load(request.param, DATA or None)
    except DataUnavailable as error:
        pytest.skip(str(error))


def test_it_is_fit_for_a_search(data):
    check_data(data)
    nodes = data.num_nodes
    assert data.x.dtype == torch.float32 and data.x.shape[0] == nodes
    assert data.edge_index.dtype == data.y.dtype == torch.int64
    assert data.y.shape == (nodes,)
    assert int(data.y.min()) == 0 and int(data.y.max()) == data.num_classes - 1


def test_it_says_what_it_is(data):
    assert data.dataset in names("datasets")
    assert data.metric in METRICS
    assert isinstance(data.split, str) and data.split
    assert data.num_classes == 2 or data.metric != "roc_auc"


def test_masks_are_disjoint_and_not_empty(data):
    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask])
    assert masks.dtype == torch.bool
    assert int(masks.sum(0).max()) == 1
    assert bool(masks.any(1).all())


def test_its_edges_are_pairs(data):
    edges = PrunableEdges.of(data.edge_index, data.num_nodes)
    assert 2 * edges.num_edges == int((data.edge_index[0] != data.edge_index[1]).sum())
