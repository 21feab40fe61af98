"""How alike the features of two ends are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.errors import GltError
from glt.registry import register
from glt.simple import SimpleGraph

VALUES = 1 << 20
"""Feature values that are gathered at once."""


@register("scorers", "feature_cosine")
class FeatureCosine:
    """Cosine of the features of the two ends, as in GNNGuard (Zhang and Zitnik, NeurIPS 2020); 0 without features.

    Features are dense or sparse; they are not modified.
    """

    symmetric: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs] in [-1, 1]; the model is not used.

        Args:
            data: a graph with ``x`` [nodes, features], of any numeric dtype and layout.
            model: not used.

        Raises:
            GltError: ``data.x`` is missing or holds NaN or infinity.

        Cost: O(nodes * features + edges * features) time, non-zeros instead of features where ``x`` is sparse; beside
        the features, a few megabytes and O(arcs) of memory. On the CPU.
        """
        x = data.get("x")
        if x is None or x.dim() != 2:
            raise GltError("scorer 'feature_cosine' needs node features: data.x of shape [nodes, features]")
        graph = SimpleGraph.of(data)
        score = _dense(x.detach().cpu().numpy(), graph) if x.layout == torch.strided else _sparse(x.detach(), graph)
        if not np.isfinite(score).all():
            raise GltError("scorer 'feature_cosine': data.x holds NaN or infinity")
        return graph.to_arcs(score.clip(-1, 1), data)


def _dense(x: NDArray, graph: SimpleGraph) -> NDArray[np.float64]:
    step = max(VALUES // max(x.shape[1], 1), 1)

    def products(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
        starts = range(0, one.size, step)
        parts = [(x[one[i : i + step]].astype(float) * x[other[i : i + step]]).sum(1) for i in starts]
        return np.concatenate([np.zeros(0), *parts])

    nodes = np.arange(graph.num_nodes)
    return _cosine(products(graph.low, graph.high), products(nodes, nodes), graph)


def _sparse(x: Tensor, graph: SimpleGraph) -> NDArray[np.float64]:
    from scipy.sparse import csr_array

    coo = x.cpu().to_sparse_coo().coalesce()
    rows = csr_array((coo.values().double().numpy(), coo.indices().numpy()), shape=tuple(coo.shape))
    step = max(VALUES * max(rows.shape[0], 1) // max(rows.nnz, 1), 1)
    starts = range(0, graph.num_edges, step)
    parts = [rows[graph.low[i : i + step]].multiply(rows[graph.high[i : i + step]]).sum(axis=1) for i in starts]
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    return _cosine(np.concatenate([np.zeros(0), *(np.asarray(part).ravel() for part in parts)]), squares, graph)


def _cosine(products: NDArray[np.float64], squares: NDArray[np.float64], graph: SimpleGraph) -> NDArray[np.float64]:
    norm = np.sqrt(squares)
    norm[norm == 0] = 1  # the product is 0 as well
    return products / (norm[graph.low] * norm[graph.high])
