"""A sparse matrix beside its transpose, whole and in blocks."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glt import sparse
from glt.sparse import SparseMatrix, features_of, linear


def matrix(rows, columns, seed, density=0.3):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return dense * (torch.rand(rows, columns, generator=generator) < density)


@given(st.integers(0, 12), st.integers(1, 6), st.integers(0, 5), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_blocks_give_the_gradient_of_the_whole(rows, columns, block, seed):
    """Also with rows that do not fill the last block, empty rows, and none at all."""
    dense = matrix(rows, columns, seed)
    weight = matrix(3, columns, seed + 1, density=1.0).requires_grad_()
    upstream = matrix(rows, 3, seed + 2, density=1.0)
    want = torch.autograd.grad(dense @ weight.t(), weight, upstream)[0]
    out = linear(SparseMatrix.of(dense, block), weight)
    torch.testing.assert_close(out, (dense @ weight.t()).detach(), check_layout=False)
    torch.testing.assert_close(torch.autograd.grad(out, weight, upstream)[0], want)


def test_features_of_many_nodes_are_in_blocks(monkeypatch):
    monkeypatch.setattr(sparse, "BLOCK", 4)
    assert len(features_of(matrix(7, 5, 0, density=0.1)).transposed) == 1
    blocks = features_of(matrix(9, 5, 0, density=0.1)).transposed
    assert [tuple(block.shape) for block in blocks] == [(5, 4), (5, 4), (5, 1)]
    assert len(SparseMatrix.of_arcs(torch.tensor([[0, 8], [8, 0]]), torch.ones(2), 9).transposed) == 1


def test_the_transpose_is_made_with_the_first_gradient():
    made = SparseMatrix.of(matrix(6, 4, 0))
    product = made @ torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    assert "transposed" not in vars(made)
    product.sum().backward()
    assert "transposed" in vars(made)


def test_torch_has_nothing_to_warn_of():
    """What it would say once in the middle of a user's output, said always."""
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as said:
            made = SparseMatrix.of(matrix(6, 4, 0), 2)
            assert len(made.transposed) == 3
    finally:
        torch.set_warn_always(False)
    assert not [str(warning.message) for warning in said if "invariant" in str(warning.message)]


@pytest.mark.parametrize("layout", ["dense", "csr", "coo"])
def test_features_of_any_layout(layout):
    dense = matrix(6, 4, 0, density=0.1)
    x = {"dense": dense, "csr": dense.to_sparse_csr(), "coo": dense.to_sparse_coo()}[layout]
    assert torch.equal(features_of(x).csr.to_dense(), dense)
