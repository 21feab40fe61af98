"""Small graphs for the tests."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch_geometric.data import Data


def small_sbm(nodes=60, classes=3, features=8, seed=0):
    """A stochastic block model, arcs sorted, with masks and features that know the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(nodes) % classes
    near = np.where(y[:, None] == y[None, :], 0.25, 0.04)
    upper = np.triu(rng.random((nodes, nodes)) < near, 1)
    x = rng.normal(size=(nodes, features)) + 0.7 * np.eye(classes, features)[y]
    part = rng.permutation(nodes) / nodes
    masks = {"train_mask": part < 0.25, "val_mask": (part >= 0.25) & (part < 0.55), "test_mask": part >= 0.55}
    return Data(
        x=torch.from_numpy(x).float(),
        edge_index=torch.from_numpy(np.stack((upper | upper.T).nonzero())),
        y=torch.from_numpy(y),
        **{name: torch.from_numpy(mask) for name, mask in masks.items()},
    )


def arcs_of(*pairs):
    """``edge_index`` of the arcs given."""
    return torch.tensor(pairs, dtype=torch.int64).view(-1, 2).t().contiguous()


def both_ways(*pairs):
    """``edge_index`` with both arcs of every pair, loops once, sorted."""
    return arcs_of(*sorted({(u, v) for u, v in pairs} | {(v, u) for u, v in pairs}))


def random_undirected(rng, nodes, edges, loops=0):
    """``edge_index`` of a simple graph with about ``edges`` edges and ``loops`` loops, sorted."""
    pairs = [(int(u), int(v)) for u, v in rng.integers(nodes, size=(edges, 2)) if u != v]
    return both_ways(*pairs, *[(int(u), int(u)) for u in rng.integers(nodes, size=loops)])


def shuffled(edge_index, seed=0):
    """The same arcs in another order, and the order."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(edge_index.size(1)))
    return edge_index[:, order], order


@st.composite
def undirected(draw, max_nodes=8, min_edges=0):
    """(edge_index, nodes): every arc as often as its reverse; loops, repeats and lonely nodes; in any order."""
    nodes = draw(st.integers(2, max_nodes))
    node = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(node, node), max_size=16))
    pairs += [(0, 1)] * (min_edges > 0)
    arcs = draw(st.permutations(pairs + [(v, u) for u, v in pairs if u != v]))
    return arcs_of(*arcs), nodes


@st.composite
def directed(draw, max_nodes=6):
    """(edge_index, nodes): any arcs."""
    nodes = draw(st.integers(1, max_nodes))
    node = st.integers(0, nodes - 1)
    return arcs_of(*draw(st.lists(st.tuples(node, node), max_size=16))), nodes
