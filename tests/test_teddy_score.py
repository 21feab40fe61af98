import importlib
import math

import numpy as np
import pytest
import reference.teddy
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference.graphs import arcs_of, both_ways, directed, random_undirected, shuffled, undirected
from torch_geometric.data import Data

from glt.registry import build
from glt.sparsify import keep_arcs

teddy = build("scorers", "teddy")


def score(edge_index, nodes, **extra):
    return teddy(Data(edge_index=edge_index, num_nodes=nodes, **extra))


def by_arc(edge_index, nodes, **extra):
    arcs = [tuple(arc) for arc in edge_index.t().tolist()]
    return dict(zip(arcs, score(edge_index, nodes, **extra).tolist(), strict=True))


@given(undirected())
def test_the_formula_on_any_graph(graph):
    edge_index, nodes = graph
    want = reference.teddy.teddy_scores(edge_index.numpy(), nodes)
    np.testing.assert_allclose(score(edge_index, nodes).numpy(), want, rtol=1e-6)


@pytest.mark.parametrize(("edges", "loops"), [(300, 0), (300, 40), (2000, 0), (2000, 40)])
def test_the_formula_on_a_larger_graph(edges, loops):
    edge_index = random_undirected(np.random.default_rng(edges), 120, edges, loops)
    want = reference.teddy.teddy_scores(edge_index.numpy(), 120)
    got = score(edge_index, 120)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


def test_six_nodes_by_hand():
    # 0 is a hub of 1, 2, 3 and 4; 5 hangs on 4.  Degrees: 4, 1, 1, 1, 2, 1.  r = 2^-1/2.
    # g_0 = (1 + 1 + 1 + r) / 4     g_0 / d_0 = (3 + r) / 16 = 0.2316942
    # g_1 = g_2 = g_3 = 4^-1/2      g_1 / d_1 = 1 / 2
    # g_4 = (1 / 2 + 1) / 2         g_4 / d_4 = 3 / 8
    # g_5 = r                       g_5 / d_5 = r = 0.7071068
    # T_01 = T_02 = T_03 = (3 + r) / 32 = 0.1158471
    # T_04 = 3 (3 + r) / 128 = 0.0868853, the lowest: it goes first
    # T_45 = 3 r / 8 = 0.2651650
    edge_index = both_ways((0, 1), (0, 2), (0, 3), (0, 4), (4, 5))
    scores = by_arc(edge_index, 6)
    for leaf in (1, 2, 3):
        assert scores[0, leaf] == pytest.approx(0.1158471, rel=1e-6)
    assert scores[0, 4] == pytest.approx(0.0868853, rel=1e-6)
    assert scores[4, 5] == pytest.approx(0.2651650, rel=1e-6)
    gone = edge_index[:, ~keep_arcs(Data(edge_index=edge_index, num_nodes=6), teddy, 0.2)]
    assert gone.tolist() == [[0, 4], [4, 0]]


@pytest.mark.parametrize("leaves", [3, 1000, 100_000])
def test_a_star_of_any_size(leaves):
    # g_hub = 1, g_leaf = n^-1/2: the score is 1/n * n^-1/2
    arcs = torch.arange(1, leaves + 1)
    edge_index = torch.stack([torch.cat([torch.zeros_like(arcs), arcs]), torch.cat([arcs, torch.zeros_like(arcs)])])
    np.testing.assert_allclose(score(edge_index, leaves + 1).numpy(), leaves**-1.5, rtol=1e-6)


def test_a_complete_graph():
    nodes = 50
    grid = torch.cartesian_prod(torch.arange(nodes), torch.arange(nodes)).t()
    edge_index = grid[:, grid[0] != grid[1]]
    np.testing.assert_allclose(score(edge_index, nodes).numpy(), (nodes - 1) ** -3.0, rtol=1e-6)


def tangled():
    """A graph on which adding up arc by arc gives other bits in another order."""
    return random_undirected(np.random.default_rng(3), 150, 1500, loops=20), 150


@pytest.mark.parametrize("seed", range(3))
def test_the_bits_do_not_depend_on_the_order_of_arcs(seed):
    edge_index, nodes = tangled()
    other, order = shuffled(edge_index, seed)
    assert torch.equal(score(other, nodes), score(edge_index, nodes)[order])


def test_sums_are_of_whole_numbers_and_so_exact(monkeypatch):
    """Another order gives another float32 only once in a few hundred million nodes: looked for at the source."""
    summed, module = [], importlib.import_module(type(teddy).__module__)
    add = module.Neighbours.sum
    monkeypatch.setattr(module.Neighbours, "sum", lambda self, values: summed.append(values) or add(self, values))
    edge_index, nodes = tangled()
    score(edge_index, nodes)
    assert len(summed) == 1
    assert torch.equal(summed[0], summed[0].round())
    assert float(summed[0].max()) * nodes < 2**53


def test_both_arcs_have_the_same_bits():
    edge_index, nodes = tangled()
    scores = by_arc(edge_index, nodes)
    assert all(scores[v, u] == value for (u, v), value in scores.items())


@given(undirected(), st.data())
def test_names_of_nodes_do_not_matter(graph, data):
    edge_index, nodes = graph
    name = torch.tensor(data.draw(st.permutations(range(nodes))))
    assert torch.equal(score(name[edge_index], nodes), score(edge_index, nodes))


def test_names_of_nodes_do_not_matter_in_a_larger_graph():
    edge_index, nodes = tangled()
    name = torch.from_numpy(np.random.default_rng(0).permutation(nodes))
    assert torch.equal(score(name[edge_index], nodes), score(edge_index, nodes))


def test_loops_do_not_count():
    pairs = [(0, 1), (1, 2), (2, 3), (3, 1)]
    plain = by_arc(both_ways(*pairs), 5)
    looped = by_arc(both_ways(*pairs, (1, 1), (2, 2), (4, 4)), 5)
    assert {arc: looped[arc] for arc in plain} == plain


def test_nodes_without_neighbours_give_finite_scores():
    scores = score(both_ways((0, 0), (1, 2), (4, 4)), 6)
    assert bool(torch.isfinite(scores).all())
    assert score(arcs_of(), 3).shape == score(arcs_of(), 0).shape == (0,)


@given(directed())
def test_a_directed_graph_counts_arcs_of_both_directions(graph):
    edge_index, nodes = graph
    want = reference.teddy.teddy_scores(edge_index.numpy(), nodes, undirected=False)
    np.testing.assert_allclose(score(edge_index, nodes, undirected=False).numpy(), want, rtol=1e-6)


def test_a_directed_graph_scores_as_its_undirected_one():
    whole = both_ways((0, 1), (0, 2), (0, 3), (0, 4), (4, 5))
    half = whole[:, whole[0] < whole[1]]
    scores = by_arc(whole, 6)
    assert by_arc(half, 6, undirected=False) == {arc: scores[arc] for arc in scores if arc[0] < arc[1]}


def test_a_hub_among_hubs_goes_before_a_hub_of_leaves():
    leaves = [(0, i) for i in range(2, 8)] + [(1, i) for i in range(8, 14)]
    scores = by_arc(both_ways((0, 1), *leaves), 14)
    assert min(scores, key=scores.get) in {(0, 1), (1, 0)}
    assert math.isclose(scores[0, 2], scores[1, 8])
