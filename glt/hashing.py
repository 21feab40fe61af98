"""Random numbers that belong to pairs of nodes: hashes, so that they do not depend on the order of the arcs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import Data

Hash = NDArray[np.uint64]


def hash_arcs(data: Data, seed: int) -> Hash:
    """A hash of (seed, u, v) per arc, uint64 [arcs]; both arcs of an edge of an undirected graph have the same."""
    source, target = data.edge_index.cpu().numpy()
    if not getattr(data, "undirected", True):
        return hash_pairs(source, target, seed)
    return hash_pairs(np.minimum(source, target), np.maximum(source, target), seed)


def hash_pairs(first: NDArray[np.int64], second: NDArray[np.int64], seed: int) -> Hash:
    """A hash of (seed, first, second) per pair, uint64 [pairs] (int64 [pairs] each, seed in [0, 2^63))."""
    start = mix(np.array([seed + 1], dtype=np.uint64))
    return mix(mix(first.astype(np.uint64) + start) ^ second.astype(np.uint64))


def mix(x: Hash) -> Hash:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), a bijection that changes half of the bits."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def uniform(key: Hash) -> NDArray[np.float64]:
    """The upper 52 bits as float64 in (0, 1), neither end included, so that logarithms are finite."""
    return ((key >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52
