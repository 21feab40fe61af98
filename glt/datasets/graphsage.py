"""Reddit of Hamilton et al. 2017, through PyG's ``Reddit``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch_geometric import datasets as pyg
from torch_geometric.data import Data

from glt.datasets.pyg import PygSource, check_npz
from glt.datasets.splits import finished
from glt.registry import register

KEYS = {
    "reddit_data.npz": ["feature", "label", "node_types"],
    "reddit_graph.npz": ["row", "col", "data", "shape", "format"],
}


def check(path: Path) -> None:
    """Raise GltError unless the file is an npz of plain arrays."""
    check_npz(path, KEYS[path.name])


@register("datasets", "reddit")
class Reddit:
    """Reddit: 232,965 posts, 114,615,892 arcs, 602 features, 41 communities; split by day; accuracy.

    Arcs join posts that the same user commented on. Hamilton et al. 2017, "GraphSAGE"
    (https://arxiv.org/abs/1706.02216). 0.6 GB of features, 1.8 GB of arcs.
    """

    name: ClassVar[str]
    source: ClassVar = PygSource(pyg.Reddit, "graphsage", "Reddit", list(KEYS), check, named=False)

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        data = self.source.load(root)
        masks = (data.train_mask, data.val_mask, data.test_mask)
        return finished(data.x, data.edge_index, data.y, masks, self.name, "accuracy", "public")
