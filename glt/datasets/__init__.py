"""Registered datasets, one file a family of sources; :func:`load` gives the graph of a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_geometric.data import Data


def load(spec: Any, root: Path | str | None = None, seed: int = 0) -> Data:
    """The graph of a dataset.

    Args:
        spec: a registered name, a mapping ``{"name": ..., **options}``, or a dataset piece.
        root: folder that holds ``<family>/<Name>/raw/``; default: ``$GLT_DATA``, then a download.
        seed: whose split it has, where there is one for every seed (:func:`glt.datasets.splits.of_seed`).

    Returns:
        Data with ``x`` (float32 ``[N, F]``), ``edge_index`` (int64 ``[2, arcs]``), ``y`` (int64 ``[N]``, or float32
        ``[N, tasks]`` of yes-or-no labels), where there are any ``edge_attr`` (``[arcs, D]``), the bool masks
        ``train_mask``, ``val_mask`` and ``test_mask`` (``[N]``), and the plain attributes ``dataset`` (the registered
        name), ``num_classes``, ``metric`` (of :data:`glt.evaluate.METRICS`) and ``split``; ``undirected`` = False for
        arcs without their reverse.

    Raises:
        GltError: an unknown name or option, or raw files that are not what they should be.
        DataUnavailable: no local copy and no download.
    """
    from glt.datasets.splits import of_seed
    from glt.registry import build  # here, as the registry imports this package

    return of_seed(build("datasets", spec)(None if root is None else Path(root)), seed)
