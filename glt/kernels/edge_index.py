"""PyG's ``EdgeIndex``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from glt.kernels.base import Kernel, rows_of
from glt.registry import register

_indices: WeakIdKeyDictionary = WeakIdKeyDictionary()


@register("kernels", "edge_index")
class EdgeIndexMatmul(Kernel):
    """PyG's ``EdgeIndex.matmul``, sorted by row: torch-sparse's kernel on CUDA where it is installed, else torch's."""

    def __call__(self, matrix: Tensor, dense: Tensor) -> Tensor:
        from torch_geometric import EdgeIndex

        if matrix not in _indices:
            index = torch.stack([rows_of(matrix), matrix.col_indices()])
            made = EdgeIndex(index, sparse_size=tuple(matrix.shape), sort_order="row")
            made.get_csr()  # keeps the row pointers
            _indices[matrix] = made
        with torch.sparse.check_sparse_tensor_invariants(False):  # PyG leaves it open, and torch warns of that
            return _indices[matrix].matmul(dense.contiguous(), matrix.values())
