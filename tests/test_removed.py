"""Binary means removed: nothing may keep what was pruned alive."""

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCN, GCNConv

import glt
from glt.registry import build


@pytest.fixture
def data():
    data = build("datasets", {"name": "csbm", "nodes": 120})()
    data.x = data.x.to_dense()
    return data


def test_a_layer_that_caches_its_graph_is_refused(data):
    model = GCN(500, 8, 2, 7, cached=True)
    with pytest.raises(glt.GltError, match=r"^layer .* has cached=True"):
        glt.find(model, data, recipe=glt.Recipe(epochs=1))


class Tied(nn.Module):
    """One convolution under two names."""

    def __init__(self):
        super().__init__()
        self.first = GCNConv(500, 500)
        self.again = self.first
        self.last = GCNConv(500, 7)

    def forward(self, x, edge_index):
        return self.last(self.again(self.first(x, edge_index).relu(), edge_index).relu(), edge_index)


def test_weights_with_two_names_are_rewound_to_zero_under_both(data):
    model = Tied()
    ticket = glt.find(model, data, 0.4, 0.6, recipe=glt.Recipe(epochs=1))
    for state in (ticket.rewind(model), ticket.restore(model)):
        zeros = int((state.first.lin.weight == 0).sum() + (state.last.lin.weight == 0).sum())
        total = state.first.lin.weight.numel() + state.last.lin.weight.numel()
        assert zeros >= round(0.6 * total)


def test_a_found_ticket_says_how_it_was_found(data):
    ticket = glt.find(
        "gcn", data, 0.4, 0.7, strategy={"name": "teddy", "distil": "held_out"}, recipe=glt.Recipe(epochs=1)
    )
    assert ticket.config["strategy"] == {"name": "teddy", "distil": "held_out"}
    assert ticket.config["schedule"] == {"name": "oneshot", "weight": 0.7}
    assert ticket.config["train"] == {"epochs": 1}


def test_edge_weights_must_be_finite(data):
    data.edge_weight = torch.full((data.num_edges,), float("nan"))
    with pytest.raises(glt.GltError, match="edge_weight"):
        glt.find("gcn", data)
