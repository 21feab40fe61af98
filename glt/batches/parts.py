"""Random parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data

from glt.batches.base import Batch, Epochs, drawing, skeleton
from glt.errors import GltError
from glt.registry import register


@register("batches", "parts")
class Parts:
    """Random node parts, drawn anew each epoch; a batch is the graph that one of them induces. Needs no extra.

    Every node is in one part an epoch; an arc is there when both its ends are in one part, which is the case in one of
    ``num_parts`` epochs. As PyG's ``RandomNodeLoader`` (used by Li et al., "DeeperGCN", 2020), but nodes keep their
    order, so that one part is the graph itself, and are never Python numbers.
    """

    num_parts: Annotated[int, Field(ge=1, description="parts of equal size, up to one node")] = 10

    def __call__(self, data: Data, seed: int, nodes: Tensor) -> Epochs:
        """The parts of every epoch. Cost: O(num_parts * arcs) an epoch."""
        whole = skeleton(data)
        if self.num_parts > whole.num_nodes:
            raise GltError(f"batches 'parts': num_parts = {self.num_parts} for {whole.num_nodes} nodes: take fewer")

        def epoch(number: int) -> Iterator[Batch]:
            order = torch.randperm(whole.num_nodes, generator=drawing(seed, number))
            for part in order.to(data.edge_index.device).tensor_split(self.num_parts):
                yield Batch.cut(data, whole.subgraph(part.sort().values))

        return epoch
