import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.graphs import arcs_of, directed, random_undirected, shuffled, undirected

from glt.neighbours import Neighbours, is_coalesced_undirected, quantise, unit, without_loops


@pytest.fixture(params=[1, 3, 1 << 16], ids=lambda size: f"pieces of {size}")
def piece(request, monkeypatch):
    monkeypatch.setattr("glt.pieces.PIECE", request.param)


@given(st.one_of(directed(), undirected()), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_coalesced_and_undirected_means_ascending_and_every_arc_with_its_reverse(piece, graph, ascending):
    edge_index, nodes = graph
    if ascending:
        edge_index = torch.unique(edge_index, dim=1)
    arcs = list(map(tuple, edge_index.t().tolist()))
    want = arcs == sorted(set(arcs)) and all((v, u) in arcs for u, v in arcs)
    assert is_coalesced_undirected(edge_index, nodes) == want


def test_neither_repeats_nor_cycles_pass():
    assert is_coalesced_undirected(arcs_of((0, 1), (1, 0), (1, 1)), 2)
    assert not is_coalesced_undirected(arcs_of((0, 1), (0, 1), (1, 0), (1, 0)), 2)
    assert not is_coalesced_undirected(arcs_of((1, 0), (0, 1)), 2)
    assert not is_coalesced_undirected(arcs_of((0, 1), (1, 2), (2, 0)), 3)  # as many in as out everywhere


def test_one_flipped_arc_in_a_large_graph_is_found():
    edge_index = random_undirected(np.random.default_rng(0), 3000, 20_000, loops=10)
    assert is_coalesced_undirected(edge_index, 3000)
    proper = (edge_index[0] != edge_index[1]).nonzero().squeeze(1).tolist()
    for arc in proper[:: len(proper) // 25]:
        wrong = edge_index.clone()
        wrong[:, arc] = wrong[:, arc].flip(0)
        assert not is_coalesced_undirected(torch.unique(wrong, dim=1), 3000)


def test_one_arc_missing_in_a_large_graph_is_found():
    edge_index = random_undirected(np.random.default_rng(1), 3000, 20_000)
    for arc in range(0, edge_index.size(1), edge_index.size(1) // 25):
        left = torch.arange(edge_index.size(1)) != arc
        assert not is_coalesced_undirected(edge_index[:, left], 3000)


@given(directed(), st.integers(0, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_over_targets_are_those_of_a_dense_product(piece, graph, seed):
    edge_index, nodes = graph
    values = torch.from_numpy(np.random.default_rng(seed).integers(-(2**40), 2**40, size=nodes))
    adjacency = np.zeros((nodes, nodes), dtype=np.int64)
    np.add.at(adjacency, tuple(edge_index.numpy()), 1)
    ascending = edge_index[:, torch.argsort(edge_index[0], stable=True)]
    for arcs in (edge_index, ascending):
        neighbours = Neighbours(arcs, nodes)
        assert neighbours.degree().tolist() == adjacency.sum(1).tolist()
        total = neighbours.sum(values)
        assert total.shape == values.shape
        assert total.tolist() == (adjacency @ values.numpy()).tolist()


def test_sums_of_quantised_values_have_the_same_bits_in_any_order():
    rng = np.random.default_rng(2)
    edge_index = random_undirected(rng, 200, 4000)
    values = torch.from_numpy(rng.random(200))
    whole = quantise(values, 200)
    total = Neighbours(edge_index, 200).sum(whole)
    for seed in range(3):
        assert torch.equal(Neighbours(shuffled(edge_index, seed)[0], 200).sum(whole), total)
    exact = [sum(int(whole[v]) for v in edge_index[1, edge_index[0] == u]) for u in range(200)]
    assert total.tolist() == exact


@given(st.integers(0, 10**9))
def test_as_many_terms_as_promised_can_be_summed_exactly(terms):
    assert max(terms, 1) * unit(terms) <= 2**53
    assert np.log2(unit(terms)) % 1 == 0


def test_quantised_values_are_whole_and_near():
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    whole = quantise(values, 1000)
    assert torch.equal(whole, whole.round())
    assert float((whole.double() / unit(1000) - values).abs().max()) <= 0.5 / unit(1000)


def test_without_loops_nothing_is_copied():
    edge_index = arcs_of((0, 1), (1, 0))
    assert without_loops(edge_index) is edge_index
    assert without_loops(arcs_of((0, 0), (0, 1), (2, 2), (1, 0))).tolist() == [[0, 1], [1, 0]]
