"""Evaluation layer by layer: the numbers of the whole graph at once, in less memory."""

import weakref

import pytest
import torch
from reference.backbones import CHOICES, small
from torch.utils._python_dispatch import TorchDispatchMode

from glt.batches.base import Batch, skeleton
from glt.edges import PrunableEdges
from glt.forward import Forward
from glt.masks import SoftMasked
from glt.problem import Problem
from glt.registry import build, names
from glt.rows import rows_at, rows_in
from glt.train import Recipe, fit

SHAPES = [  # features, hidden, layers, residual
    (8, 16, 2, False),
    (24, 8, 3, True),
    (16, 16, 3, True),
    (8, 8, 1, False),
]


def graph(features, nodes=50):
    """Some nodes without an arc, the first and last among them; some loops; features sparse by the layout."""
    generator = torch.Generator().manual_seed(1)
    data = build("datasets", {"name": "csbm", "nodes": nodes, "classes": 3, "features": features, "avg_degree": 3})()
    lonely = torch.tensor([0, 17, nodes - 1])
    gone = torch.isin(data.edge_index, lonely).any(0)
    loops = torch.randint(1, nodes - 1, (4,), generator=generator).unique().expand(2, -1)
    data.edge_index = torch.cat([data.edge_index[:, ~gone], loops], dim=1)
    return data


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", names("backbones"))
def test_a_chunk_at_a_time_gives_what_the_whole_graph_gives(name, shape, sparse):
    features, hidden, layers, residual = shape
    data = graph(features)
    if not sparse:
        data.x = torch.randn(50, features)
    spec = {"hidden": hidden, "layers": layers, "residual": residual, "heads": 2}
    model = small(name, **spec)(features, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases too
    want = Forward(model, data).evaluate()
    for chunk in (1, 7, 50, 1000):
        got = Forward(model, data, chunk=chunk).evaluate()
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", CHOICES)
def test_soft_masks_are_evaluated_by_chunks_too(kind):
    data = graph(16)
    edges = PrunableEdges.of(data.edge_index, 50)
    keep = torch.arange(edges.num_edges) % 5 > 0
    soft = SoftMasked(small(**{"layers": 3, **CHOICES[kind]})(16, 3), data, edges, keep, {})
    with torch.no_grad():
        soft.edges.uniform_(0, 2)[::3] = 0
    want = Forward(soft, data).evaluate()
    torch.testing.assert_close(Forward(soft, data, chunk=7).evaluate(), want, rtol=1e-4, atol=1e-5)


def test_training_does_not_know_how_it_is_evaluated():
    data = graph(16)
    model = build("backbones", {"name": "gcn", "hidden": 8})
    recipe = {"epochs": 4, "lr": 0.05}
    one, two = (
        fit(Problem(data, model).model(), data, Recipe(**recipe, eval_chunk=chunk), loss=lambda z: z.square().mean())
        for chunk in (0, 7)
    )
    torch.testing.assert_close(one.logits, two.logits, rtol=1e-4, atol=1e-5)


def test_a_model_that_cannot_is_evaluated_at_once(sbm):
    model = torch.nn.Sequential()
    model.forward = lambda x, edge_index: x
    assert torch.equal(Forward(model, sbm, chunk=7).evaluate(), sbm.x)


def test_a_backbone_without_rows_of_its_own_gives_them_all_the_same(monkeypatch):
    data = graph(16)
    model = build("backbones", {"name": "sage", "hidden": 8})(16, 3)
    want = Forward(model, data).evaluate()
    base = type(model).__mro__[1]
    monkeypatch.setattr(type(model), "by_rows", base.by_rows)
    torch.testing.assert_close(Forward(model, data, chunk=7).evaluate(), want)


PARTS = {"crow_indices.default", "col_indices.default", "values.default"}  # of a matrix that was there


def storages(tree):
    leaves = torch.utils._pytree.tree_leaves(tree)
    return [x.untyped_storage() for x in leaves if isinstance(x, torch.Tensor) and x.layout == torch.strided]


class Peak(TorchDispatchMode):
    """Most bytes that were alive at once of those made within, by storage; views of what was there do not count."""

    def __init__(self):
        super().__init__()
        self.alive, self.most = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in storages(args)}
        for storage in storages(out):
            key = storage._cdata
            if key not in given and key not in self.alive and func.__name__ not in PARTS:
                self.alive[key] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, key, None)
        self.most = max(self.most, sum(self.alive.values()))
        return out


@pytest.mark.parametrize("name", ["gcn", "gin", "sage"])
def test_memory_is_the_states_of_two_layers_and_a_chunk(name):
    nodes, width = 2000, 64
    data = build("datasets", {"name": "csbm", "nodes": nodes, "classes": 3, "features": 30, "avg_degree": 3})()
    data.x = torch.rand(nodes, width)
    model = build("backbones", {"name": name, "hidden": width, "layers": 3})(width, 3)
    forwards = [Forward(model, data, chunk=chunk) for chunk in (0, 100)]
    peaks = []
    for forward in forwards:
        with Peak() as peak:
            forward.evaluate()
        peaks.append(peak.most / (4 * nodes * width))
    assert 2 < peaks[1] < 2.3 < 3 <= peaks[0]


@pytest.mark.parametrize("options", [{}, {"beta": True}, {"root": False}])
def test_attention_by_chunks_keeps_nothing_per_arc_of_the_graph(options):
    nodes, width = 500, 16
    data = build("datasets", {"name": "csbm", "nodes": nodes, "classes": 3, "features": 30, "avg_degree": 60})()
    data.x = torch.rand(nodes, width)
    model = build("backbones", {"name": "transformer", "hidden": width, "layers": 3, "heads": 2, **options})(width, 3)
    logits, peaks = [], []
    for chunk in (0, 20):
        forward = Forward(model, data, chunk=chunk)
        with Peak() as peak:
            logits.append(forward.evaluate())
        peaks.append(peak.most / (4 * data.num_edges))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)
    assert peaks[1] < 2.5 < 8 < peaks[0], peaks


def test_rows_of_a_sparse_matrix():
    dense = torch.randn(9, 5) * (torch.rand(9, 5) < 0.4)
    index = torch.tensor([8, 0, 3, 3])
    for matrix in (dense, dense.to_sparse_csr(), dense.to_sparse_coo()):
        assert torch.equal(rows_at(matrix, index).to_dense(), dense[index])
        assert rows_at(matrix, index).layout == matrix.layout
        assert rows_at(matrix, index[:0]).shape == (0, 5)
    for rows in (slice(0, 9), slice(2, 5), slice(8, 9)):
        assert torch.equal(rows_in(dense.to_sparse_csr(), rows).to_dense(), dense[rows])


def test_a_batch_may_be_empty_of_arcs():
    data = graph(16)
    part = skeleton(data).subgraph(torch.tensor([0, 17]))
    batch = Batch.cut(data, part)
    assert batch.num_edges == 0
    assert Forward(build("backbones", {"name": "gcn", "hidden": 8})(16, 3), batch)().shape == (2, 3)
