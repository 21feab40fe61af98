"""Weights in files: exact, and in the fewest bytes of three forms."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glt.compact.weights import packed, unpacked


def size(tensors):
    narrow = {torch.int64: 4}  # as files hold indices
    return sum(t.numel() * narrow.get(t.dtype, t.element_size()) for t in tensors.values())


@given(
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.01, 0.1, 0.6, 1.0]),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    st.integers(0, 99),
)
def test_what_is_packed_comes_back_and_is_no_larger(rows, columns, density, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator).to(dtype)
    weight[torch.rand(rows, columns, generator=generator) >= density] = 0.0
    tensors = packed(weight)
    assert torch.equal(unpacked(tensors, rows, columns), weight)
    assert size(tensors) <= size({"": weight})


@pytest.mark.parametrize(("kept", "names"), [(1.0, "weight"), (0.5, "bits values"), (0.01, "ptr index values")])
def test_the_smallest_form_is_taken(kept, names):
    weight = torch.ones(10, 100)
    weight.view(-1)[int(1000 * kept) :] = 0.0
    assert " ".join(packed(weight)) == names


def test_bits_by_hand():
    weight = torch.tensor([[0.0, 2, 0, 3, 0], [0, 0, 0, 0, 5]])
    tensors = packed(weight)
    assert tensors["bits"].tolist() == [2 + 8, 2] and tensors["values"].tolist() == [2, 3, 5]


def test_zeros_of_either_sign_are_zeros_and_what_is_no_number_stays():
    weight = torch.tensor([[-0.0, 0.0, float("nan"), float("inf")], [0.0] * 4])
    again = unpacked(packed(weight), 2, 4)
    assert torch.equal(again.nan_to_num(7.0), weight.nan_to_num(7.0))
