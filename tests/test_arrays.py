import pytest
import torch

from glt.arrays import transposed


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1300, 7), (7, 1300), (512, 1024), (4, 4), (0, 3), (3, 0)])
def test_a_transposition_is_a_contiguous_copy(shape):
    x = torch.arange(shape[0] * shape[1], dtype=torch.float32).view(shape)
    out = transposed(x)
    assert torch.equal(out, x.t())
    assert out.is_contiguous()
    assert out.data_ptr() != x.data_ptr() or not x.numel()
