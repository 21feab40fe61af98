"""Node sets of the Open Graph Benchmark (Hu et al. 2020), through ogb's own dataset.

Left alone, ogb prompts on standard input, ends the interpreter when a download fails, and cannot read what it wrote
with torch >= 2.6. None of that reaches a caller of this file.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
import torch_geometric
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import sort_edge_index, to_undirected

from glt.datasets.files import cache_dir, link, locate, once, source_id
from glt.datasets.ogb_package import module, trusted
from glt.datasets.pyg import line, patience, quiet, unavailable
from glt.datasets.splits import finished
from glt.edges import check_edge_index
from glt.errors import DataUnavailable, GltError
from glt.registry import register

METRIC = {"acc": "accuracy", "rocauc": "roc_auc"}
CSV = ("edge.csv.gz", "num-node-list.csv.gz", "num-edge-list.csv.gz", "node-label.csv.gz")

Undirected = Annotated[bool, Field(description="join both directions of every arc, as is usual")]


@dataclass(frozen=True)
class OgbSource:
    """A dataset that ogb makes of raw files at ``<root>/ogb/ogbn_<name>/``, in ogb's own layout.

    Attributes:
        name: ogb's, as ``ogbn-arxiv``.
        split: name of the official split, a folder of csv.gz files in ``split``.
        raw_names: files in ``raw``.
        either: of these one is in ``raw`` too: releases differ.
    """

    name: str
    split: str
    raw_names: tuple[str, ...]
    either: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The dataset's folder, as ogb names it."""
        return self.name.replace("-", "_")

    @property
    def files(self) -> list[str]:
        """What is needed, seen from ``raw``."""
        return [*self.raw_names, *(f"../split/{self.split}/{part}.csv.gz" for part in ("train", "valid", "test"))]

    def load(self, root: Path | None, undirected: bool = True, download: bool = True) -> Data:
        """The graph in the form that :func:`glt.datasets.load` promises, mapped from the cache the second time.

        Args:
            root: where ``ogb/<folder>`` is; default: ``$GLT_DATA``, else a kept or new download.
            undirected: join both directions.
            download: whether a download may be started.

        Raises:
            DataUnavailable: no copy and no download.
            GltError: files that are incomplete, of another release, or not readable.
        """
        raw = locate("ogb", self.folder, self.files, root)
        if raw is None:
            downloads = cache_dir() / "downloads"
            if not download and not (downloads / "ogb" / self.folder).exists():
                raise self._missing("it is too large to download unasked (set the option download: true)")
            raw = once(downloads / "ogb" / self.folder, self._download) / "raw"
            locate("ogb", self.folder, self.files, downloads)  # raises if a file was removed
        made_of = source_id([raw / file for file in self.files], torch_geometric.__version__, version("ogb"))
        path = cache_dir() / made_of / "ogb" / f"{self.folder}{'' if undirected else '-directed'}.pt"
        once(path, lambda scratch: self._process(raw, scratch, undirected))
        try:
            # tensors alone; what is not touched stays on the disk
            return Data.from_dict(torch.load(path, weights_only=True, mmap=True))
        except Exception as error:
            raise GltError(f"{self}: the cached {path} is damaged ({line(error)}); remove it") from error

    def __str__(self) -> str:
        return f"dataset {self.name}"

    def _missing(self, why: str) -> DataUnavailable:
        where = Path("ogb") / self.folder
        held = f"{where.as_posix()}/ with OGB's folders raw and split/{self.split}"
        return unavailable(str(self), where, held, why)

    def _download(self, scratch: Path) -> Path:
        """Fetch and unpack OGB's archive in ``scratch``; the folder that it holds."""
        try:
            about, url = self._about(), module("utils.url")
            with quiet(), patience(60):
                archive = url.download_url(about["url"], str(scratch), log=False)
                url.extract_zip(archive, str(scratch), log=False)
        except Exception as error:
            raise self._missing(f"the download failed ({line(error)})") from None
        Path(archive).unlink()
        made = scratch / about["download_name"]
        if missing := [name for name in self.files if not (made / "raw" / name).is_file()]:
            raise DataUnavailable(f"{self}: the download was discarded: it has no raw/{missing[0]}")
        return made

    def _process(self, raw: Path, scratch: Path, undirected: bool) -> Path:
        """Let ogb's class read the files; a file in ``scratch`` with the finished graph."""
        about = self._about()
        release = f"RELEASE_v{about['version']}.txt"
        others = sorted(file.name for file in raw.parent.glob("RELEASE_v*.txt"))
        if others and release not in others:
            raise GltError(f"{self}: {raw.parent} is of another release ({others[0]}, not {release}); get that one")
        more = [name for name in self.either if (raw / name).is_file()]
        if self.either and not more:
            raise GltError(f"{self}: {raw} has no {self.either[0]}; complete or remove it")
        link(raw, [*self.files, *more], scratch / self.folder / "raw")
        (scratch / self.folder / release).touch()  # without it ogb asks whether to update
        cls = module("nodeproppred").PygNodePropPredDataset
        cls = type(cls.__name__, (cls,), {"download": _never})
        try:
            with quiet(), trusted():
                dataset = cls(self.name, root=str(scratch))
                data, split = dataset[0], dataset.get_idx_split()
            shutil.rmtree(scratch / self.folder / "processed")  # a second copy on the disk
            data = self._finished(data, split, about, undirected)
        except Exception as error:
            raise GltError(f"{self}: cannot use the files in {raw.parent}: {line(error)}") from None
        torch.save(data.to_dict(), scratch / "data.pt")
        return scratch / "data.pt"

    def _finished(self, data: Data, split: dict[str, Tensor], about: dict[str, str], undirected: bool) -> Data:
        """Arcs sorted; masks; labels of one kind of task; features where the set has none."""
        nodes = int(data.num_nodes or 0)
        check_edge_index(data.edge_index, nodes)
        edge_index, edge_attr, y = data.edge_index, data.get("edge_attr"), data.y
        if undirected and about["add_inverse_edge"] != "True":
            edge_index = to_undirected(edge_index, num_nodes=nodes)
        elif edge_attr is None:
            edge_index = sort_edge_index(edge_index, num_nodes=nodes)
        else:
            edge_index, edge_attr = sort_edge_index(edge_index, edge_attr, num_nodes=nodes)
        x = data.get("x")
        if x is None:
            x = incident_mean(edge_index, edge_attr, nodes)
        single = int(about["num tasks"]) == 1
        self._fits(nodes, x, y, split, 1 if single else int(about["num tasks"]), int(about["num classes"]))
        if single:
            y = y.squeeze(1)
            y = torch.where(y.isnan(), -1, y) if y.is_floating_point() else y  # papers outside arXiv have no label
        masks = []
        for part in ("train", "valid", "test"):
            mask = torch.zeros(nodes, dtype=torch.bool)
            mask[split[part]] = True
            masks.append(mask)
        outputs = int(about["num classes"] if single else about["num tasks"])
        made = finished(x, edge_index, y, masks, self.name, METRIC[about["eval metric"]], self.split, outputs)
        if edge_attr is not None:
            made.edge_attr = edge_attr
        if not undirected:
            made.undirected = False
        return made

    def _fits(self, nodes: int, x: Tensor, y: Tensor, split: dict[str, Tensor], tasks: int, classes: int) -> None:
        """Raise GltError unless the files fit together: ogb takes tables that were cut short as they are."""
        if x.size(0) != nodes:
            raise GltError(f"features of {x.size(0)} nodes, but the graph has {nodes}")
        if y.shape != (nodes, tasks):
            raise GltError(f"labels {list(y.shape)}, expected [{nodes}, {tasks}]")
        if (largest := float(y.nan_to_num().max())) >= classes:
            raise GltError(f"a label is {largest:g}, but there are {classes} classes")
        for part, index in split.items():
            if index.dim() != 1 or not index.numel() or int(index.min()) < 0 or int(index.max()) >= nodes:
                raise GltError(f"split {part!r} is not a list of nodes 0 to {nodes - 1}")

    def _about(self) -> dict[str, str]:
        """What ogb knows of the dataset: metric, split, url, ..."""
        import pandas as pd

        package = Path(str(module("nodeproppred").__file__)).parent
        about: dict[str, str] = pd.read_csv(package / "master.csv", index_col=0, keep_default_na=False)[
            self.name
        ].to_dict()
        return about


def incident_mean(edge_index: Tensor, edge_attr: Tensor, nodes: int) -> Tensor:
    """Mean of the attributes of each node's incoming arcs, float32 [nodes, D]; 0 where there are none."""
    target = edge_index[1]
    total = edge_attr.new_zeros(nodes, edge_attr.size(1), dtype=torch.float64)
    for column, values in zip(total.t(), edge_attr.t(), strict=True):  # one at a time: no copy of all in double
        column.copy_(torch.bincount(target, weights=values.double(), minlength=nodes))
    return (total / torch.bincount(target, minlength=nodes).clamp(min=1).unsqueeze(1)).float()


def _never(dataset: Any) -> None:
    raise GltError("ogb finds its raw files incomplete")


@register("datasets", "ogbn-arxiv")
class Arxiv:
    """ogbn-arxiv: 169,343 papers, 2,315,598 arcs, 128 features, 40 subjects; split by time; accuracy.

    Hu et al. 2020 (https://arxiv.org/abs/2005.00687): papers until 2017 for training, of 2018 for validation, since
    2019 for test. The 1,166,243 citations have a direction; both are joined unless told otherwise.
    """

    name: ClassVar[str]
    source: ClassVar = OgbSource("ogbn-arxiv", "time", (*CSV, "node-feat.csv.gz", "node_year.csv.gz"))

    undirected: Undirected = True

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        return self.source.load(root, self.undirected)


@register("datasets", "ogbn-products")
class Products:
    """ogbn-products: 2,449,029 products, 123,718,280 arcs, 100 features, 47 classes; split by sales; accuracy.

    Hu et al. 2020 (https://arxiv.org/abs/2005.00687): the most sold for training and validation. A download of 1.4 GB;
    1 GB of features, 2 GB of arcs.
    """

    name: ClassVar[str]
    source: ClassVar = OgbSource("ogbn-products", "sales_ranking", (*CSV, "node-feat.csv.gz"))

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        return self.source.load(root)


@register("datasets", "ogbn-proteins")
class Proteins:
    """ogbn-proteins: 132,534 proteins, 79,122,504 arcs with 8 features, 112 yes-or-no tasks; by species; ROC-AUC.

    Hu et al. 2020 (https://arxiv.org/abs/2005.00687). Nodes have no features; ``x`` is the mean of their arcs'
    ``edge_attr``, as is usual. The metric is the mean over tasks. 2.5 GB of edge features.
    """

    name: ClassVar[str]
    source: ClassVar = OgbSource(
        "ogbn-proteins", "species", (*CSV, "edge-feat.csv.gz"), ("node_species.csv.gz", "species.csv.gz")
    )

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        return self.source.load(root)


@register("datasets", "ogbn-papers100M")
class Papers100M:
    """ogbn-papers100M: 111,059,956 papers, 1,615,685,872 citations, 128 features, 172 subjects; by time; accuracy.

    Hu et al. 2020 (https://arxiv.org/abs/2005.00687). Labels of the 1.5 million arXiv papers, -1 elsewhere. 57 GB of
    features (float32) and 26 GB of citations; both directions joined are 52 GB, and joining them, once, takes about 200
    GB of memory. Afterwards the graph is mapped from the cache, where it needs 110 GB (directed: 85 GB). It is for
    scoring and for batches; nothing else here is meant for its size.
    """

    name: ClassVar[str]
    source: ClassVar = OgbSource("ogbn-papers100M", "time", ("data.npz", "node-label.npz"))

    undirected: Undirected = True
    download: Annotated[bool, Field(description="download 57 GB where there is no copy")] = False

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; see :func:`glt.datasets.load`."""
        return self.source.load(root, self.undirected, self.download)


OFFICIAL = frozenset(cls.source.name for cls in (Arxiv, Products, Proteins, Papers100M))
"""Names of these sets."""
