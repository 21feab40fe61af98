"""PyG transforms."""

import pytest
import torch
import torch_geometric.transforms as T
from reference.graphs import both_ways, small_sbm
from reference.scorers import MODEL_FREE
from torch_geometric.data import Data, HeteroData

import glt
from glt.errors import GltError
from glt.registry import build
from glt.select import keep_count
from glt.sparsify import keep_arcs
from glt.transforms import Sparsify, TeddySparsify


def pairs(data):
    return {tuple(sorted(arc)) for arc in data.edge_index.t().tolist() if arc[0] != arc[1]}


@pytest.mark.parametrize("sparsity", [0.0, 0.123, 0.4, 0.97])
@pytest.mark.parametrize("scorer", MODEL_FREE)
def test_the_number_of_edges_is_exact_and_both_arcs_go(sbm, scorer, sparsity):
    sub = Sparsify(sparsity, scorer)(sbm)
    assert len(pairs(sub)) == keep_count(len(pairs(sbm)), sparsity)
    assert sub.num_edges == 2 * len(pairs(sub))
    assert torch.equal(sub.edge_index, sbm.edge_index[:, keep_arcs(sbm, build("scorers", scorer), sparsity)])


def test_teddy_is_sparsify_by_teddy(sbm):
    one, two = TeddySparsify(0.4)(sbm), Sparsify(0.4, "teddy")(sbm)
    assert torch.equal(one.edge_index, two.edge_index)
    assert TeddySparsify is glt.transforms.TeddySparsify


def test_it_is_a_step_of_a_pipeline(sbm):
    steps = T.Compose([T.ToUndirected(), T.AddSelfLoops(), TeddySparsify(0.4), T.NormalizeFeatures()])
    sub = steps(sbm)
    loops = sub.edge_index[0] == sub.edge_index[1]
    assert int(loops.sum()) == 60, "loops stay"
    assert len(pairs(sub)) == keep_count(len(pairs(sbm)), 0.4)


def test_attributes_of_arcs_go_with_them(sbm):
    sbm.edge_attr = torch.arange(3.0 * sbm.num_edges).view(-1, 3)
    sbm.edge_weight = torch.rand(sbm.num_edges)
    keep = keep_arcs(sbm, build("scorers", "teddy"), 0.3)
    sub = TeddySparsify(0.3)(sbm)
    assert torch.equal(sub.edge_attr, sbm.edge_attr[keep])
    assert torch.equal(sub.edge_weight, sbm.edge_weight[keep])


def test_nodes_and_the_graph_given_are_untouched(sbm):
    before = sbm.clone()
    sub = TeddySparsify(0.9)(sbm)
    assert sub.num_nodes == 60
    assert all(torch.equal(sub[key], sbm[key]) for key in ("x", "y", "train_mask", "val_mask", "test_mask"))
    assert sbm.to_dict().keys() == before.to_dict().keys() == sub.to_dict().keys() - {"num_nodes"}
    assert torch.equal(sbm.edge_index, before.edge_index)


def test_a_graph_without_features_keeps_its_nodes():
    sub = TeddySparsify(0.5)(Data(edge_index=both_ways((0, 1), (1, 2)), num_nodes=9))
    assert (sub.num_nodes, sub.num_edges) == (9, 2)


def test_a_directed_graph_loses_single_arcs(sbm):
    sbm.edge_index = sbm.edge_index[:, ::3]
    assert TeddySparsify(0.25, undirected=False)(sbm).num_edges == keep_count(sbm.num_edges, 0.25)
    with pytest.raises(GltError, match="undirected"):
        TeddySparsify(0.25)(sbm)


def test_a_scorer_may_be_a_spec_or_any_function(sbm):
    one = Sparsify(0.4, {"name": "random", "seed": 1})(sbm)
    two = Sparsify(0.4, {"name": "random", "seed": 2})(sbm)
    assert not torch.equal(one.edge_index, two.edge_index)
    longest = Sparsify(0.5, lambda data, model=None: (data.edge_index[0] - data.edge_index[1]).abs().float())(sbm)
    gaps = sorted(abs(u - v) for u, v in pairs(sbm))
    assert sorted(abs(u - v) for u, v in pairs(longest)) == gaps[-len(pairs(longest)) :]


def test_repr_says_how_much():
    assert repr(TeddySparsify(0.4)) == "TeddySparsify(0.4)"
    assert repr(Sparsify(0.25, "random")).startswith("Sparsify(0.25")
    assert "TeddySparsify(0.4)" in repr(T.Compose([TeddySparsify(0.4)]))


@pytest.mark.parametrize("sparsity", [1.0, 1, -0.1, 1.5, float("nan"), "0.4", None])
def test_a_bad_sparsity_is_refused_when_built(sparsity):
    with pytest.raises(GltError, match=r"\[0, 1\)"):
        TeddySparsify(sparsity)


@pytest.mark.parametrize("scorer", ["tedy", {"name": "random", "sed": 1}, 5])
def test_a_bad_scorer_is_refused_when_built(scorer):
    with pytest.raises(GltError):
        Sparsify(0.4, scorer)


@pytest.mark.parametrize(
    "data",
    [
        Data(x=torch.zeros(3, 2)),
        Data(edge_index=torch.zeros(2, 0, dtype=torch.int64), num_nodes=3),
        Data(edge_index=torch.tensor([[0, 1], [1, 7]]), num_nodes=3),
        Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2),
        Data(edge_index=torch.tensor([[1], [1]]), num_nodes=2),
        Data(edge_index=torch.tensor([[0.0], [1.0]]), num_nodes=2),
        Data(edge_index=both_ways((0, 1)), num_nodes=2),
        HeteroData(),
        torch.zeros(2, 4),
    ],
    ids=["no arcs", "empty", "out of range", "one way", "loop", "floats", "everything would go", "hetero", "tensor"],
)
def test_a_bad_graph_is_refused_when_called(data):
    with pytest.raises(GltError) as error:
        Sparsify(0.6)(data)
    assert "\n" not in str(error.value)


def test_the_same_graph_gives_the_same_edges():
    first = TeddySparsify(0.4)(small_sbm(seed=3))
    torch.manual_seed(9)
    assert torch.equal(TeddySparsify(0.4)(small_sbm(seed=3)).edge_index, first.edge_index)
