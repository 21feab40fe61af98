"""Cora, CiteSeer and PubMed with the public split, through PyG's ``Planetoid``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from torch_geometric import datasets as pyg
from torch_geometric.data import Data
from torch_geometric.transforms import NormalizeFeatures

from glt.datasets.pyg import PygSource
from glt.datasets.splits import finished
from glt.errors import GltError
from glt.registry import register

# sha256 of the files of https://github.com/kimiyoung/planetoid. They are pickles, and a pickle can run any
# code: PyG opens only the published ones.
_PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
_SHA256 = {
    "cora": """
    23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab
    b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a
    9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543
    94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1
    41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad
    2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71
    58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d
    297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875
""",
    "citeseer": """
    d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6
    539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21
    2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668
    8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924
    55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce
    f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95
    d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7
    2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4
""",
    "pubmed": """
    fbe9cb5c47200d1b7769a26e579be3b7130b556831f9d850e77c4c74f2599b33
    4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d
    508e538e2abdccdd54c4d3e9f49d638b4af7107d85845f66ddea5a5152658b7e
    e6c807633307a07ed659249006536a147c7999c797f11a2560752990181b41b3
    ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd
    0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e
    5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9
    b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5
""",
}
DIGESTS = {
    f"ind.{name}.{part}": digest
    for name, digests in _SHA256.items()
    for part, digest in zip(_PARTS, digests.split(), strict=True)
}

Normalize = Annotated[bool, Field(description="divide each node's features by their sum")]


def check_pickle(path: Path) -> None:
    """Raise GltError unless ``path`` is, byte for byte, the published file of that name."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != DIGESTS[path.name]:
        raise GltError(
            f"{path.name} is not the published file (its sha256 is {digest}); "
            "it may be a harmful pickle and was not opened; take it from https://github.com/kimiyoung/planetoid"
        )


class _Planetoid:
    name: ClassVar[str]
    title: ClassVar[str]
    normalize: bool

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        raw_names = [f"ind.{self.title.lower()}.{part}" for part in _PARTS]
        data = PygSource(pyg.Planetoid, "planetoid", self.title, raw_names, check_pickle).load(root)
        if self.normalize:
            data = NormalizeFeatures()(data)
        masks = (data.train_mask, data.val_mask, data.test_mask)
        return finished(data.x, data.edge_index, data.y, masks, self.name, "accuracy", "public")


@register("datasets", "cora")
class Cora(_Planetoid):
    """Cora: 2,708 papers, 10,556 citation arcs, 1,433 words, 7 classes; public split; accuracy.

    Sen et al. 2008; split of Yang et al. 2016 (https://arxiv.org/abs/1603.08861): 140 training, 500
    validation and 1,000 test nodes.
    """

    title: ClassVar[str] = "Cora"
    normalize: Normalize = True


@register("datasets", "citeseer")
class CiteSeer(_Planetoid):
    """CiteSeer: 3,327 papers, 9,104 citation arcs, 3,703 words, 6 classes; public split; accuracy.

    Sen et al. 2008; split of Yang et al. 2016 (https://arxiv.org/abs/1603.08861): 120 training, 500
    validation and 1,000 test nodes.
    """

    title: ClassVar[str] = "CiteSeer"
    normalize: Normalize = True


@register("datasets", "pubmed")
class PubMed(_Planetoid):
    """PubMed: 19,717 papers, 88,648 citation arcs, 500 TF-IDF words, 3 classes; public split; accuracy.

    Sen et al. 2008; split of Yang et al. 2016 (https://arxiv.org/abs/1603.08861): 60 training, 500
    validation and 1,000 test nodes.
    """

    title: ClassVar[str] = "PubMed"
    normalize: Normalize = True
