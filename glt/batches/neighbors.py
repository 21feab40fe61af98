"""Sampled neighbourhoods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data

from glt.batches.base import Batch, Epochs, drawing, skeleton
from glt.batches.extra import needed
from glt.registry import register


@register("batches", "neighbors")
class Neighbors:
    """Nodes with sampled neighbours (Hamilton et al., "GraphSAGE", NeurIPS 2017), PyG's ``NeighborLoader``.

    Needs pyg-lib or torch-sparse. Batches start from the nodes that the loss looks at: the training nodes, or every
    node where there is a loss besides cross-entropy, such as distillation. Edges that were pruned are not sampled, and
    a layer that normalises does so over the sampled arcs.
    """

    fanout: Annotated[
        tuple[int, ...], Field(min_length=1, description="neighbours per hop, one number a layer; -1: all of them")
    ] = (15, 10)
    size: Annotated[int, Field(ge=1, description="nodes that a batch starts from")] = 1024

    def __call__(self, data: Data, seed: int, nodes: Tensor) -> Epochs:
        """The samples of every epoch. Samplers draw from torch's global generator, which is left as it was."""
        needed("neighbors")
        from torch_geometric.loader import NeighborLoader

        generator = torch.Generator()
        loader = NeighborLoader(
            skeleton(data),
            list(self.fanout),
            input_nodes=nodes,
            batch_size=self.size,
            shuffle=True,
            generator=generator,
        )

        def epoch(number: int) -> Iterator[Batch]:
            state = drawing(seed, number).get_state()
            generator.set_state(state)
            parts = iter(loader)
            while True:
                with torch.random.fork_rng([]):
                    torch.set_rng_state(state)
                    part = next(parts, None)
                    state = torch.get_rng_state()
                if part is None:
                    return
                yield Batch.cut(data, part, part.batch_size)

        return epoch
