"""Flickr, Reddit2 and Yelp of Zeng et al. 2020, through PyG's classes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from torch_geometric import datasets as pyg
from torch_geometric.data import Data

from glt.datasets.pyg import PygSource, check_npz
from glt.datasets.splits import finished
from glt.errors import GltError
from glt.registry import register

RAW = ["adj_full.npz", "feats.npy", "class_map.json", "role.json"]


def check(path: Path) -> None:
    """Raise GltError for a file that is not numbers or JSON; PyG reads these formats without unpickling."""
    if path.name == "adj_full.npz":
        check_npz(path, ["data", "indices", "indptr", "shape"])
    elif path.suffix == ".npy":
        try:
            np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            raise GltError(f"{path.name} is not a plain array: {' '.join(str(error).split())}") from error
    else:
        with path.open("rb") as file:
            if not file.read(64).lstrip().startswith(b"{"):
                raise GltError(f"{path.name} is not a JSON object")


class _GraphSAINT:
    name: ClassVar[str]
    source: ClassVar[PygSource]
    metric: ClassVar[str] = "accuracy"

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        data = self.source.load(root)
        masks = (data.train_mask, data.val_mask, data.test_mask)
        return finished(data.x, data.edge_index, data.y, masks, self.name, self.metric, "public")


@register("datasets", "flickr")
class Flickr(_GraphSAINT):
    """Flickr: 89,250 images, 899,756 arcs, 500 words, 7 classes; public split; accuracy.

    Arcs join images with the same place, gallery, comments or the like. Zeng et al. 2020, "GraphSAINT"
    (https://arxiv.org/abs/1907.04931): half of the nodes for training, a quarter each for validation and test.
    """

    source: ClassVar = PygSource(pyg.Flickr, "graphsaint", "Flickr", RAW, check, named=False)


@register("datasets", "reddit2")
class Reddit2(_GraphSAINT):
    """Reddit2: 232,965 posts, 23,213,838 arcs, 602 features, 41 communities; public split; accuracy.

    The sparser Reddit of Zeng et al. 2020, "GraphSAINT" (https://arxiv.org/abs/1907.04931). 0.6 GB of features.
    """

    source: ClassVar = PygSource(pyg.Reddit2, "graphsaint", "Reddit2", RAW, check, named=False)


@register("datasets", "yelp")
class Yelp(_GraphSAINT):
    """Yelp: 716,847 reviewers, 13,954,819 arcs, 300 features, 100 labels; public split; micro-F1.

    Arcs are friendships, labels the kinds of businesses reviewed, several per node. Zeng et al. 2020, "GraphSAINT"
    (https://arxiv.org/abs/1907.04931). 0.9 GB of features.
    """

    source: ClassVar = PygSource(pyg.Yelp, "graphsaint", "Yelp", RAW, check, named=False)
    metric: ClassVar[str] = "micro_f1"
