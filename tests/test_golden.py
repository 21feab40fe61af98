"""A ticket file of format 1, made once (golden/make.py), loads and verifies for ever."""

from pathlib import Path

import pytest
import torch

from glt.ticket import Ticket

FILE = Path(__file__).parent / "golden" / "ticket-v1.safetensors"


@pytest.fixture
def ticket():
    return Ticket.load(FILE)


def test_the_file_is_small():
    assert FILE.stat().st_size < 20_000


def test_it_holds_what_it_held(ticket):
    assert ticket.fingerprint == "e0326f42e0c0a7ad0cd98a95fa9b582c5f9c10bd9e80d015480fb2323d89556a"
    assert ticket.undirected
    assert ticket.edge_keep.shape == (120,)
    assert int(ticket.edge_keep.sum()) == 87  # 1 - 0.9^3 of 120 edges is 32.52
    assert {name: tuple(mask.shape) for name, mask in ticket.weight_masks.items()} == {
        "convs.0.lin.weight": (4, 24),
        "convs.1.lin.weight": (3, 4),
    }
    assert sum(int(mask.sum()) for mask in ticket.weight_masks.values()) == 55  # 1 - 0.8^3 of 108 weights is 52.7
    assert set(ticket.initial) == set(ticket.trained) == {*ticket.weight_masks, "convs.0.bias", "convs.1.bias"}
    assert all(tensor.dtype == torch.float32 for tensor in (*ticket.initial.values(), *ticket.trained.values()))
    assert ticket.config["schedule"]["name"] == "geometric"
    assert (ticket.config["seed"], ticket.config["level"]) == (0, 3)
    assert ticket.versions["glt"] == "0.1.0"


def test_sparsities_and_metrics_are_as_stored(ticket):
    assert ticket.graph_sparsity == ticket.metrics["graph_sparsity"] == 1 - 87 / 120
    assert ticket.weight_sparsity == ticket.metrics["weight_sparsity"] == 1 - 55 / 108
    assert ticket.metrics["val"] == 16 / 18
    assert ticket.metrics["test"] == 23 / 24
    assert (ticket.metrics["epoch"], ticket.metrics["search_epochs"]) == (60, 120)


def test_it_verifies_on_its_own_dataset(ticket):
    result = ticket.verify()
    assert result.ok
    assert [check.name for check in result.checks] == ["graph_sparsity", "weight_sparsity", "val", "test"]


def test_pruned_weights_are_zero(ticket):
    for name, mask in ticket.weight_masks.items():
        assert not ticket.trained[name][~mask].any()
        assert ticket.trained[name][mask].all()
