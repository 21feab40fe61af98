"""Inverse, blended and node-by-node selection."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference.graphs import both_ways, random_undirected, shuffled, undirected
from torch_geometric.data import Data

import glt
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.registry import build, spec_of
from glt.select import keep_count, keep_top
from glt.selection import Selection
from glt.sparsify import keep_arcs
from glt.transforms import Sparsify

SPARSITY = st.floats(0, 0.95)


@st.composite
def scored(draw, tied=True):
    """(edges, scores): any undirected graph with few different scores, or with all different ones."""
    edge_index, nodes = draw(undirected(min_edges=1))
    edges = PrunableEdges.of(edge_index, nodes)
    if tied:
        scores = draw(st.lists(st.integers(0, 3), min_size=edges.num_edges, max_size=edges.num_edges))
    else:
        scores = draw(st.permutations(range(edges.num_edges)))
    return edges, torch.tensor(scores, dtype=torch.float32)


def count(edges, sparsity):
    """How many stay, or None where everything would go."""
    try:
        return edges.count(sparsity)
    except GltError:
        return None


def ranked_at_ends(edges, scores):
    """For every edge the (rank from 0, degree) at both ends, by sorting each node's edges."""
    pairs = edges.pairs.t().tolist()
    at = {v: [e for e, pair in enumerate(pairs) if v in pair] for v in range(edges.num_nodes)}
    for incident in at.values():
        incident.sort(key=lambda e: (-float(scores[e]), e))
    return [[(at[v].index(e), len(at[v])) for v in pair] for e, pair in enumerate(pairs)]


@given(scored(), SPARSITY)
def test_the_default_is_the_highest_scores(drawn, sparsity):
    edges, scores = drawn
    if (keep := count(edges, sparsity)) is not None:
        assert torch.equal(Selection().keep(edges, scores, sparsity), keep_top(scores, keep))


@pytest.mark.parametrize("by", ["global", "node"])
@pytest.mark.parametrize("inverse", [False, True])
@given(drawn=scored(), sparsities=st.tuples(SPARSITY, SPARSITY))
def test_counts_are_exact_and_masks_nested(by, inverse, drawn, sparsities):
    edges, scores = drawn
    selection, before = Selection(by=by, inverse=inverse), scores.clone()
    masks = []
    for sparsity in sorted(sparsities):
        keep = count(edges, sparsity)
        if keep is None:
            with pytest.raises(GltError, match="removes all"):
                selection.keep(edges, scores, sparsity)
            return
        masks.append(selection.keep(edges, scores, sparsity))
        assert masks[-1].dtype == torch.bool
        assert int(masks[-1].sum()) == keep
    assert bool((masks[0] | ~masks[1]).all())
    assert torch.equal(scores, before)


@given(scored(), SPARSITY)
def test_inverse_is_the_selection_of_negated_scores_and_its_own_inverse(drawn, sparsity):
    edges, scores = drawn
    if count(edges, sparsity) is None:
        return
    for by in ("global", "node"):
        plain, inverse = Selection(by=by), Selection(by=by, inverse=True)
        assert torch.equal(inverse.keep(edges, scores, sparsity), plain.keep(edges, -scores, sparsity))
        assert torch.equal(inverse.keep(edges, -scores, sparsity), plain.keep(edges, scores, sparsity))


@given(scored(tied=False), st.data())
def test_what_the_inverse_keeps_is_the_rest(drawn, data):
    edges, scores = drawn
    kept = data.draw(st.integers(1, edges.num_edges))
    if kept == edges.num_edges:
        return
    lowest = Selection(inverse=True).keep(edges, scores, 1 - kept / edges.num_edges)
    assert int(lowest.sum()) == kept
    assert torch.equal(~lowest, keep_top(scores, edges.num_edges - kept))


@pytest.mark.parametrize("options", [{}, {"inverse": True}, {"by": "node"}, {"by": "node", "inverse": True}])
def test_ties_go_by_edge_id(options):
    # a ring: every edge is the best or the second of its ends; equal scores leave ids alone to decide
    edges = PrunableEdges.of(both_ways(*[(i, (i + 1) % 6) for i in range(6)]), 6)
    keep = Selection(**options).keep(edges, torch.ones(6), 0.5)
    if options.get("by") == "node":
        # ids: 01, 05, 12, 23, 34, 45. Best of an end: 01 (of 0, 1), 05 (of 5), 12 (of 2), 23 (of 3), 34 (of 4)
        assert keep.tolist() == [True, True, True, False, False, False]
    else:
        assert keep.tolist() == [True] * 3 + [False] * 3


@given(scored(), SPARSITY)
def test_by_node_an_edge_goes_in_by_the_better_of_its_ends(drawn, sparsity):
    edges, scores = drawn
    keep = count(edges, sparsity)
    if keep is None:
        return
    share = [min(rank / degree for rank, degree in ends) for ends in ranked_at_ends(edges, scores)]
    order = sorted(range(edges.num_edges), key=lambda e: (share[e], -float(scores[e]), e))
    mask = Selection(by="node").keep(edges, scores, sparsity)
    assert set(torch.where(mask)[0].tolist()) == set(order[:keep])


@given(scored(), st.integers(1, 4))
def test_a_fraction_of_every_node_is_what_by_node_keeps(drawn, quarters):
    """Where the total is that of the rule "the best ceil(f d) of either end", the edges are those of the rule."""
    edges, scores = drawn
    ruled = torch.tensor(
        [
            any(rank < math.ceil(quarters * degree / 4) for rank, degree in ends)
            for ends in ranked_at_ends(edges, scores)
        ]
    )
    sparsity = 1 - int(ruled.sum()) / edges.num_edges
    assert torch.equal(Selection(by="node").keep(edges, scores, sparsity), ruled)


@pytest.mark.parametrize("inverse", [False, True])
@given(drawn=scored(), k=st.integers(1, 4))
def test_per_node_keeps_the_k_best_of_either_end(inverse, drawn, k):
    edges, scores = drawn
    mask = Selection(per_node=k, inverse=inverse).keep(edges, scores, None)
    signed = -scores if inverse else scores
    want = [any(rank < k for rank, _ in ends) for ends in ranked_at_ends(edges, signed)]
    assert mask.tolist() == want
    more = Selection(per_node=k + 1, inverse=inverse).keep(edges, scores, None)
    assert bool((more | ~mask).all())


def test_per_node_by_hand():
    # 0 is a hub of 1 to 4; 1 - 2 beside. Scores by pair: 01: 1, 02: 2, 03: 3, 04: 4, 12: 0.5
    edges = PrunableEdges.of(both_ways((0, 1), (0, 2), (0, 3), (0, 4), (1, 2)), 5)
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5])
    # best of 0: 04; of 1: 01; of 2: 02; of 3: 03; of 4: 04. Only 12 is the best of no end
    assert Selection(per_node=1).keep(edges, scores, None).tolist() == [True] * 4 + [False]
    assert Selection(per_node=2).keep(edges, scores, None).tolist() == [True] * 5
    # lowest of 0: 01; of 1 and of 2: 12; of 3: 03; of 4: 04
    assert Selection(per_node=1, inverse=True).keep(edges, scores, None).tolist() == [True, False, True, True, True]


@pytest.mark.parametrize("inverse", [False, True])
@given(drawn=scored(), k=st.integers(1, 4))
def test_at_most_per_node_keeps_what_both_ends_want(inverse, drawn, k):
    edges, scores = drawn
    mask = Selection(per_node=k, wanted_by="both", inverse=inverse).keep(edges, scores, None)
    signed = -scores if inverse else scores
    assert mask.tolist() == [all(rank < k for rank, _ in ends) for ends in ranked_at_ends(edges, signed)]
    degree = torch.bincount(edges.pairs[:, mask].flatten(), minlength=edges.num_nodes)
    assert int(degree.max()) <= k
    assert bool((Selection(per_node=k + 1, wanted_by="both", inverse=inverse).keep(edges, scores, None) | ~mask).all())


def test_at_most_per_node_by_hand():
    # the same graph. Best of 0: 04, 03; of 1: 01, 12; of 2: 02, 12; of 3: 03; of 4: 04
    edges = PrunableEdges.of(both_ways((0, 1), (0, 2), (0, 3), (0, 4), (1, 2)), 5)
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5])
    one, two = (Selection(per_node=k, wanted_by="both").keep(edges, scores, None).tolist() for k in (1, 2))
    assert one == [False, False, False, True, False]
    assert two == [False, False, True, True, True]
    with pytest.raises(GltError, match="goes with per_node"):
        Selection(wanted_by="both")


def test_by_node_by_hand():
    # the same graph. (rank - 1) / degree at 0: 04: 0, 03: 1/4, 02: 2/4, 01: 3/4; at 1: 01: 0, 12: 1/2; at 2: 02: 0,
    # 12: 1/2; at 3 and 4 their only edge: 0. So 12 goes first, then 01 and 02 by score
    edges = PrunableEdges.of(both_ways((0, 1), (0, 2), (0, 3), (0, 4), (1, 2)), 5)
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    scores[4] = 0.5
    masks = [Selection(by="node").keep(edges, scores, s).tolist() for s in (0.2, 0.4, 0.6)]
    assert masks[0] == [True, True, True, True, False]
    assert masks[1] == [False, True, True, True, False]
    assert masks[2] == [False, False, True, True, False]
    assert Selection().keep(edges, torch.tensor([1.0, 2, 3, 4, 5]), 0.2).tolist() == [False, True, True, True, True]


def test_directed_arcs_are_ranked_at_both_ends():
    edges = PrunableEdges.of(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 0]]), 3, undirected=False)
    scores = torch.tensor([1.0, 4.0, 3.0, 2.0])  # 01, 10, 12, 20
    # best of 0 (01, 10, 20): 10; of 1 (01, 10, 12): 10; of 2 (12, 20): 12
    assert Selection(per_node=1).keep(edges, scores, None).tolist() == [False, True, True, False]


# --- blend


def test_ranks_are_averaged_by_weight(sbm):
    from scipy.stats import rankdata

    edges = PrunableEdges.of(sbm.edge_index, 60)
    pieces = [build("scorers", s) for s in ("teddy", "jaccard", {"name": "random", "seed": 3})]
    ranks = [rankdata(edges.pool(piece(sbm)).numpy()) for piece in pieces]
    selection = Selection(blend=("jaccard", {"name": "random", "seed": 3}), weights=(2, 1, 0.5))
    got = selection.score(edges, pieces[0], sbm)
    np.testing.assert_allclose(got, (2 * ranks[0] + ranks[1] + 0.5 * ranks[2]) / 3.5)
    even = Selection(blend=("jaccard",)).score(edges, pieces[0], sbm)
    np.testing.assert_allclose(even, (ranks[0] + ranks[1]) / 2)


def test_a_blend_with_itself_selects_as_alone(sbm):
    edges = PrunableEdges.of(sbm.edge_index, 60)
    teddy = build("scorers", "teddy")
    blend = Selection(blend=("teddy", teddy)).score(edges, teddy, sbm)
    alone = Selection().score(edges, teddy, sbm)
    for sparsity in (0.1, 0.5, 0.9):
        assert torch.equal(Selection().keep(edges, blend, sparsity), Selection().keep(edges, alone, sparsity))


def test_a_blend_does_not_look_at_scales(sbm):
    def scaled(data, model=None):
        return build("scorers", "random")(data).double().mul(50).exp()

    keeps = [
        keep_arcs(sbm, build("scorers", "teddy"), 0.5, selection=Selection(blend=(b,))) for b in ("random", scaled)
    ]
    assert torch.equal(*keeps)


def test_a_blend_and_its_inverse_share_no_edge_without_ties(sbm):
    def other(data, model=None):
        return build("scorers", {"name": "random", "seed": 9})(data)

    blend = {"blend": (other,), "weights": (math.pi, 1)}
    half = 1 - (sbm.num_edges // 4) / (sbm.num_edges // 2)
    keeps = [
        keep_arcs(sbm, build("scorers", "random"), half, selection=Selection(inverse=i, **blend)) for i in (False, True)
    ]
    assert not bool((keeps[0] & keeps[1]).any())


# --- where it is used


@pytest.mark.parametrize("options", [{}, {"inverse": True}, {"by": "node"}, {"blend": ("degree",)}])
def test_arcs_go_in_pairs_whatever_their_order(options, sbm):
    edge_index = random_undirected(np.random.default_rng(0), 60, 300, loops=5)
    data, selection = Data(edge_index=edge_index, num_nodes=60), Selection(**options)
    keep = keep_arcs(data, build("scorers", "teddy"), 0.37, selection=selection)
    loops = edge_index[0] == edge_index[1]
    assert bool(keep[loops].all())
    pairs = {tuple(arc) for arc in edge_index[:, keep].t().tolist()}
    assert {(v, u) for u, v in pairs} == pairs
    assert int(keep.sum()) == int(loops.sum()) + 2 * keep_count(int((~loops).sum()) // 2, 0.37)
    other, order = shuffled(edge_index, 1)
    again = keep_arcs(Data(edge_index=other, num_nodes=60), build("scorers", "teddy"), 0.37, selection=selection)
    assert torch.equal(again, keep[order])


def test_sparsify_takes_a_selection(sbm):
    for options in ({"inverse": True}, {"by": "node"}, {"blend": ["random"]}):
        sub = Sparsify(0.4, "teddy", selection=options)(sbm)
        keep = keep_arcs(sbm, build("scorers", "teddy"), 0.4, selection=Selection(**options))
        assert torch.equal(sub.edge_index, sbm.edge_index[:, keep])
    sub = Sparsify(None, "teddy", selection={"per_node": 2})(sbm)
    degree = torch.bincount(sub.edge_index[0], minlength=60)
    before = torch.bincount(sbm.edge_index[0], minlength=60)
    assert bool((degree >= before.clamp(max=2)).all()) and sub.num_edges < sbm.num_edges
    assert torch.equal(Sparsify(0.4, selection=glt.Selection())(sbm).edge_index, Sparsify(0.4)(sbm).edge_index)


def test_a_strategy_scores_once_and_selects_at_every_level(sbm):
    problem = glt.Problem(sbm, build("backbones", {"name": "gcn", "hidden": 4}))
    selection = Selection(by="node", blend=("degree",))
    scores = selection.score(problem.edges, build("scorers", "teddy"), problem.data)
    arcs = keep_arcs(sbm, build("scorers", "teddy"), 0.4, selection=selection)
    assert torch.equal(problem.edges.to_arcs(selection.keep(problem.edges, scores, 0.4)), arcs)


def test_a_model_reaches_the_scorers_that_want_one(sbm):
    model = build("backbones", {"name": "gcn", "hidden": 4})(8, 3)
    edges = PrunableEdges.of(sbm.edge_index, 60)
    selection = Selection(blend=("gradient",))
    assert selection.score(edges, build("scorers", "teddy"), sbm, model).shape == (edges.num_edges,)
    with pytest.raises(GltError, match="'gradient' needs a trained model"):
        selection.score(edges, build("scorers", "teddy"), sbm)


def test_its_spec_builds_it_again():
    for options in ({}, {"inverse": True, "by": "node"}, {"blend": ("degree", {"name": "random", "seed": 2})}):
        made = Selection(**options)
        assert Selection(**spec_of(made)) == made
        assert spec_of(made) == options
        assert made.plain == (not options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"invers": True}, "did you mean 'inverse'"),
        ({"by": "edge"}, "'edge'"),
        ({"per_node": 0}, "per_node"),
        ({"per_node": 3, "by": "node"}, "leave one out"),
        ({"blend": ("tedy",)}, "did you mean 'teddy'"),
        ({"blend": "degree"}, "blend"),
        ({"blend": ("degree",), "weights": (1,)}, "2 in all"),
        ({"weights": (1, 2)}, "1 in all"),
        ({"blend": ("degree",), "weights": (1, 0)}, "weights"),
        ({"blend": ("degree",), "weights": (1, math.nan)}, "weights"),
    ],
)
def test_bad_options_are_refused_when_built(options, said):
    with pytest.raises(GltError, match=said) as error:
        Sparsify(None if "per_node" in options else 0.5, selection=options)
    assert "\n" not in str(error.value)


def test_what_stays_is_said_once(sbm):
    teddy = build("scorers", "teddy")
    for sparsity, options in ((0.5, {"per_node": 3}), (None, {})):
        with pytest.raises(GltError, match=r"how much stays|both say"):
            keep_arcs(sbm, teddy, sparsity, selection=Selection(**options))
        with pytest.raises(GltError):
            Sparsify(sparsity, selection=options)


def test_nan_has_no_place_in_an_order(sbm):
    edges = PrunableEdges.of(sbm.edge_index, 60)

    def nan(data, model=None):
        return data.edge_index[0] * math.nan

    for options in ({"inverse": True}, {"by": "node"}, {"per_node": 2}, {"blend": (nan,)}):
        with pytest.raises(GltError, match="NaN"):
            keep_arcs(sbm, nan, None if "per_node" in options else 0.5, selection=Selection(**options))
        if "blend" not in options:
            with pytest.raises(GltError, match="NaN"):
                scores = torch.full((edges.num_edges,), math.nan)
                Selection(**options).keep(edges, scores, None if "per_node" in options else 0.5)
