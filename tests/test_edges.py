import hashlib
import struct
from collections import Counter

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from reference.graphs import arcs_of, both_ways, directed, shuffled, undirected

from glt.edges import PrunableEdges
from glt.errors import GltError


def edge_ids(edge_index, is_undirected=True):
    """Edge of each arc, worked out one by one."""
    arcs = [tuple(arc) for arc in edge_index.t().tolist()]
    key = (lambda arc: (min(arc), max(arc))) if is_undirected else (lambda arc: arc)
    order = sorted({key(arc) for arc in arcs if arc[0] != arc[1]})
    return [-1 if u == v else order.index(key((u, v))) for u, v in arcs], order


@given(undirected())
def test_an_edge_is_a_pair_of_different_nodes(graph):
    edge_index, nodes = graph
    edges = PrunableEdges.of(edge_index, nodes)
    ids, pairs = edge_ids(edge_index)
    assert edges.edge_of_arc.tolist() == ids
    assert [tuple(pair) for pair in edges.pairs.t().tolist()] == pairs
    assert edges.num_edges == len(pairs)


@given(directed())
def test_in_a_directed_graph_an_edge_is_a_source_and_a_target(graph):
    edge_index, nodes = graph
    edges = PrunableEdges.of(edge_index, nodes, undirected=False)
    ids, pairs = edge_ids(edge_index, is_undirected=False)
    assert edges.edge_of_arc.tolist() == ids
    assert [tuple(pair) for pair in edges.pairs.t().tolist()] == pairs


@given(undirected(), st.integers(0, 9))
def test_ids_do_not_depend_on_the_order_of_arcs(graph, seed):
    edge_index, nodes = graph
    edges = PrunableEdges.of(edge_index, nodes)
    other_index, order = shuffled(edge_index, seed)
    other = PrunableEdges.of(other_index, nodes)
    assert torch.equal(other.edge_of_arc, edges.edge_of_arc[order])
    assert torch.equal(other.pairs, edges.pairs)
    assert other.fingerprint() == edges.fingerprint()


@given(undirected(), st.data())
def test_renaming_nodes_renames_edges_and_no_more(graph, data):
    edge_index, nodes = graph
    name = torch.tensor(data.draw(st.permutations(range(nodes))))
    one, two = (PrunableEdges.of(e, nodes) for e in (edge_index, name[edge_index]))
    assert torch.equal(one.edge_of_arc < 0, two.edge_of_arc < 0)
    together = one.edge_of_arc[:, None] == one.edge_of_arc[None, :]
    assert torch.equal(together, two.edge_of_arc[:, None] == two.edge_of_arc[None, :])
    renamed = sorted(sorted(pair) for pair in name[one.pairs].t().tolist())
    assert renamed == two.pairs.t().tolist()


@given(undirected(), st.data())
def test_an_arc_stays_exactly_if_its_edge_stays_and_loops_always(graph, data):
    edge_index, nodes = graph
    edges = PrunableEdges.of(edge_index, nodes)
    flags = data.draw(st.lists(st.booleans(), min_size=edges.num_edges, max_size=edges.num_edges))
    arcs = edges.to_arcs(torch.tensor(flags, dtype=torch.bool))
    ids, _ = edge_ids(edge_index)
    assert arcs.tolist() == [i < 0 or flags[i] for i in ids]
    kept = Counter(map(tuple, edge_index[:, arcs].t().tolist()))
    assert all(kept[v, u] == times for (u, v), times in kept.items())


@given(undirected(), st.data())
def test_equal_arcs_pool_to_their_own_bits(graph, data):
    edge_index, nodes = graph
    edges = PrunableEdges.of(edge_index, nodes)
    number = st.floats(width=32, allow_nan=False, allow_infinity=False)
    scores = data.draw(st.lists(number, min_size=edges.num_edges, max_size=edges.num_edges))
    scores = torch.tensor(scores, dtype=torch.float32)
    arcs = torch.cat([scores, torch.tensor([7e37])])[edges.edge_of_arc]  # loops have scores too
    assert torch.equal(edges.pool(arcs), scores)


def test_different_arcs_pool_to_their_mean():
    edge_index = arcs_of((0, 1), (2, 2), (1, 0), (1, 2), (2, 1), (0, 1), (1, 0))
    edges = PrunableEdges.of(edge_index, 3)
    pooled = edges.pool(torch.tensor([1.0, 100.0, 2.0, 10.0, 30.0, 3.0, 6.0]))
    assert pooled.tolist() == [3.0, 20.0]
    assert pooled.dtype == torch.float32


def test_a_pool_of_float32_is_rounded_once():
    one, two = torch.tensor(1.0), torch.tensor(2.0**-24)
    edges = PrunableEdges.of(both_ways((0, 1)), 2)
    assert edges.pool(torch.stack([one, two])).item() == 0.5  # 0.5 + 2^-25, rounded to even
    assert edges.pool(torch.stack([one, two]).double()).item() == 0.5 + 2.0**-25


def test_a_pool_wants_one_number_per_arc():
    edges = PrunableEdges.of(both_ways((0, 1), (1, 2)), 3)
    for bad in (torch.ones(3), torch.ones(4, 1)):
        with pytest.raises(GltError, match=r"expected shape \[4\]"):
            edges.pool(bad)


@pytest.mark.parametrize("keep", [torch.ones(3, dtype=torch.bool), torch.ones(2), torch.ones(2, 1, dtype=torch.bool)])
def test_a_mask_of_edges_is_bool_and_of_their_number(keep):
    edges = PrunableEdges.of(both_ways((0, 1), (1, 2)), 3)
    with pytest.raises(GltError, match=r"bool \[2\]"):
        edges.to_arcs(keep)


@pytest.mark.parametrize("is_undirected", [True, False])
def test_a_graph_without_edges_has_none(is_undirected):
    for edge_index, nodes in [(arcs_of(), 0), (arcs_of(), 3), (arcs_of((1, 1), (1, 1)), 2)]:
        edges = PrunableEdges.of(edge_index, nodes, is_undirected)
        assert edges.num_edges == 0
        assert edges.to_arcs(torch.ones(0, dtype=torch.bool)).tolist() == [True] * edge_index.size(1)
        with pytest.raises(GltError, match="no edges to prune"):
            edges.count(0.0)


def test_the_count_is_exact():
    edges = PrunableEdges.of(both_ways(*[(0, i) for i in range(1, 11)], (3, 3)), 11)
    assert [edges.count(s) for s in (0, 0.05, 0.4, 0.94)] == [10, 9, 6, 1]


@given(directed())
def test_a_graph_is_undirected_if_every_arc_comes_as_often_as_its_reverse(graph):
    edge_index, nodes = graph
    arcs = Counter(map(tuple, edge_index.t().tolist()))
    lonely = [(u, v) for (u, v), times in arcs.items() if arcs[v, u] < times]
    if not lonely:
        PrunableEdges.of(edge_index, nodes)
        return
    with pytest.raises(GltError, match="has no reverse") as error:
        PrunableEdges.of(edge_index, nodes)
    named = str(error.value).split("arc ")[1].split(" has")[0]
    assert named in {f"({u}, {v})" for u, v in lonely}
    assert f"({len(lonely)} such edges)" in str(error.value)


@pytest.mark.parametrize("lonely", [(1, 4), (4, 1)])
def test_the_lonely_arc_is_named_in_its_own_direction(lonely):
    with pytest.raises(GltError, match=rf"arc \({lonely[0]}, {lonely[1]}\) has no reverse"):
        PrunableEdges.of(torch.cat([both_ways((0, 1), (2, 4)), arcs_of(lonely)], dim=1), 5)


@pytest.mark.parametrize(("arc", "bad"), [((0, 3), 3), ((3, 1), 3), ((-1, 2), -1), ((7, -2), -2)])
@pytest.mark.parametrize("is_undirected", [True, False])
def test_a_node_that_is_not_there_is_named(arc, bad, is_undirected):
    with pytest.raises(GltError, match=f"holds node {bad}, but the graph has 3 nodes"):
        PrunableEdges.of(torch.cat([both_ways((0, 1)), arcs_of(arc)], dim=1), 3, is_undirected)


@pytest.mark.parametrize(
    "edge_index", [torch.zeros(2, 4, dtype=torch.int32), torch.zeros(4, 2, dtype=torch.int64), torch.zeros(2, 4)]
)
def test_an_edge_index_of_another_form_is_refused(edge_index):
    with pytest.raises(GltError, match=r"int64 of shape \[2, arcs\], got"):
        PrunableEdges.of(edge_index, 4)


def test_fingerprints_tell_graphs_apart():
    square = both_ways((0, 1), (1, 2), (2, 3), (3, 0))
    prints = [
        PrunableEdges.of(square, 4).fingerprint(),
        PrunableEdges.of(square, 5).fingerprint(),
        PrunableEdges.of(square, 4, undirected=False).fingerprint(),
        PrunableEdges.of(both_ways((0, 1), (1, 2), (2, 3)), 4).fingerprint(),
        PrunableEdges.of(both_ways((0, 2), (1, 2), (1, 3), (3, 0)), 4).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 64 for p in prints)


@given(undirected(max_nodes=4), undirected(max_nodes=4))
def test_equal_fingerprints_mean_equal_edges(one, two):
    assume(one[1] == two[1])
    a, b = (PrunableEdges.of(*graph) for graph in (one, two))
    assert (a.fingerprint() == b.fingerprint()) == torch.equal(a.pairs, b.pairs)


def test_the_fingerprint_is_a_format():
    """Tickets carry it: another value would make every stored ticket unreadable."""
    path = PrunableEdges.of(both_ways((0, 1), (1, 3)), 4)
    content = b"4 undirected " + struct.pack("<4q", 0, 1, 1, 3)  # the smaller ends, then the larger ones
    assert path.fingerprint() == hashlib.sha256(content).hexdigest()
