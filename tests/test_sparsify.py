import numpy as np
import pytest
import reference.keep_top
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference.graphs import arcs_of, both_ways, random_undirected, shuffled, undirected
from reference.scorers import MODEL_FREE
from torch_geometric.data import Data

from glt import sparsify
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.registry import build
from glt.select import keep_top
from glt.sparsify import keep_arcs, remove_arcs


class Tied:
    """Few different scores, the same for both arcs; ``values`` of them."""

    def __init__(self, values, symmetric):
        self.values, self.symmetric = values, symmetric

    def __call__(self, data, model=None):
        low, high = data.edge_index.min(0).values, data.edge_index.max(0).values
        return ((7 * low + 3 * high + low * high) % self.values).float()


def kept_pairs(edge_index, nodes, values, sparsity):
    """Pairs that stay, by sorting all of them."""
    pairs = sorted({(min(a), max(a)) for a in edge_index.t().tolist() if a[0] != a[1]})
    scores = [(7 * u + 3 * v + u * v) % values for u, v in pairs]
    gone = int(sparsity * len(pairs) + 0.5)
    return {p for p, stays in zip(pairs, reference.keep_top.keep_top(scores, len(pairs) - gone), strict=True) if stays}


def expected(edge_index, nodes, values, sparsity):
    pairs = kept_pairs(edge_index, nodes, values, sparsity)
    return [u == v or (min(u, v), max(u, v)) in pairs for u, v in edge_index.t().tolist()]


@pytest.mark.parametrize("values", [1, 2, 5, 10**6])
@pytest.mark.parametrize("loops", [0, 4])
def test_sorted_and_shuffled_arcs_and_both_paths_agree(values, loops):
    rng = np.random.default_rng(values + loops)
    for edges in (6, 12, 60):
        edge_index = random_undirected(rng, 15, edges, loops)
        mixed, order = shuffled(edge_index, edges)
        for sparsity in (0.0, 0.1, 0.5, 0.7):
            want = torch.tensor(expected(edge_index, 15, values, sparsity))
            for symmetric in (True, False):
                scorer = Tied(values, symmetric)
                graph = Data(edge_index=edge_index, num_nodes=15)
                assert torch.equal(keep_arcs(graph, scorer, sparsity), want)
                graph = Data(edge_index=mixed, num_nodes=15)
                assert torch.equal(keep_arcs(graph, scorer, sparsity), want[order])


@given(undirected(min_edges=1), st.sampled_from([1, 2, 3, 100]), st.floats(0, 0.9), st.booleans())
def test_any_graph_keeps_the_pairs_that_a_sort_keeps(graph, values, sparsity, symmetric):
    edge_index, nodes = graph
    edges = PrunableEdges.of(edge_index, nodes)
    data = Data(edge_index=edge_index, num_nodes=nodes)
    try:
        count = edges.count(sparsity)
    except GltError:
        with pytest.raises(GltError, match="removes all"):
            keep_arcs(data, Tied(values, symmetric), sparsity)
        return
    keep = keep_arcs(data, Tied(values, symmetric), sparsity)
    assert keep.tolist() == expected(edge_index, nodes, values, sparsity)
    scores = edges.pool(Tied(values, symmetric)(data))
    assert torch.equal(keep, edges.to_arcs(keep_top(scores, count)))


def test_a_sorted_graph_with_symmetric_scores_needs_no_pairs(monkeypatch, sbm):
    want = keep_arcs(sbm, Tied(3, symmetric=False), 0.3)
    monkeypatch.setattr(sparsify, "PrunableEdges", None)
    assert torch.equal(keep_arcs(sbm, Tied(3, symmetric=True), 0.3), want)


@pytest.mark.parametrize("name", MODEL_FREE)
@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.4, 0.6415, 0.97])
def test_exactly_the_fraction_asked_for_goes(name, sparsity, sbm):
    edges = sbm.num_edges // 2
    keep = keep_arcs(sbm, build("scorers", name), sparsity)
    assert int((~keep).sum()) == 2 * int(sparsity * edges + 0.5)
    source, target = sbm.edge_index[:, keep].tolist()
    assert set(zip(source, target, strict=True)) == set(zip(target, source, strict=True))


@pytest.mark.parametrize("name", MODEL_FREE)
def test_in_a_directed_graph_arcs_go_one_by_one(name, sbm):
    half = sbm.edge_index[:, sbm.edge_index[0] < sbm.edge_index[1]]
    loops = torch.arange(5).expand(2, -1)
    data = Data(x=sbm.x, edge_index=torch.cat([half, loops], dim=1))
    keep = keep_arcs(data, build("scorers", name), 0.3, undirected=False)
    assert int((~keep).sum()) == int(0.3 * half.size(1) + 0.5)
    assert bool(keep[half.size(1) :].all())


def test_scores_are_left_alone(sbm):
    for symmetric in (True, False):
        scorer = Tied(4, symmetric)
        scores = scorer(sbm)
        before = scores.clone()
        stored = type("Stored", (), {"symmetric": symmetric, "__call__": lambda self, data, s=scores: s})()
        keep_arcs(sbm, stored, 0.5)
        assert torch.equal(scores, before)


def test_the_graph_is_left_alone(sbm):
    before = sbm.clone()
    keep_arcs(sbm, build("scorers", "teddy"), 0.5, undirected=False)
    assert sbm.keys() == before.keys()
    assert all(torch.equal(sbm[key], before[key]) for key in before.keys())  # noqa: SIM118


def test_a_directed_graph_declared_undirected_is_refused(sbm):
    for symmetric in (True, False):
        for arc in (0, 100, sbm.num_edges - 1):
            data = Data(edge_index=sbm.edge_index[:, torch.arange(sbm.num_edges) != arc], num_nodes=60)
            v, u = sbm.edge_index[:, arc].tolist()
            with pytest.raises(GltError, match=rf"arc \({u}, {v}\) has no reverse"):
                keep_arcs(data, Tied(3, symmetric), 0.4)


def test_a_node_that_is_not_there_is_named():
    with pytest.raises(GltError, match="node 5"):
        keep_arcs(Data(edge_index=both_ways((0, 5)), num_nodes=3), Tied(2, True), 0.4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_nan_scores_are_refused(symmetric, sbm):
    stored = type("Nan", (), {"symmetric": symmetric, "__call__": lambda self, data: data.edge_index[0] * torch.nan})()
    with pytest.raises(GltError, match="NaN"):
        keep_arcs(sbm, stored, 0.4)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("edge_index", [arcs_of(), arcs_of((0, 0), (2, 2))])
def test_a_graph_without_edges_cannot_be_pruned(symmetric, edge_index):
    for nodes in (3, 0) if edge_index.numel() == 0 else (3,):
        with pytest.raises(GltError, match="no edges to prune"):
            keep_arcs(Data(edge_index=edge_index, num_nodes=nodes), Tied(2, symmetric), 0.4)


def test_what_belongs_to_arcs_goes_with_them_and_nodes_stay(sbm):
    arcs = sbm.num_edges
    sbm.edge_attr, sbm.edge_weight = torch.randn(arcs, 3), torch.randn(arcs)
    keep = keep_arcs(sbm, build("scorers", "teddy"), 0.9)
    less = remove_arcs(sbm, keep)
    for key in ("edge_attr", "edge_weight"):
        assert torch.equal(less[key], sbm[key][keep])
    assert torch.equal(less.edge_index, sbm.edge_index[:, keep])
    for key in ("x", "y", "train_mask", "val_mask", "test_mask"):
        assert less[key] is sbm[key]
    assert less.num_nodes == 60
    assert sbm.num_edges == arcs
    assert len(set(less.edge_index.flatten().tolist())) < 60  # some nodes are isolated now


def test_isolated_nodes_stay_without_features():
    data = Data(edge_index=both_ways((0, 1), (1, 2), (3, 4)), num_nodes=7)
    less = remove_arcs(data, torch.tensor([True, True] + [False] * 4))
    assert less.edge_index.tolist() == [[0, 1], [1, 0]]
    assert less.num_nodes == 7


@pytest.mark.filterwarnings("ignore:Unable to accurately infer 'num_nodes'")
def test_a_number_of_nodes_that_was_guessed_from_the_arcs_stays():
    data = Data(edge_index=both_ways((0, 1), (2, 6)))
    less = remove_arcs(data, torch.tensor([True, True, False, False]))
    assert less.num_nodes == 7


def test_node_attributes_stay_where_there_are_as_many_arcs_as_nodes():
    data = Data(
        edge_index=both_ways((0, 1), (2, 3)), x=torch.randn(4, 2), y=torch.arange(4), edge_attr=torch.randn(4, 1)
    )
    less = remove_arcs(data, torch.tensor([True, True, False, False]))
    assert torch.equal(less.x, data.x)
    assert torch.equal(less.y, data.y)
    assert torch.equal(less.edge_attr, data.edge_attr[:2])
