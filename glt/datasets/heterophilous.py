"""Minesweeper and Tolokers of Platonov et al. 2023, through PyG's ``HeterophilousGraphDataset``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch_geometric import datasets as pyg
from torch_geometric.data import Data

from glt.datasets.pyg import PygSource, check_npz
from glt.datasets.splits import finished
from glt.registry import register

_KEYS = ["node_features", "node_labels", "edges", "train_masks", "val_masks", "test_masks"]
_check = functools.partial(check_npz, keys=_KEYS)

Split = Annotated[
    Annotated[int, Field(ge=0, le=9)] | Literal["by_seed"],
    Field(description="which of the ten published splits; by_seed: seed s takes split s modulo 10"),
]


class _Heterophilous:
    name: ClassVar[str]
    split: int | str

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`. By seed its masks are bool ``[N, 10]``, one column a split."""
        cls, raw_names = pyg.HeterophilousGraphDataset, [f"{self.name}.npz"]
        data = PygSource(cls, "heterophilous", self.name, raw_names, _check).load(root)
        masks = [data.train_mask, data.val_mask, data.test_mask]
        split = "by-seed"
        if isinstance(self.split, int):
            masks, split = [mask[:, self.split].clone() for mask in masks], f"split-{self.split}"
        return finished(data.x, data.edge_index, data.y, masks, self.name, "roc_auc", split)


@register("datasets", "minesweeper")
class Minesweeper(_Heterophilous):
    """Minesweeper: 10,000 cells of a grid, 78,804 arcs, 7 features, mine or not; 10 splits; ROC-AUC.

    Platonov et al. 2023 (https://arxiv.org/abs/2302.11640): half of the nodes for training, a quarter each
    for validation and test.
    """

    split: Split = "by_seed"


@register("datasets", "tolokers")
class Tolokers(_Heterophilous):
    """Tolokers: 11,758 workers, 1,038,000 arcs, 10 features, banned or not; 10 splits; ROC-AUC.

    Arcs join workers who did the same task. Platonov et al. 2023 (https://arxiv.org/abs/2302.11640): half of
    the nodes for training, a quarter each for validation and test.
    """

    split: Split = "by_seed"
