"""Is this data fit to be searched? Every question is asked before anything is trained or written."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.edges import check_edge_index
from glt.errors import GltError
from glt.forward import OPTIONS
from glt.tasks import check_labelled, check_labels, outputs


def check_data(data: Data) -> None:
    """Raise a one-line GltError, naming the fix, unless ``data`` is a node-classification problem.

    Needed: finite float x [nodes, features], int64 edge_index [2, arcs] in range, y of one kind of task
    (:mod:`glt.tasks`), and non-empty bool train_mask, val_mask, test_mask [nodes] whose nodes have labels.
    """
    check_graph(data)
    x = data.x
    x = x.coalesce() if x.layout == torch.sparse_coo else x
    values = x if x.layout == torch.strided else x.values()
    if not bool(torch.isfinite(values).all()):
        where = "" if x.layout != torch.strided else f" (first in row {int((~torch.isfinite(x)).any(1).nonzero()[0])})"
        raise GltError(f"data.x holds NaN or infinite values{where}: clean the features, e.g. x.nan_to_num()")
    if bool((data.edge_index[0] == data.edge_index[1]).all()):
        raise GltError("the graph has no edges besides self-loops: there is nothing to prune")
    for name in OPTIONS:
        value = data.get(name)
        if value is not None and not bool(torch.isfinite(value).all()):
            raise GltError(f"data.{name} holds NaN or infinite values: clean it, e.g. with nan_to_num()")
    y = data.get("y")
    check_labels(y, x.size(0))
    for name in ("train_mask", "val_mask", "test_mask"):
        _check_mask(name, data.get(name), y)


def check_graph(data: Data) -> None:
    """Raise a one-line GltError unless a model can be called on ``data``.

    Needed: float x [nodes, features], int64 edge_index [2, arcs] in range, and one row per arc of edge_weight and
    edge_attr where they are there. O(arcs).
    """
    x = data.get("x")
    if x is None or x.dim() != 2 or not x.is_floating_point():
        got = "" if x is None else f", got {str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
        fix = "give the graph node features, e.g. T.Constant()" if x is None or x.dim() != 2 else "take x.float()"
        raise GltError(f"data.x must be float [nodes, features]{got}: {fix}")
    if x.layout not in (torch.strided, torch.sparse_coo, torch.sparse_csr):
        raise GltError(f"data.x has the layout {x.layout}: make it dense, or CSR with x.to_sparse_csr()")
    nodes = x.size(0)
    if data.num_nodes != nodes:
        raise GltError(f"data.x has {nodes} rows, but data.num_nodes = {data.num_nodes}: one row per node")
    if data.get("edge_index") is None:
        raise GltError("data.edge_index is missing: it must be int64 [2, arcs]")
    check_edge_index(data.edge_index, nodes)
    for name in OPTIONS:
        value = data.get(name)
        if value is not None and value.shape[:1] != data.edge_index.shape[1:]:
            raise GltError(
                f"data.{name} is {list(value.shape)}, but there are {data.edge_index.size(1)} arcs: one row per arc"
            )


def num_classes(data: Data) -> int:
    """Outputs that a model must have; see :func:`glt.tasks.outputs`."""
    return outputs(data)


def _check_mask(name: str, mask: Tensor | None, y: Tensor) -> None:
    if mask is None or mask.dtype != torch.bool or mask.shape != y.shape[:1]:
        have = "missing" if mask is None else f"{str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}"
        raise GltError(
            f"data.{name} must be bool [{y.size(0)}], got {have}: choose one split, e.g. data.{name}[:, 0], "
            "or make one with T.RandomNodeSplit()"
        )
    if not bool(mask.any()):
        raise GltError(f"data.{name} selects no node")
    check_labelled(name, mask, y)
