"""Effective resistance, by random projections."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.hashing import hash_pairs, mix
from glt.pieces import pieces
from glt.registry import register
from glt.simple import SimpleGraph

Floats = NDArray[np.float64]
COLUMNS = 8
"""Systems that are solved side by side: one pass over the graph serves all of them."""


@register("scorers", "effective_resistance")
class EffectiveResistance:
    r"""Effective resistance, approximately (Spielman and Srivastava, SIAM J. Comput. 40, 2011).

    R_e is the resistance between the ends of e with a 1-ohm resistor on every edge; it is also the probability that e
    is in a random spanning tree. Bridges have 1, edges among many others little. With B the edges x nodes incidence
    matrix, :math:`R_e = \|B L^+ (e_u - e_v)\|^2`, and every row of random signs q gives an unbiased estimate of it:
    :math:`(y_u - y_v)^2` with :math:`L y = B^T q`. Their mean over the projections has a relative error of about
    :math:`\sqrt{2 / projections}`, and none for bridges. It is clamped to what Rayleigh's law allows:
    :math:`R_e \geq 1 / (1 + ab / (a + b))` with a and b the other edges of the two ends, and :math:`R_e \leq 1`.

    Directions, edge weights, repeated arcs and self-loops do not count; components are independent.
    """

    symmetric: ClassVar[bool] = True
    projections: Annotated[int, Field(ge=1, description="random projections; the error falls with their root")] = 64
    tolerance: Annotated[float, Field(gt=0, lt=1, description="relative residual of every solve")] = 1e-4
    iterations: Annotated[int, Field(ge=1, description="most iterations of a solve")] = 500
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of the projections")] = 0

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float32 [arcs] in (0, 1]; the model is not used.

        Cost: O(projections * iterations * arcs) time, where most graphs need a few tens of iterations (conjugate
        gradients; long paths and grids need more), and O(arcs + nodes) memory. On the CPU.
        """
        from scipy.sparse import csr_array

        graph = SimpleGraph.of(data)
        low, high, nodes = graph.low, graph.high, graph.num_nodes
        adjacency = csr_array((np.ones(2 * low.size), graph.both_ways()), shape=(nodes, nodes))
        degree = graph.degree().astype(float)
        incidence = csr_array(
            (np.repeat([1.0, -1.0], low.size), (np.tile(np.arange(low.size), 2), np.concatenate([low, high]))),
            shape=(low.size, nodes),
        )
        key, total = hash_pairs(low, high, self.seed), np.zeros(low.size)
        for start in range(0, self.projections, COLUMNS):
            signs = _signs(key, start, min(COLUMNS, self.projections - start))
            potential = _solve(adjacency, degree, incidence.T @ signs, self.tolerance, self.iterations)
            for piece in pieces(low.size):
                total[piece] += ((potential[low[piece]] - potential[high[piece]]) ** 2).sum(1)
        a, b = degree[low] - 1, degree[high] - 1
        least = 1 / (1 + a * b / np.maximum(a + b, 1))
        return graph.to_arcs((total / self.projections).clip(least, 1), data)


def _signs(key: NDArray[np.uint64], start: int, count: int) -> Floats:
    """Projections ``start`` to ``start + count`` as -1 or 1, float64 [edges, count]: 64 from every hash of an edge."""
    columns = []
    for i in range(start, start + count):
        word = mix(key + np.uint64(i // 64 + 1))
        columns.append(((word >> np.uint64(i % 64)) & np.uint64(1)).astype(float) * 2 - 1)
    return np.stack(columns, axis=1)


def _solve(adjacency: Any, degree: Floats, right: Floats, tolerance: float, iterations: int) -> Floats:
    """L y = right for every column, float64 [nodes, columns], by conjugate gradients scaled by the degrees.

    L is singular, but ``right`` adds up to zero over every component, and y is used by differences within components.
    """
    scale = 1 / np.maximum(degree, 1)[:, None]
    y, residual = np.zeros_like(right), right.copy()
    direction = scale * residual
    size = (residual * direction).sum(0)
    enough = size * tolerance**2
    for _ in range(iterations):
        going = size > enough
        if not going.any():
            break
        image = degree[:, None] * direction - adjacency @ direction
        curvature = (direction * image).sum(0)
        step = np.where(going & (curvature > 0), size / np.where(curvature > 0, curvature, 1), 0)
        y += step * direction
        residual -= step * image
        scaled = scale * residual
        before, size = size, np.where(going, (residual * scaled).sum(0), size)
        direction = scaled + np.where(going, size / np.where(before > 0, before, 1), 0) * direction
    return y
