"""What PyG's samplers need that PyG does not bring."""

from __future__ import annotations

import torch
from torch_geometric import typing as has

from glt.errors import GltError

WHEELS = "https://data.pyg.org/whl/torch-{}+{}.html"


def needed(batches: str, metis: bool = False) -> None:
    """Raise GltError, saying what to install, unless PyG can sample, or with ``metis`` partition, here.

    Whether torch-sparse was built with METIS is known to nobody before it is asked: see :func:`lacking`.
    """
    if not (has.WITH_TORCH_SPARSE or (has.WITH_METIS if metis else has.WITH_PYG_LIB)):
        raise lacking(batches)


def lacking(batches: str) -> GltError:
    """The error that says what to install for ``batches``."""
    version, cuda = torch.__version__.split("+")[0], torch.version.cuda
    wheels = WHEELS.format(version, f"cu{cuda.replace('.', '')}" if cuda else "cpu")
    return GltError(
        f"batches {batches!r}: PyG needs pyg-lib for it, which is not on PyPI: pip install pyg-lib -f {wheels}; or use "
        "parts, which needs nothing else"
    )
