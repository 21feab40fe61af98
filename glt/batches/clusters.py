"""Clusters of a partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data

from glt.batches.base import Batch, Epochs, drawing, skeleton
from glt.batches.extra import lacking, needed
from glt.errors import GltError
from glt.registry import register


@register("batches", "clusters")
class Clusters:
    """Clusters by METIS, a few at random to a batch (Chiang et al., "Cluster-GCN", KDD 2019), PyG's ``ClusterLoader``.

    Needs pyg-lib (or torch-sparse built with METIS). The partition is made once per training, of the edges that are
    left; arcs between the clusters of one batch are in it.
    """

    num_parts: Annotated[int, Field(ge=2, description="clusters of the partition")] = 100
    per_batch: Annotated[int, Field(ge=1, description="clusters of a batch")] = 10

    def __call__(self, data: Data, seed: int, nodes: Tensor) -> Epochs:
        """The batches of every epoch."""
        needed("clusters", metis=True)
        if self.num_parts > int(data.num_nodes or 0):
            raise GltError(f"batches 'clusters': num_parts = {self.num_parts} for {data.num_nodes} nodes: take fewer")
        from torch_geometric.loader import ClusterData, ClusterLoader

        generator = torch.Generator()
        try:
            # PyG's loader numbers the nodes of a batch on the CPU, and refuses arcs that are elsewhere
            clusters = ClusterData(skeleton(data).cpu(), self.num_parts, log=False)
        except ImportError:  # torch-sparse is there, but was built without METIS
            raise lacking("clusters") from None
        loader = ClusterLoader(clusters, batch_size=self.per_batch, shuffle=True, generator=generator)

        def epoch(number: int) -> Iterator[Batch]:
            generator.set_state(drawing(seed, number).get_state())
            for part in loader:
                yield Batch.cut(data, part.to(data.edge_index.device))

        return epoch
