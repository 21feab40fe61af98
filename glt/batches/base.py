"""What a way to batch is, and what every batch carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.rows import rows_at

Epochs = Callable[[int], Iterable[Data]]
"""The batches of an epoch, by its number from 1; the same ones whenever it is asked."""


class Batches(Protocol):
    """How a graph is cut into the batches of an epoch; every batch is one step of the optimiser."""

    def __call__(self, data: Data, seed: int, nodes: Tensor) -> Epochs:
        """The batches of every epoch, deterministic in (the graph, the seed, the epoch).

        Args:
            data: the graph, edges that were pruned already removed.
            seed: of everything that is drawn.
            nodes: int64 [n], ascending; those that the loss looks at.

        Returns:
            a function of the epoch; what it gives is ``data`` itself, or any number of :class:`Batch`.

        Raises:
            GltError: it is not possible on this graph, or what it needs is not installed.
        """
        ...


class Batch(Data):
    """A part of a graph, every node's and arc's attributes with it.

    Attributes:
        n_id: int64 [nodes]; its nodes in the whole graph.
        e_id: int64 [arcs]; its arcs in the whole graph.
        targets: the loss looks at the first so many nodes; the others are there for their messages.
        whole: the graph that it was cut from.
    """

    whole: Data

    @classmethod
    def cut(cls, data: Data, part: Data, targets: int | None = None) -> Batch:
        """The batch of ``data`` that ``part`` is of :func:`skeleton`; all its nodes are targets by default."""
        batch = cls(edge_index=part.edge_index)
        for key, value in attributes(data, part):
            batch[key] = value
        batch.n_id, batch.e_id, batch.num_nodes = part.n_id, part.edge_id, part.n_id.numel()
        batch.targets = batch.num_nodes if targets is None else targets
        object.__setattr__(batch, "whole", data)  # not an attribute of the graph
        return batch


def attributes(data: Data, part: Data) -> Iterator[tuple[str, Any]]:
    """Everything that ``data`` holds beside its arcs, of the nodes and arcs of ``part`` of :func:`skeleton`."""
    for key in data.keys():  # noqa: SIM118 - not a mapping
        value = data[key]
        if key == "edge_index":
            continue
        if isinstance(value, Tensor) and data.is_edge_attr(key):
            value = value.index_select(int(data.__cat_dim__(key, value)) % value.dim(), part.edge_id)
        elif isinstance(value, Tensor) and data.is_node_attr(key):
            value = rows_at(value, part.n_id)
        yield key, value


def skeleton(data: Data) -> Data:
    """The arcs of ``data`` alone, and on every node and arc its number: ``n_id`` [nodes], ``edge_id`` [arcs].

    Loaders cut this, and :meth:`Batch.cut` the rest: they know neither sparse features nor, in a graph with as many
    arcs as nodes, which of the two an attribute belongs to, unless "edge" is in its name.
    """
    nodes, device = int(data.num_nodes or 0), data.edge_index.device
    return Data(
        edge_index=data.edge_index,
        num_nodes=nodes,
        n_id=torch.arange(nodes, device=device),
        edge_id=torch.arange(data.edge_index.size(1), device=device),
    )


def drawing(seed: int, epoch: int) -> torch.Generator:
    """The random numbers of an epoch."""
    generator = torch.Generator()
    state = np.random.SeedSequence((seed % 2**64, epoch)).generate_state(1, np.uint64)
    return generator.manual_seed(int(state[0] >> np.uint64(1)))
