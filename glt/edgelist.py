"""Edge lists in files: .npz, .csv and .parquet."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from glt.errors import GltError
from glt.files import atomic

SUFFIXES = (".npz", ".csv", ".parquet")
TAKEN = {
    ".npz": ("edge_index", "num_nodes", "file", "allow_pickle"),  # the last two are numpy's own
    ".csv": ("source", "target"),
    ".parquet": ("source", "target"),
}


@dataclass
class EdgeList:
    """Arcs with whatever else is known of each.

    Attributes:
        arcs: int64 [2, arcs].
        num_nodes: number of nodes.
        columns: further arrays whose first dimension is arcs, by name.
    """

    arcs: np.ndarray
    num_nodes: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Data) -> EdgeList:
        """The arcs of a graph, with their ``edge_weight`` and ``edge_attr`` where there are any."""
        known = {name: data[name].numpy() for name in ("edge_weight", "edge_attr") if data.get(name) is not None}
        return cls(data.edge_index.numpy(), int(data.num_nodes or 0), known)

    def data(self) -> Data:
        """The arcs as a PyG graph."""
        return Data(edge_index=torch.from_numpy(np.ascontiguousarray(self.arcs)), num_nodes=self.num_nodes)

    def where(self, keep: np.ndarray) -> EdgeList:
        """The arcs where ``keep`` (bool [arcs]) is True."""
        return EdgeList(self.arcs[:, keep], self.num_nodes, {k: v[keep] for k, v in self.columns.items()})


def check_suffix(path: Path) -> None:
    """Raise GltError unless ``path`` ends in one of :data:`SUFFIXES`."""
    if path.suffix not in SUFFIXES:
        raise GltError(f"{path}: edge lists end in {', '.join(SUFFIXES)}, not {path.suffix or 'nothing'!r}")


def read(path: Path, num_nodes: int | None = None) -> EdgeList:
    """Read an edge list.

    ``.npz``: ``edge_index`` [2, arcs], optionally ``num_nodes`` and arrays with one row per arc. ``.csv`` and
    ``.parquet``: columns ``source`` and ``target``, further columns are carried along.

    Args:
        path: the file.
        num_nodes: number of nodes (default: the file's, else the largest id plus one).

    Raises:
        GltError: not readable, or not an edge list.
    """
    check_suffix(path)
    try:
        return _read_npz(path, num_nodes) if path.suffix == ".npz" else _read_table(path, num_nodes)
    except FileNotFoundError:
        raise GltError(f"there is no edge list {path}") from None
    except ImportError:
        raise GltError("reading .parquet needs pyarrow: pip install 'graph-lottery-tickets[parquet]'") from None
    except GltError:
        raise
    except Exception as error:  # zipfile, zlib, numpy, pandas and pyarrow have one of their own each
        raise GltError(f"{path} is not a readable edge list: {' '.join(str(error).split())}") from None


def _read_npz(path: Path, num_nodes: int | None) -> EdgeList:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise GltError(f"{path} is a single array, not an .npz with an array 'edge_index'")
    with file:
        arrays = {name: file[name] for name in file.files}
    if "edge_index" not in arrays:
        raise GltError(f"{path} has no array 'edge_index'; it holds: {', '.join(arrays) or 'nothing'}")
    arcs = _integers(path, arrays.pop("edge_index"))
    if arcs.ndim != 2 or arcs.shape[0] != 2:
        raise GltError(f"{path}: edge_index must be [2, arcs], got {list(arcs.shape)}")
    stated = arrays.pop("num_nodes", None)
    if stated is not None and (stated.ndim or not np.issubdtype(stated.dtype, np.integer) or stated < 0):
        raise GltError(f"{path}: num_nodes must be one number of nodes, got {stated}")
    if num_nodes is None and stated is not None:
        num_nodes = int(stated)
    columns = {k: v for k, v in arrays.items() if v.ndim and v.shape[0] == arcs.shape[1]}
    return EdgeList(arcs, _nodes(arcs, num_nodes), columns)


def _read_table(path: Path, num_nodes: int | None) -> EdgeList:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows with more values than names: columns would shift
        table = pd.read_csv(path, index_col=False) if path.suffix == ".csv" else pd.read_parquet(path)
    if missing := {"source", "target"} - set(table.columns):
        raise GltError(f"{path} has no column {sorted(missing)[0]!r}; it has: {', '.join(map(str, table.columns))}")
    arcs = np.stack([_integers(path, table[name].to_numpy()) for name in ("source", "target")])
    columns = {str(k): table[k].to_numpy() for k in table.columns if k not in ("source", "target")}
    return EdgeList(arcs, _nodes(arcs, num_nodes), columns)


def _integers(path: Path, values: np.ndarray) -> np.ndarray:
    if not np.issubdtype(values.dtype, np.integer):
        raise GltError(f"{path}: node ids must be integers, got {values.dtype}")
    if values.size and values.max() > np.iinfo(np.int64).max:
        raise GltError(f"{path}: node {values.max()} is out of range")
    return values.astype(np.int64)


def _nodes(arcs: np.ndarray, stated: int | None) -> int:
    return stated if stated is not None else int(arcs.max(initial=-1)) + 1


def write(path: Path, edges: EdgeList) -> None:
    """Write an edge list atomically, in the layout :func:`read` reads."""
    check_suffix(path)
    columns = {name: _writable(path, name, column) for name, column in edges.columns.items()}
    with atomic(path) as temporary:
        if path.suffix == ".npz":
            extra: dict[str, Any] = {"edge_index": edges.arcs, "num_nodes": np.int64(edges.num_nodes), **columns}
            np.savez_compressed(temporary, **extra)
            return
        import pandas as pd

        table = pd.DataFrame({"source": edges.arcs[0], "target": edges.arcs[1]})
        for name, column in columns.items():
            table[name] = list(column) if column.ndim > 1 else column
        try:
            table.to_csv(temporary, index=False) if path.suffix == ".csv" else table.to_parquet(temporary, index=False)
        except ImportError:
            raise GltError("writing .parquet needs pyarrow: pip install 'graph-lottery-tickets[parquet]'") from None


def _writable(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """The column as this format can hold it; GltError where it cannot."""
    if name in TAKEN[path.suffix]:
        raise GltError(f"cannot write {path}: {path.suffix} has no place for a column named {name!r}; rename it")
    if path.suffix == ".csv" and column.ndim > 1:
        raise GltError(
            f"cannot write {path}: {name!r} has {list(column.shape[1:])} values per arc; use .npz or .parquet"
        )
    if path.suffix == ".npz" and column.dtype == object:  # numpy would pickle it
        if not all(isinstance(value, str) for value in column):
            raise GltError(f"cannot write {path}: column {name!r} is neither numbers nor text; use .csv or .parquet")
        return column.astype(str)
    return column
