"""Scores of edges against slow references, hand-worked values and other libraries."""

import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import reference.scorers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.graphs import arcs_of, both_ways, random_undirected, shuffled, small_sbm, undirected
from reference.scorers import NEEDS_MODEL
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GATv2Conv, GCNConv

import glt
from glt import triangles
from glt.errors import GltError
from glt.hashing import hash_pairs, uniform
from glt.registry import build
from glt.scorers import feature_cosine
from glt.select import keep_count
from glt.simple import SimpleGraph
from glt.sparsify import keep_arcs
from glt.transforms import Sparsify

#   0 - 1        a triangle, a path that hangs on it, and a pair on its own; 7 is alone
#   | / \
#   2    3 - 4   5 - 6
KITE = [(0, 1), (0, 2), (1, 2), (1, 3), (3, 4), (5, 6)]


def graph(*pairs, nodes=8, **extra):
    return Data(edge_index=both_ways(*pairs), num_nodes=nodes, **extra)


def by_pair(scorer, data, *args):
    """Score by (u, v), u < v."""
    scores = build("scorers", scorer)(data, *args).tolist()
    return {(u, v): s for (u, v), s in zip(data.edge_index.t().tolist(), scores, strict=True) if u < v}


# --- jaccard


def test_jaccard_by_hand():
    # 0 and 1 share 2, of {1, 2} and {0, 2, 3}: 1 of 4; 0 and 2 share 1, of {1, 2} and {0, 1}: 1 of 3
    want = {(0, 1): 1 / 4, (0, 2): 1 / 3, (1, 2): 1 / 4, (1, 3): 0, (3, 4): 0, (5, 6): 0}
    assert by_pair("jaccard", graph(*KITE)) == pytest.approx(want)


@given(undirected())
def test_jaccard_of_any_graph(drawn):
    edge_index, nodes = drawn
    scores = build("scorers", "jaccard")(Data(edge_index=edge_index, num_nodes=nodes))
    np.testing.assert_allclose(scores, reference.scorers.jaccard(edge_index, nodes), rtol=1e-6)


@pytest.mark.parametrize("wedges", [1, 7, 10**6])
def test_jaccard_of_a_larger_graph_whatever_is_looked_at_at_once(wedges, monkeypatch):
    monkeypatch.setattr(triangles, "WEDGES", wedges)
    edge_index = random_undirected(np.random.default_rng(0), 40, 250, loops=3)
    scores = build("scorers", "jaccard")(Data(edge_index=edge_index, num_nodes=40))
    np.testing.assert_allclose(scores, reference.scorers.jaccard(edge_index, 40), rtol=1e-6)


# --- local degree


def test_local_degree_by_hand():
    # degrees 2, 3, 2, 2, 1, 1, 1: node 1 ranks 0, 2, 3 (equal degrees, lower id first); 0 ranks 1, 2; 2 ranks 1, 0;
    # 3 ranks 1, 4; ends of degree 1 give 1
    want = {(0, 1): 1, (0, 2): 0, (1, 2): 1, (1, 3): 1, (3, 4): 1, (5, 6): 1}
    assert by_pair("local_degree", graph(*KITE)) == pytest.approx(want)
    # four nodes, all joined: 0 is everyone's first; 1 and 2 are each other's second, 3 has 1 second and 2 third
    third = 1 - math.log(2) / math.log(3)
    want = {(0, 1): 1, (0, 2): 1, (0, 3): 1, (1, 2): third, (1, 3): third, (2, 3): 0}
    assert by_pair("local_degree", graph(*want)) == pytest.approx(want)


@given(undirected())
def test_local_degree_of_any_graph(drawn):
    edge_index, nodes = drawn
    scores = build("scorers", "local_degree")(Data(edge_index=edge_index, num_nodes=nodes))
    np.testing.assert_allclose(scores, reference.scorers.local_degree(edge_index, nodes), atol=1e-6)


def test_networkit_gives_the_same_scores():
    networkit = pytest.importorskip("networkit")
    edge_index = random_undirected(np.random.default_rng(1), 60, 150)
    data = Data(edge_index=edge_index, num_nodes=60)
    other = networkit.Graph(60)
    for u, v in edge_index.t().tolist():
        if u < v:
            other.addEdge(u, v)
    other.indexEdges()
    assert max(other.degree(v) for v in range(60)) <= 16  # beyond, its sort is not stable and breaks ties otherwise
    local = networkit.sparsification.LocalDegreeScore(other).run().scores()
    closed = networkit.sparsification.TriangleEdgeScore(other).run().scores()
    simple = SimpleGraph.of(data)
    found = simple.to_arcs(triangles.common_neighbours(simple), data).tolist()
    jaccard = networkit.linkprediction.JaccardIndex(other)
    scores = {name: build("scorers", name)(data).tolist() for name in ("local_degree", "jaccard")}
    for arc, (u, v) in enumerate(edge_index.t().tolist()):
        assert scores["local_degree"][arc] == pytest.approx(local[other.edgeId(u, v)], abs=1e-6)
        assert scores["jaccard"][arc] == pytest.approx(jaccard.run(u, v), abs=1e-6)
        assert found[arc] == closed[other.edgeId(u, v)]


# --- features


def test_feature_cosine_by_hand():
    x = torch.tensor([[1.0, 0], [1, 1], [0, 2], [-3, 0], [0, 0]])
    want = {(0, 1): math.sqrt(0.5), (0, 2): 0, (0, 3): -1, (1, 2): math.sqrt(0.5), (0, 4): 0}
    got = by_pair("feature_cosine", graph(*want, nodes=5, x=x))
    assert got == pytest.approx(want)


@pytest.mark.parametrize("values", [1, 50, 10**6])
@pytest.mark.parametrize("kind", ["dense", "coo", "csr", "int"])
def test_feature_cosine_of_any_layout_in_any_pieces(kind, values, monkeypatch):
    monkeypatch.setattr(feature_cosine, "VALUES", values)
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, size=(30, 6)) * (rng.random((30, 6)) < 0.4)
    edge_index = random_undirected(rng, 30, 80, loops=2)
    dense = torch.from_numpy(x) if kind == "int" else torch.from_numpy(x).float()
    stored = {"coo": dense.to_sparse_coo, "csr": dense.to_sparse_csr}.get(kind, lambda: dense)()
    scores = build("scorers", "feature_cosine")(Data(x=stored, edge_index=edge_index))
    np.testing.assert_allclose(scores, reference.scorers.feature_cosine(edge_index, x), atol=1e-6)


def test_feature_cosine_needs_features_that_are_numbers(sbm):
    with pytest.raises(GltError, match=r"data\.x"):
        build("scorers", "feature_cosine")(graph((0, 1)))
    sbm.x[3, 2] = math.nan
    with pytest.raises(GltError, match="NaN"):
        build("scorers", "feature_cosine")(sbm)


# --- effective resistance


def test_effective_resistance_of_bridges_cycles_and_cliques():
    exact = {"name": "effective_resistance", "projections": 2000, "tolerance": 1e-8}
    scores = by_pair(exact, graph(*KITE))
    for bridge in [(1, 3), (3, 4), (5, 6)]:
        assert scores[bridge] == pytest.approx(1)  # every projection says so
    for side in [(0, 1), (0, 2), (1, 2)]:
        assert scores[side] == pytest.approx(2 / 3, rel=0.1)  # 1 ohm beside 2
    ring = by_pair(exact, graph(*[(i, (i + 1) % 8) for i in range(8)]))
    assert list(ring.values()) == pytest.approx([7 / 8] * 8, rel=0.1)
    clique = by_pair(exact, graph(*[(u, v) for u in range(8) for v in range(u)]))
    assert list(clique.values()) == pytest.approx([2 / 8] * 28, rel=0.1)


@pytest.mark.parametrize("nodes", [40, 90])  # the second falls apart, with nodes on their own
def test_effective_resistance_against_the_pseudo_inverse(nodes):
    edge_index = random_undirected(np.random.default_rng(nodes), nodes, 100, loops=4)
    data = Data(edge_index=edge_index, num_nodes=nodes)
    want = reference.scorers.effective_resistance(edge_index, nodes)
    proper = want > 0
    rough, fine = (
        build("scorers", {"name": "effective_resistance", "projections": count})(data).numpy() for count in (64, 4096)
    )
    np.testing.assert_allclose(fine[proper], want[proper], rtol=5 * math.sqrt(2 / 4096) + 2e-3)
    np.testing.assert_allclose(rough[proper], want[proper], rtol=5 * math.sqrt(2 / 64))
    assert np.corrcoef(rough[proper], want[proper])[0, 1] > 0.9


def test_effective_resistance_of_a_long_path_is_one():
    path = graph(*[(i, i + 1) for i in range(199)], nodes=200)
    scores = build("scorers", {"name": "effective_resistance", "projections": 3, "tolerance": 1e-8})(path)
    np.testing.assert_allclose(scores, 1, rtol=1e-6)


def test_effective_resistances_add_up_and_know_their_seed():
    """To the number of nodes less that of components, each edge once (Foster 1949)."""
    edge_index = random_undirected(np.random.default_rng(5), 30, 60)
    data = Data(edge_index=edge_index, num_nodes=30)
    want = reference.scorers.effective_resistance(edge_index, 30)
    got = build("scorers", {"name": "effective_resistance", "projections": 3000})(data)
    assert float(got.sum()) == pytest.approx(want.sum(), rel=0.02)
    other = build("scorers", {"name": "effective_resistance", "projections": 3000, "seed": 1})(data)
    assert not torch.equal(got, other)


def test_projections_are_fair_and_different():
    from glt.scorers.effective_resistance import _signs

    key = hash_pairs(np.arange(4000), np.arange(4000) + 1, 0)
    signs = _signs(key, 60, 10)  # on both sides of where a hash has no more bits
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert np.abs(signs.mean(0)).max() < 4 / math.sqrt(4000)
    assert np.abs(signs.T @ signs / 4000 - np.eye(10)).max() < 4 / math.sqrt(4000)


# --- spanning forests


def numbered(data, model=None):
    """All different: a permutation by pair."""
    low, high = data.edge_index.min(0).values, data.edge_index.max(0).values
    return ((low * 7919 + high * 104729) % 65537).double()


@given(undirected(), st.integers(1, 3), st.booleans())
def test_forests_are_those_of_kruskal(drawn, forests, tied):
    edge_index, nodes = drawn
    data = Data(edge_index=edge_index, num_nodes=nodes)

    def base(data, model=None):
        return numbered(data) % (3 if tied else 10**6)

    pairs = [(min(a), max(a)) for a in edge_index.t().tolist()]
    scores = dict(zip(pairs, base(data).tolist(), strict=True))
    order = reference.scorers.forest_order(edge_index, nodes, scores, forests)
    got = build("scorers", {"name": "spanning_forest", "base": base, "forests": forests})(data)
    ours = {pair: score for pair, score in zip(pairs, got.tolist(), strict=True) if pair[0] != pair[1]}
    # the reference orders ties by id, our score leaves them equal, so ids decide in the end
    assert sorted(ours, key=lambda pair: (-ours[pair], pair)) == order or tied
    forest = {pair: order.index(pair) for pair in order}
    assert all(ours[a] >= ours[b] for a in order for b in order if forest[a] < forest[b])


def test_forest_by_hand():
    # by hand: 01 (5) and 12 (4) join, so does 13; 02 closes the triangle: it goes first, though 34 scores lowest
    weight = {(0, 1): 5.0, (1, 2): 4.0, (0, 2): 3.0, (1, 3): 2.0, (3, 4): 1.0, (5, 6): 0.0}
    data = graph(*KITE)

    def base(data, model=None):
        return torch.tensor([weight[min(u, v), max(u, v)] for u, v in data.edge_index.t().tolist()])

    scores = by_pair({"name": "spanning_forest", "base": base}, data)
    assert sorted(scores, key=scores.get) == [(0, 2), (5, 6), (3, 4), (1, 3), (1, 2), (0, 1)]
    scores = by_pair({"name": "spanning_forest", "base": base, "forests": 2}, data)
    assert sorted(scores, key=scores.get)[0] == (0, 2)


def test_a_kept_forest_connects_what_was_connected(sbm):
    import scipy.sparse.csgraph as csgraph
    from torch_geometric.utils import to_scipy_sparse_matrix

    def parts(data):
        return csgraph.connected_components(to_scipy_sparse_matrix(data.edge_index, num_nodes=60))[0]

    edges = sbm.num_edges // 2
    kept = Sparsify(1 - (60 - parts(sbm)) / edges, "spanning_forest")(sbm)
    assert kept.num_edges == 2 * (60 - parts(sbm))
    assert parts(kept) == parts(sbm)
    assert parts(Sparsify(1 - (60 - parts(sbm)) / edges, "teddy")(sbm)) > parts(sbm)


def test_a_forest_of_a_scorer_that_needs_a_model_needs_one(sbm):
    piece = build("scorers", {"name": "spanning_forest", "base": "gradient"})
    assert piece.needs_model and not build("scorers", "spanning_forest").needs_model
    with pytest.raises(GltError, match="'gradient' needs a trained model"):
        piece(sbm)
    assert piece(sbm, build("backbones", "gcn")(8, 3)).shape == (sbm.num_edges,)


def test_a_forest_of_an_unknown_scorer_is_an_error_when_built():
    with pytest.raises(GltError, match="did you mean 'teddy'"):
        build("scorers", {"name": "spanning_forest", "base": "tedy"})


# --- dspar

SMALL = graph(*KITE[:5], (1, 4), (0, 3), nodes=5)
VARIANTS = ["gumbel", "priority", "unique"]


def drawn_sets(variant, keep, seeds):
    """How often every set of edges stays."""
    sets = Counter()
    arcs = SMALL.edge_index.t().tolist()
    for seed in range(seeds):
        scorer = build("scorers", {"name": "dspar", "variant": variant, "seed": seed})
        mask = keep_arcs(SMALL, scorer, 1 - keep / 7)
        sets[frozenset(tuple(a) for a, k in zip(arcs, mask.tolist(), strict=True) if k and a[0] < a[1])] += 1
    return sets


def odds():
    return by_pair("degree", SMALL)


def chance(chosen, keep):
    """Of a set, by drawing with replacement until ``keep`` different edges have come up: over all orders."""
    import itertools

    p = odds()
    total = sum(p.values())
    out = 0.0
    for order in itertools.permutations(chosen):
        left, product = total, 1.0
        for edge in order:
            product *= p[edge] / left
            left -= p[edge]
        out += product
    return out


@pytest.mark.parametrize("variant", ["gumbel", "unique"])
def test_dspar_draws_sets_as_drawing_until_k_are_different_does(variant):
    import itertools

    seeds = 1500
    sets = drawn_sets(variant, 2, seeds)
    pairs = list(itertools.combinations(odds(), 2))
    want = np.array([chance(pair, 2) for pair in pairs])
    assert want.sum() == pytest.approx(1)
    got = np.array([sets[frozenset(pair)] for pair in pairs])
    assert ((got - seeds * want) ** 2 / (seeds * want)).sum() < 45.3  # chi-squared, 20 degrees, p = 0.001


def test_gumbel_and_unique_keep_the_same_edges_and_priority_others(sbm):
    keeps = [keep_arcs(sbm, build("scorers", {"name": "dspar", "variant": v, "seed": 3}), 0.5) for v in VARIANTS]
    assert torch.equal(keeps[0], keeps[2])
    assert not torch.equal(keeps[0], keeps[1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_dspar_keys_are_their_formulas(variant):
    scorer = {"name": "dspar", "variant": variant, "seed": 5}
    for (u, v), score in by_pair(scorer, SMALL).items():
        draw, p = uniform(hash_pairs(np.array([u]), np.array([v]), 5))[0], odds()[u, v]
        want = {"priority": p / draw, "unique": math.log(draw) / p, "gumbel": math.log(p) - math.log(-math.log(draw))}
        assert score == pytest.approx(want[variant], rel=1e-5)


def test_dspar_prefers_edges_of_nodes_with_few_neighbours():
    star = graph(*[(0, i) for i in range(1, 7)], (7, 8), nodes=9)
    stays = sum(
        bool(keep_arcs(star, build("scorers", {"name": "dspar", "seed": seed}), 0.5)[-1]) for seed in range(300)
    )
    assert stays > 0.52 * 300  # 7-8 has odds 2, the spokes 7/6: more than the 3 of 7 of a fair draw


def test_priority_weights_are_unbiased():
    total, seeds = Counter(), 1500
    arcs = SMALL.edge_index.t().tolist()
    for seed in range(seeds):
        scorer = build("scorers", {"name": "dspar", "variant": "priority", "seed": seed})
        keep = keep_arcs(SMALL, scorer, 4 / 7)
        weights = scorer.weights(SMALL, keep)
        assert torch.equal(weights > 0, keep)
        assert float(weights[keep].min()) >= 1
        for arc, weight in zip(arcs, weights.tolist(), strict=True):
            total[tuple(arc)] += weight / seeds
    assert list(total.values()) == pytest.approx([1.0] * 14, abs=0.15)


def test_unique_weights_are_those_of_draws_with_replacement():
    """Mean weight of every edge, against a simulation of the draws."""
    arcs, p = SMALL.edge_index.t().tolist(), odds()
    pairs, chances = list(p), np.array(list(p.values())) / sum(p.values())
    rng, seeds = np.random.default_rng(0), 1000
    ours, simulated = np.zeros(7), np.zeros(7)
    for seed in range(seeds):
        scorer = build("scorers", {"name": "dspar", "variant": "unique", "seed": seed})
        weights = scorer.weights(SMALL, keep_arcs(SMALL, scorer, 3 / 7))
        found = {tuple(a): w for a, w in zip(arcs, weights.tolist(), strict=True)}
        assert all(found[u, v] == found[v, u] for u, v in pairs)
        ours += [found[pair] for pair in pairs]
        counts = np.zeros(7)
        while np.count_nonzero(counts) < 4:
            counts[rng.choice(7, p=chances)] += 1
        simulated += counts / (counts.sum() * chances)
    np.testing.assert_allclose(ours / seeds, simulated / seeds, atol=0.12)


@pytest.mark.parametrize("variant", ["priority", "unique"])
def test_weights_without_pruning(variant):
    scorer = build("scorers", {"name": "dspar", "variant": variant})
    data = graph(*KITE, (0, 0))
    weights = scorer.weights(data, torch.ones(data.num_edges, dtype=torch.bool))
    assert bool(torch.isfinite(weights).all()) and bool((weights > 0).all())
    assert float(weights[0]) == 1  # the loop
    if variant == "priority":
        assert bool((weights == 1).all())


def test_sparsify_reweights_what_stays(sbm):
    spec = {"name": "dspar", "variant": "priority", "seed": 2}
    plain, weighted = Sparsify(0.5, spec)(sbm), Sparsify(0.5, spec, reweight=True)(sbm)
    assert torch.equal(plain.edge_index, weighted.edge_index)
    assert "edge_weight" not in sbm and "edge_weight" not in plain
    scorer, keep = build("scorers", spec), keep_arcs(sbm, build("scorers", spec), 0.5)
    assert torch.equal(weighted.edge_weight, scorer.weights(sbm, keep)[keep])
    sbm.edge_weight = torch.full((sbm.num_edges,), 2.0)
    assert torch.equal(Sparsify(0.5, spec, reweight=True)(sbm).edge_weight, 2 * weighted.edge_weight)
    assert bool((sbm.edge_weight == 2).all())


def test_directed_graphs_are_reweighted_arc_by_arc(sbm):
    sbm.edge_index = sbm.edge_index[:, sbm.edge_index[0] < sbm.edge_index[1]]
    sub = Sparsify(0.5, {"name": "dspar", "variant": "priority"}, undirected=False, reweight=True)(sbm)
    assert bool((sub.edge_weight >= 1).all())
    assert "undirected" not in sub


@pytest.mark.parametrize(
    ("scorer", "selection", "said"),
    [
        ("teddy", None, "'teddy' defines no weights"),
        (lambda data: data.edge_index[0].float(), None, "defines no weights"),
        ({"name": "dspar", "variant": "priority"}, {"inverse": True}, "leave out selection"),
    ],
)
def test_reweighting_is_refused_where_nothing_defines_it(scorer, selection, said):
    with pytest.raises(GltError, match=said):
        Sparsify(0.5, scorer, selection=selection, reweight=True)


def test_gumbel_has_no_weights(sbm):
    with pytest.raises(GltError, match="'priority' or 'unique'"):
        Sparsify(0.5, "dspar", reweight=True)(sbm)


# --- scores of models


@pytest.mark.parametrize("name", NEEDS_MODEL)
def test_without_a_model_it_is_one_line_that_says_how_to_get_one(name, sbm):
    with pytest.raises(GltError, match=f"'{name}' needs a trained model.*restore") as error:
        Sparsify(0.4, name)(sbm)
    assert "\n" not in str(error.value)


def test_a_model_can_be_bound(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 8})(8, 3)
    scorer = partial(build("scorers", "gradient"), model=model)
    assert Sparsify(0.5, scorer)(sbm).num_edges == 2 * keep_count(sbm.num_edges // 2, 0.5)


def test_gradient_is_the_slope_of_the_loss_of_a_dense_gcn(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 6})(8, 3)
    scores = build("scorers", "gradient")(sbm, model)
    state = {k: v.double().numpy() for k, v in model.state_dict().items()}
    weights, biases = ([state[f"convs.{i}.{part}"] for i in range(2)] for part in ("lin.weight", "bias"))
    adjacency = np.zeros((60, 60))
    adjacency[tuple(sbm.edge_index.numpy())] = 1
    x, y, train = sbm.x.double().numpy(), sbm.y.numpy(), sbm.train_mask.numpy()

    def loss(u, v, value):
        changed = adjacency.copy()
        changed[u, v] = changed[v, u] = value
        return reference.scorers.gcn_loss(changed, x, weights, biases, y, train)

    for arc in range(0, sbm.num_edges, 7):
        u, v = sbm.edge_index[:, arc].tolist()
        slope = (loss(u, v, 1 + 1e-5) - loss(u, v, 1 - 1e-5)) / 2e-5
        assert float(scores[arc]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("backbone", ["gat", "gin", "sage"])
def test_gradient_of_other_backbones_sees_the_edges(backbone, sbm):
    model = build("backbones", {"name": backbone, "hidden": 8})(8, 3)
    scores = build("scorers", "gradient")(sbm, model)
    assert bool(torch.isfinite(scores).all()) and float(scores.max()) > 0


def test_gradient_reaches_as_far_as_the_layers_do():
    path = graph(*[(i, i + 1) for i in range(7)], x=torch.randn(8, 4), y=torch.zeros(8, dtype=torch.int64))
    path.train_mask = torch.arange(8) == 0
    model = build("backbones", {"name": "gcn", "hidden": 16, "layers": 2})(4, 2)
    scores = by_pair("gradient", path, model)
    # two layers see two steps, and the degree of the node there (2 - 3) enters the normalisation
    assert [scores[i, i + 1] > 0 for i in range(7)] == [True, True, True, False, False, False, False]


def test_gradient_leaves_gradients_and_modes_alone(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 8})(8, 3)
    model.convs[0].eval()
    with torch.no_grad():
        build("scorers", "gradient")(sbm, model)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert (model.training, model.convs[0].training, model.convs[1].training) == (True, False, True)


def test_gradient_says_what_is_missing(sbm):
    model = build("backbones", "gcn")(8, 3)
    with pytest.raises(GltError, match="train_mask"):
        build("scorers", "gradient")(Data(x=sbm.x, y=sbm.y, edge_index=sbm.edge_index), model)
    with pytest.raises(GltError, match="edges"):
        build("scorers", "gradient")(sbm, build("backbones", "mlp")(8, 3))


def test_attention_is_that_of_a_dense_gat(sbm):
    model = build("backbones", {"name": "gat", "hidden": 8, "heads": 4})(8, 3)
    for conv in model.convs:  # at initialisation attention is nearly even
        nn.init.normal_(conv.att_src)
        nn.init.normal_(conv.att_dst)
    scores = build("scorers", "attention")(sbm, model)
    adjacency = np.zeros((60, 60))
    adjacency[tuple(sbm.edge_index.numpy())] = 1
    x, alphas = sbm.x.double().numpy(), []
    for conv in model.convs:
        state = {k: v.double().numpy() for k, v in conv.state_dict().items()}
        source, target = state["att_src"][0], state["att_dst"][0]
        alpha, out = reference.scorers.gat_attention(adjacency, x, state["lin.weight"], source, target)
        alphas.append(alpha.mean(-1))
        x = np.maximum(out + state["bias"], 0)
    mean = (alphas[0] + alphas[1]) / 2
    u, v = sbm.edge_index.numpy()
    np.testing.assert_allclose(scores, (mean[u, v] + mean[v, u]) / 2, rtol=1e-4)


class Mixed(nn.Module):
    """Convolutions of several kinds, with dropout; the second is used twice."""

    def __init__(self, kind, **options):
        super().__init__()
        self.first = GCNConv(8, 6)
        self.second = kind(6, 3, heads=2, dropout=0.5, **options)
        self.last = nn.Linear(6, 3)

    def forward(self, x, edge_index):
        hidden = self.first(x, edge_index).relu()
        hidden = self.second(hidden, edge_index).relu_()
        return self.last(self.second(hidden, edge_index=edge_index).relu_())


@pytest.mark.parametrize("kind", [GATConv, GATv2Conv])
@pytest.mark.parametrize("loops", [True, False])
def test_attention_of_any_model_with_attention(kind, loops, sbm):
    model = Mixed(kind, add_self_loops=loops)
    scores = build("scorers", "attention")(sbm, model)
    x, layers = model.eval().first(sbm.x, sbm.edge_index).relu(), []
    for _ in range(2):
        out, (arcs, alpha) = model.second(x, sbm.edge_index, return_attention_weights=True)
        layers.append(alpha[arcs[0] != arcs[1]].mean(1))
        x = out.relu()
    by_arc = torch.stack(layers).mean(0)
    edges = glt.PrunableEdges.of(sbm.edge_index, 60)
    torch.testing.assert_close(scores, edges.pool(by_arc)[edges.edge_of_arc])
    assert not model.second._forward_pre_hooks


def test_attention_needs_attention_on_this_graph(sbm):
    with pytest.raises(GltError, match="GCNModel has none"):
        build("scorers", "attention")(sbm, build("backbones", "gcn")(8, 3))

    class Fewer(Mixed):
        def forward(self, x, edge_index):
            return super().forward(x, edge_index[:, 5:])

    model = Fewer(GATConv)
    with pytest.raises(GltError, match="other arcs"):
        build("scorers", "attention")(sbm, model)
    assert not model.second._forward_pre_hooks
    assert model.second.training


# --- what they share


@settings(max_examples=20)
@given(undirected(min_edges=1), st.integers(0, 5))
def test_the_bits_do_not_depend_on_the_order_of_arcs(drawn, seed):
    edge_index, nodes = drawn
    x = torch.randn(nodes, 3, generator=torch.Generator().manual_seed(seed))
    other, order = shuffled(edge_index, seed)
    for name in ("dspar", "jaccard", "local_degree", "feature_cosine", "effective_resistance", "spanning_forest"):
        scorer = build("scorers", name)
        one, two = (scorer(Data(x=x, edge_index=arcs, num_nodes=nodes)) for arcs in (edge_index, other))
        assert torch.equal(two, one[order]), name


def test_hashes_are_uniform_and_never_at_the_ends():
    draws = uniform(hash_pairs(np.arange(20_000), np.arange(20_000) + 1, 7))
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-squared, 9 degrees, p = 0.001
    ends = uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert 0 < ends[0] < ends[1] < 1


def test_simple_graphs_forget_loops_repeats_and_directions():
    simple = SimpleGraph.of(Data(edge_index=arcs_of((3, 1), (1, 3), (2, 2), (0, 2), (0, 2)), num_nodes=5))
    assert (simple.low.tolist(), simple.high.tolist()) == ([0, 1], [2, 3])
    assert simple.edge_of_arc.tolist() == [1, 1, -1, 0, 0]
    assert simple.degree().tolist() == [1, 1, 1, 1, 0]
    with pytest.raises(GltError, match="node 7"):
        SimpleGraph.of(Data(edge_index=arcs_of((0, 7)), num_nodes=5))


def test_every_model_free_scorer_takes_a_graph_of_loops_alone():
    data = Data(edge_index=arcs_of((0, 0), (2, 2)), num_nodes=3, x=torch.ones(3, 2))
    for name in reference.scorers.MODEL_FREE:
        scores = build("scorers", name)(data)
        assert scores.shape == (2,) and bool(torch.isfinite(scores).all())


def test_an_empty_graph_has_no_scores():
    for name in reference.scorers.MODEL_FREE:
        for nodes in (0, 4):
            data = Data(edge_index=arcs_of(), num_nodes=nodes, x=torch.ones(nodes, 2))
            assert build("scorers", name)(data).shape == (0,)


def test_scores_of_the_block_model_differ():
    """Nine scorers that would all agree would not be nine."""
    data, keeps = small_sbm(), set()
    for name in reference.scorers.MODEL_FREE:
        keeps.add(tuple(keep_arcs(data, build("scorers", name), 0.5).tolist()))
    assert len(keeps) == len(reference.scorers.MODEL_FREE)
