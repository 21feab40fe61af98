"""ogb, kept from what it would do to a caller: look for newer releases, print, and not read what it wrote."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from glt.datasets.pyg import quiet


def module(part: str) -> Any:
    """A module of ogb, whose first import would look for a newer release on the network."""
    if "ogb" not in sys.modules:
        before = sys.modules.get("outdated")
        sys.modules["outdated"] = None  # type: ignore[assignment]
        try:
            importlib.import_module("ogb")
        finally:
            del sys.modules["outdated"]
            if before is not None:
                sys.modules["outdated"] = before
    with quiet():
        return importlib.import_module(f"ogb.{part}")


@contextlib.contextmanager
def trusted() -> Iterator[None]:
    """What torch.load may make: ogb reads back what it has just written, tensors and a NumPy number in PyG's Data."""
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    if not hasattr(torch.serialization, "safe_globals"):  # before 2.5 torch.load trusts every file
        yield
        return
    number = np.int64(0)
    numbers: list[Any] = [number.__reduce__()[0], np.dtype, type(number.dtype)]
    with torch.serialization.safe_globals([DataEdgeAttr, DataTensorAttr, GlobalStorage, *numbers]):
        yield
