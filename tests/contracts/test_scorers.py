"""What every registered edge scorer promises."""

import pytest
import torch
from reference.graphs import arcs_of, both_ways, shuffled, small_sbm
from reference.scorers import NEEDS_MODEL
from torch_geometric.data import Data

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.registry import build, names, spec_of
from glt.select import keep_top

KNOW_THE_NAMES_OF_NODES = {
    "random",  # a hash of them
    "dspar",  # likewise
    "effective_resistance",  # likewise, for its projections
    "local_degree",  # ties
    "spanning_forest",  # ties
}


@pytest.fixture(params=names("scorers"))
def scorer(request):
    return build("scorers", request.param)


def with_loops(data):
    """The graph with loops, an isolated node, and arcs out of order."""
    loops = torch.tensor([[0, 7], [0, 7]])
    alone = (data.edge_index != 59).all(0)
    data.edge_index = shuffled(torch.cat([data.edge_index[:, alone], loops], dim=1))[0]
    return data


@pytest.fixture(params=[small_sbm, lambda: with_loops(small_sbm())], ids=["sorted", "loops"])
def data(request):
    return request.param()


def model_for(name):
    """A model that the scorer can do with."""
    spec = {"name": "gat", "hidden": 4, "heads": 2} if name == "attention" else {"name": "gcn", "hidden": 4}
    return build("backbones", spec)(8, 3)


@pytest.fixture
def model(request):
    name = request.node.callspec.params.get("name") or request.node.callspec.params["scorer"]
    return model_for(name)


def test_one_finite_float_per_arc(scorer, data, model):
    scores = scorer(data, model)
    assert scores.shape == (data.num_edges,)
    assert scores.is_floating_point()
    assert bool(torch.isfinite(scores).all())
    assert not scores.requires_grad


def test_the_same_numbers_every_time(scorer, data, model):
    torch.manual_seed(1)
    first = scorer(data, model)
    torch.manual_seed(2)
    assert torch.equal(scorer(data.clone(), model), first)
    assert torch.equal(build("scorers", spec_of(scorer))(data, model), first)


def test_the_global_random_state_is_left_alone(scorer, data, model):
    before = torch.get_rng_state()
    scorer(data, model)
    assert torch.equal(torch.get_rng_state(), before)


def test_both_arcs_of_an_edge_are_equal(scorer, data, model):
    arcs = [tuple(arc) for arc in data.edge_index.t().tolist()]
    scores = dict(zip(arcs, scorer(data, model).tolist(), strict=True))
    same = (lambda x: x) if getattr(scorer, "symmetric", False) else pytest.approx
    assert all(scores[v, u] == same(scores[u, v]) for u, v in arcs)


def test_scores_go_with_their_arcs(scorer, data, model):
    scores = scorer(data, model)
    for seed in range(3):
        other = data.clone()
        other.edge_index, order = shuffled(data.edge_index, seed)
        if getattr(scorer, "symmetric", False):
            assert torch.equal(scorer(other, model), scores[order])
        else:
            torch.testing.assert_close(scorer(other, model), scores[order])


@pytest.mark.parametrize("name", [name for name in names("scorers") if name not in KNOW_THE_NAMES_OF_NODES])
def test_names_of_nodes_do_not_matter(name, data, model):
    scorer = build("scorers", name)
    order = torch.randperm(60)
    other = Data(x=data.x[order], y=data.y[order], edge_index=torch.argsort(order)[data.edge_index])
    for mask in ("train_mask", "val_mask", "test_mask"):
        other[mask] = data[mask][order]
    torch.testing.assert_close(scorer(other, model), scorer(data, model))


def test_loops_change_no_other_score(scorer, data, model):
    proper = data.edge_index[0] != data.edge_index[1]
    other = data.clone()
    other.edge_index = data.edge_index[:, proper]
    torch.testing.assert_close(scorer(other, model), scorer(data, model)[proper])


def test_the_graph_and_the_model_are_left_alone(scorer, data, model):
    before, weights = data.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    scorer(data, model)
    assert data.to_dict().keys() == before.to_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in data.to_dict().items())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert model.training


def test_selecting_leaves_the_scores_alone(scorer, data, model):
    scores = scorer(data, model)
    before = scores.clone()
    edges = PrunableEdges.of(data.edge_index, 60)
    pooled = edges.pool(scores)
    again = pooled.clone()
    edges.to_arcs(keep_top(pooled, edges.count(0.5)))
    assert torch.equal(scores, before)
    assert torch.equal(pooled, again)
    for arc, edge in enumerate(edges.edge_of_arc.tolist()):
        assert edge < 0 or pooled[edge] == pytest.approx(scores[arc])


def test_directed_graphs_have_scores_too(scorer, model):
    data = small_sbm()
    data.edge_index = data.edge_index[:, data.edge_index[0] < data.edge_index[1]]
    data.undirected = False
    scores = scorer(data, model)
    assert scores.shape == (data.num_edges,)
    assert bool(torch.isfinite(scores).all())


def test_a_scorer_without_the_model_that_it_needs_says_so(scorer, data):
    if scorer.name in NEEDS_MODEL:
        with pytest.raises(GltError, match=f"{scorer.name!r} needs a trained model") as error:
            scorer(data)
        assert "\n" not in str(error.value)
    else:
        scores = scorer(data)
        assert torch.equal(scores, scorer(data, model_for(scorer.name))), "the model is not used"


def test_a_graph_of_one_edge_is_scored(scorer, data, model):
    data.edge_index = both_ways((0, 2))
    scores = scorer(data, model)
    assert bool(torch.isfinite(scores).all())
    assert scores[0] == pytest.approx(scores[1])


def test_random_knows_its_seed(data):
    one, two = (build("scorers", {"name": "random", "seed": seed})(data) for seed in (0, 1))
    assert not torch.equal(one, two)
    assert 0 <= float(one.min()) < float(one.max()) < 1
    proper = data.edge_index[0] < data.edge_index[1]
    assert float(torch.corrcoef(torch.stack([one[proper], two[proper]]))[0, 1]) == pytest.approx(0, abs=0.2)


def test_random_treats_both_directions_apart_where_they_are_two_edges():
    data = Data(edge_index=both_ways((0, 1), (1, 2)), num_nodes=3, undirected=False)
    assert len(set(build("scorers", "random")(data).tolist())) == 4


def mix(x):
    """SplitMix64's finaliser, in integers of any size."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_random_is_the_same_hash_in_every_version(seed):
    """Stored results name a seed: other numbers would make them other experiments."""
    pairs = [(0, 1), (0, 59), (7, 31), (58, 59)]
    want = [(mix(mix((u + mix(seed + 1)) % 2**64) ^ v) >> 40) / 2**24 for u, v in pairs]
    scorer = build("scorers", {"name": "random", "seed": seed})
    assert scorer(Data(edge_index=arcs_of(*pairs), num_nodes=60)).tolist() == want


def test_random_is_spread_evenly():
    nodes = 20_000
    path = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    scores = build("scorers", "random")(Data(edge_index=path, num_nodes=nodes))
    counts = torch.histc(scores, bins=10, min=0, max=1)
    assert float(((counts - nodes / 10) ** 2 / (nodes / 10)).sum()) < 27.9  # chi-squared, 9 degrees, p = 0.001


def test_degree_is_the_sum_of_inverses():
    data = Data(edge_index=both_ways((0, 1), (0, 2), (0, 3), (3, 3), (3, 4)), num_nodes=6)
    arcs = [tuple(arc) for arc in data.edge_index.t().tolist()]
    scores = dict(zip(arcs, build("scorers", "degree")(data).tolist(), strict=True))
    assert scores[0, 1] == pytest.approx(1 / 3 + 1)
    assert scores[3, 0] == pytest.approx(1 / 3 + 1 / 2)
    assert scores[4, 3] == pytest.approx(1 + 1 / 2)
