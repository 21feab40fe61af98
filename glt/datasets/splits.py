"""Drawn splits, and the one form in which every dataset is handed out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.errors import GltError
from glt.tasks import outputs

Masks = tuple[Tensor, Tensor, Tensor]


def per_class(y: Tensor, train: int, val: int, seed: int, shrink: bool = False) -> Masks:
    """Draw ``train`` and ``val`` nodes of every class; all other nodes are for testing.

    Args:
        y: int64 ``[N]``, the classes.
        train: training nodes per class.
        val: validation nodes per class.
        seed: of a generator of its own: the global one is neither read nor advanced.
        shrink: take at most a third of a class for each of the two, instead of refusing a small class.

    Returns:
        Bool ``[N]`` masks for training, validation and test: disjoint, covering all nodes.

    Raises:
        GltError: a class is too small to have at least one node left for testing.
    """
    order = torch.randperm(y.numel(), generator=torch.Generator().manual_seed(seed))
    order = order[torch.argsort(y[order], stable=True)]  # class by class, shuffled inside each
    sizes = torch.bincount(y)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(order.numel()) - (sizes.cumsum(0) - sizes)[y[order]]
    trains, vals = torch.full_like(sizes, train), torch.full_like(sizes, val)
    if shrink:
        trains, vals = trains.minimum(sizes // 3), vals.minimum(sizes // 3)
    smallest = int(sizes.min())
    if bool((trains + vals >= sizes).any()) or smallest < 3:
        raise GltError(
            f"the smallest of {sizes.numel()} classes has {smallest} nodes: too few for {train} training, "
            f"{val} validation and at least 1 test node each"
        )
    train_mask = rank < trains[y]
    val_mask = ~train_mask & (rank < (trains + vals)[y])
    return train_mask, val_mask, ~(train_mask | val_mask)


def finished(
    x: Tensor,
    edge_index: Tensor,
    y: Tensor,
    masks: Sequence[Tensor],
    dataset: str,
    metric: str,
    split: str,
    num_classes: int | None = None,
) -> Data:
    """A Data in the form that :func:`glt.datasets.load` promises; dtypes are brought into line.

    ``num_classes`` is read off the labels by default: the largest plus one, or the number of tasks. Masks may hold
    several splits, bool ``[N, splits]``: see :func:`of_seed`.
    """
    x, y = x.to(torch.float32), y.to(torch.int64 if y.dim() == 1 else torch.float32)
    data = Data(x=x, edge_index=edge_index, y=y)
    data.train_mask, data.val_mask, data.test_mask = (mask.to(torch.bool) for mask in masks)
    data.dataset, data.metric, data.split = dataset, metric, split
    data.num_classes = num_classes or outputs(data)
    return data


def of_seed(data: Data, seed: int) -> Data:
    """The graph with the split of a seed: of masks that hold several (bool ``[N, splits]``) column ``seed % splits``.

    So seeds 0 to 9 are the ten published splits of a heterophilous graph, one each, and ``data.split`` says which. A
    graph with one split (bool ``[N]``) is returned as it is.
    """
    masks = {name: data.get(name) for name in ("train_mask", "val_mask", "test_mask")}
    several = {name: m for name, m in masks.items() if isinstance(m, Tensor) and m.dim() == 2 and m.size(1)}
    if not several:
        return data
    data = copy.copy(data)
    for name, mask in several.items():
        data[name] = mask[:, seed % mask.size(1)].clone()
    splits = max(mask.size(1) for mask in several.values())
    data.split = f"split-{seed % splits}"
    return data
