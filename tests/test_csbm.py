"""The generated graph: what its options promise holds exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data

from glt.datasets import load
from glt.errors import GltError


def csbm(**options: object) -> Data:
    return load({"name": "csbm", **options})


def same(a: Data, b: Data) -> bool:
    return all(torch.equal(_dense(a[key]), _dense(b[key])) for key in ("x", "edge_index", "y", "train_mask"))


def _dense(value: Tensor) -> Tensor:
    return value.to_dense() if value.layout == torch.sparse_csr else value


@settings(max_examples=40, deadline=None)
@given(
    nodes=st.integers(60, 400),
    classes=st.integers(2, 7),
    avg_degree=st.floats(0.5, 6),
    homophily=st.floats(0, 1),
    exponent=st.floats(2.05, 5),
    seed=st.integers(0, 2**32),
)
def test_every_graph_is_simple_undirected_and_exact(
    nodes: int, classes: int, avg_degree: float, homophily: float, exponent: float, seed: int
) -> None:
    data = csbm(nodes=nodes, classes=classes, avg_degree=avg_degree, homophily=homophily, exponent=exponent, seed=seed)
    row, col = data.edge_index
    key = row * nodes + col
    assert bool((key.diff() > 0).all()), "sorted by row and column, no duplicates"
    assert not bool((row == col).any()), "no loops"
    assert torch.equal((col * nodes + row).sort().values, key), "both arcs of every edge"
    edges = round(nodes * avg_degree / 2)
    assert key.numel() == 2 * edges
    assert int((data.y[row] == data.y[col]).sum()) == 2 * round(homophily * edges)
    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask])
    assert bool((masks.sum(0) == 1).all())
    for c in range(classes):
        assert bool((masks & (data.y == c)).any(1).all()), "every part of the split has every class"
    assert data.validate()


def test_plain_attributes_and_dtypes() -> None:
    data = csbm(nodes=3000, seed=4)
    assert (data.dataset, data.metric, data.split, data.num_classes) == ("csbm", "accuracy", "seeded-4", 7)
    assert (data.num_nodes, data.num_features, data.num_edges) == (3000, 500, 24_000)
    assert data.y.dtype == data.edge_index.dtype == torch.int64
    sizes = torch.bincount(data.y)
    assert int(sizes.max() - sizes.min()) <= 1
    assert torch.bincount(data.y[data.train_mask]).tolist() == [20] * 7
    assert torch.bincount(data.y[data.val_mask]).tolist() == [30] * 7


def test_features_are_sparse_and_rows_sum_to_one() -> None:
    data = csbm(nodes=500, features=40, words=20)
    assert data.x.layout == torch.sparse_csr and data.x.dtype == torch.float32
    torch._validate_sparse_csr_tensor_args(data.x.crow_indices(), data.x.col_indices(), data.x.values(), data.x.shape)
    dense = data.x.to_dense()
    torch.testing.assert_close(dense.sum(1), torch.ones(500))
    assert torch.equal((dense * 20).round(), dense * 20), "whole numbers of words"
    assert int(data.x.values().numel()) < 500 * 20, "words drawn twice add up in one place"


@pytest.mark.parametrize("words", [1, 2, 50])
def test_a_vocabulary_of_one_word_a_class_with_full_signal_is_the_class(words: int) -> None:
    data = csbm(nodes=70, features=7, words=words, signal=1.0)
    assert torch.equal(data.x.to_dense(), torch.nn.functional.one_hot(data.y, 7).float())


def test_without_signal_the_words_say_nothing() -> None:
    data = csbm(nodes=7000, features=7, signal=0.0)
    means = torch.stack([data.x.to_dense()[data.y == c].mean(0) for c in range(7)])
    assert float((means - 1 / 7).abs().max()) < 0.02


def test_degrees_have_a_heavy_tail_that_the_exponent_controls() -> None:
    def top_share(exponent: float) -> float:
        degree = torch.bincount(csbm(nodes=20_000, exponent=exponent).edge_index[0], minlength=20_000)
        return float(degree.sort(descending=True).values[:200].sum() / degree.sum())  # of the top 1 %

    heavy, light = top_share(2.2), top_share(6.0)
    assert heavy > 0.15
    assert light < 0.06


def test_the_seed_decides_and_the_global_generators_do_not() -> None:
    first = csbm(nodes=300, seed=1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert same(first, csbm(nodes=300, seed=1))
    assert torch.equal(state, torch.get_rng_state())
    assert not same(first, csbm(nodes=300, seed=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodes": 20}, "nodes >= 21"),
        ({"features": 3}, "features = 3"),
        ({"nodes": 60, "avg_degree": 50}, "lower avg_degree or raise nodes"),
        ({"nodes": 60, "homophily": 1.0, "classes": 20}, "lower avg_degree or raise nodes"),
        ({"exponent": 2}, "exponent"),
        ({"homophily": 1.5}, "homophily"),
        ({"degree": 3}, "unknown option 'degree'"),
    ],
)
def test_impossible_sizes_are_said_in_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(GltError) as caught:
        csbm(**options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("nodes", [21, 60])
def test_tiny_graphs_have_every_class_in_every_part(nodes: int) -> None:
    data = csbm(nodes=nodes, avg_degree=2)
    for mask in (data.train_mask, data.val_mask, data.test_mask):
        assert data.y[mask].unique().numel() == 7


def test_the_root_is_not_used(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert same(csbm(nodes=60), load({"name": "csbm", "nodes": 60}, tmp_path_factory.mktemp("empty")))


def test_dense_features_are_gaussian_around_the_mean_of_a_class() -> None:
    spec = {"name": "csbm", "nodes": 4000, "classes": 4, "features": 3, "dense": True, "signal": 1.0}
    data = load(spec)
    assert data.x.layout == torch.strided and data.x.shape == (4000, 3) and data.x.dtype == torch.float32
    means = torch.stack([data.x[data.y == label].mean(0) for label in range(4)])
    assert torch.cdist(means, means).fill_diagonal_(9).min() > 0.3
    torch.testing.assert_close((data.x - means[data.y]).std(0), torch.ones(3), rtol=0.05, atol=0)
    assert torch.equal(load(spec).x, data.x)
    words = load({**spec, "features": 4, "dense": False})
    assert torch.equal(words.edge_index, data.edge_index) and torch.equal(words.y, data.y)
    silent = load({**spec, "signal": 0.0})
    means = torch.stack([silent.x[silent.y == label].mean(0) for label in range(4)])
    assert float(means.abs().max()) < 0.15
