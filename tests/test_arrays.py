import numpy as np
import pytest
import torch

from glt.arrays import at_ends, pick, transposed


@pytest.fixture(autouse=True, params=[2, 1 << 16], ids=lambda size: f"pieces of {size}")
def piece(request, monkeypatch):
    monkeypatch.setattr("glt.pieces.PIECE", request.param)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1300, 7), (7, 1300), (512, 1024), (4, 4), (0, 3), (3, 0)])
def test_a_transposition_is_a_contiguous_copy(shape):
    x = torch.arange(shape[0] * shape[1], dtype=torch.float32).view(shape)
    out = transposed(x)
    assert torch.equal(out, x.t())
    assert out.is_contiguous()
    assert out.data_ptr() != x.data_ptr() or not x.numel()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("shape", "dim"), [((7,), 0), ((7, 3), 0), ((2, 7), 1), ((2, 3, 7, 2), 2)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_picking_is_indexing_by_the_mask(shape, dim, dtype, share):
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.integers(100, size=shape)).to(dtype)
    mask = torch.from_numpy(rng.random(7) < share)
    for given in (values, values.transpose(0, -1).contiguous().transpose(0, -1)):
        out = pick(given, mask, dim)
        assert out.dtype == dtype
        assert torch.equal(out, values.index_select(dim, mask.nonzero().squeeze(1)))


def test_picking_nothing_from_nothing_and_gradients():
    assert pick(torch.zeros(2, 0), torch.zeros(0, dtype=torch.bool), 1).shape == (2, 0)
    values = torch.ones(3, requires_grad=True)
    pick(values, torch.tensor([True, False, True])).sum().backward()
    assert values.grad.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("arcs", [0, 1, 9])
def test_both_ends_of_every_arc_are_combined(arcs):
    rng = np.random.default_rng(1)
    values, edge_index = torch.from_numpy(rng.random(5)), torch.from_numpy(rng.integers(5, size=(2, arcs)))
    u, v = values[edge_index]
    assert torch.equal(at_ends(values, edge_index, "multiply"), u * v)
    assert torch.equal(at_ends(values, edge_index, "add"), u + v)
