"""Amazon and Coauthor graphs of Shchur et al. 2018, through PyG's ``Amazon`` and ``Coauthor``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from torch_geometric import datasets as pyg
from torch_geometric.data import Data

from glt.datasets.pyg import PygSource, check_npz
from glt.datasets.splits import finished, per_class
from glt.registry import register

TRAIN_PER_CLASS, VAL_PER_CLASS = 20, 30  # of the paper, https://arxiv.org/abs/1811.05868, section 4

_KEYS = [f"{part}_{field}" for part in ("adj", "attr") for field in ("data", "indices", "indptr", "shape")]
_check = functools.partial(check_npz, keys=[*_KEYS, "labels"])

SplitSeed = Annotated[int, Field(ge=0, lt=2**63, description="seed of the split")]


class _Shchur:
    name: ClassVar[str]
    source: ClassVar[PygSource]
    split_seed: int

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        data, split = self.source.load(root), f"seeded-{self.split_seed}"
        masks = per_class(data.y, TRAIN_PER_CLASS, VAL_PER_CLASS, self.split_seed)
        return finished(data.x, data.edge_index, data.y, masks, self.name, "accuracy", split)


@register("datasets", "photo")
class Photo(_Shchur):
    """Amazon Photo: 7,650 products, 238,162 arcs, 745 words, 8 classes; seeded split; accuracy.

    Arcs join products that are often bought together. Shchur et al. 2018 (https://arxiv.org/abs/1811.05868):
    20 training and 30 validation nodes per class, the rest for testing.
    """

    source: ClassVar = PygSource(pyg.Amazon, "amazon", "Photo", ["amazon_electronics_photo.npz"], _check)
    split_seed: SplitSeed = 0


@register("datasets", "computers")
class Computers(_Shchur):
    """Amazon Computers: 13,752 products, 491,722 arcs, 767 words, 10 classes; seeded split; accuracy.

    Arcs join products that are often bought together. Shchur et al. 2018 (https://arxiv.org/abs/1811.05868):
    20 training and 30 validation nodes per class, the rest for testing.
    """

    source: ClassVar = PygSource(pyg.Amazon, "amazon", "Computers", ["amazon_electronics_computers.npz"], _check)
    split_seed: SplitSeed = 0


@register("datasets", "cs")
class CS(_Shchur):
    """Coauthor CS: 18,333 authors, 163,788 arcs, 6,805 keywords, 15 classes; seeded split; accuracy.

    Arcs join authors of the same paper. Shchur et al. 2018 (https://arxiv.org/abs/1811.05868): 20 training
    and 30 validation nodes per class, the rest for testing.
    """

    source: ClassVar = PygSource(pyg.Coauthor, "coauthor", "CS", ["ms_academic_cs.npz"], _check)
    split_seed: SplitSeed = 0
