"""Minesweeper and Tolokers of Platonov et al. 2023, through PyG's ``HeterophilousGraphDataset``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from torch_geometric import datasets as pyg
from torch_geometric.data import Data

from glt.datasets.pyg import PygSource, check_npz
from glt.datasets.splits import finished
from glt.registry import register

_KEYS = ["node_features", "node_labels", "edges", "train_masks", "val_masks", "test_masks"]
_check = functools.partial(check_npz, keys=_KEYS)

Split = Annotated[int, Field(ge=0, le=9, description="which of the ten published splits")]


class _Heterophilous:
    name: ClassVar[str]
    split: int

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        cls, raw_names = pyg.HeterophilousGraphDataset, [f"{self.name}.npz"]
        data = PygSource(cls, "heterophilous", self.name, raw_names, _check).load(root)
        masks = [mask[:, self.split].clone() for mask in (data.train_mask, data.val_mask, data.test_mask)]
        return finished(data.x, data.edge_index, data.y, masks, self.name, "roc_auc", f"split-{self.split}")


@register("datasets", "minesweeper")
class Minesweeper(_Heterophilous):
    """Minesweeper: 10,000 cells of a grid, 78,804 arcs, 7 features, mine or not; 10 splits; ROC-AUC.

    Platonov et al. 2023 (https://arxiv.org/abs/2302.11640): half of the nodes for training, a quarter each
    for validation and test.
    """

    split: Split = 0


@register("datasets", "tolokers")
class Tolokers(_Heterophilous):
    """Tolokers: 11,758 workers, 1,038,000 arcs, 10 features, banned or not; 10 splits; ROC-AUC.

    Arcs join workers who did the same task. Platonov et al. 2023 (https://arxiv.org/abs/2302.11640): half of
    the nodes for training, a quarter each for validation and test.
    """

    split: Split = 0
