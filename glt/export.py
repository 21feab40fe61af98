"""Compact models as files: safetensors that plain torch can read, ``torch.export``, ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from glt.compact import saved
from glt.compact.model import Compact
from glt.compact.programs import arguments, needs_onnx, write_onnx, write_pt2
from glt.compact.saved import load
from glt.errors import GltError

__all__ = ["arguments", "check_suffix", "export", "load"]

_WRITERS: dict[str, Callable[[Compact, Path, bool], None]] = {
    ".safetensors": saved.write,
    ".pt2": write_pt2,
    ".onnx": write_onnx,
}


def export(compact: Compact, path: str | Path, graph: bool = True) -> Path:
    """Write a compact model, atomically, in the format that the suffix says.

    ``.safetensors``: tensors, and the steps as JSON in the header; :func:`load` reads it, and so does one function of
    plain torch (docs/compact.md). How the ticket sparsifies another graph is there too. ``.pt2``: a ``torch.export``
    program of ``(x, operators, place, given)``, what :func:`arguments` gives, with the graph's own as
    ``example_inputs``, for one or more nodes and any number of arcs. ``.onnx``: the same, where the operators exist,
    without the graph, whose nodes are never renumbered. In these two, weights that are stored as 2:4 are dense, and a
    softmax by channel (GENConv) takes memory for arcs x channels.

    A model that is ``bound`` to its graph stays so: other graphs are refused from a ``.safetensors`` file, and graphs
    of other sizes by the programs.

    Only safetensors never unpickles: ``torch.export.load`` does, so load a ``.pt2`` only from people you trust.

    Args:
        compact: made ready for a graph.
        path: where to.
        graph: whether a ``.safetensors`` file also holds the features and operators of the graph that it is ready for.

    Raises:
        GltError: another suffix, a layer that cannot be written, or a missing package.
    """
    path = Path(path)
    check_suffix(path)
    _WRITERS[path.suffix](compact, path, graph)
    return path


def check_suffix(path: Path) -> None:
    """Stop where nothing can be written by that name.

    Raises:
        GltError: another suffix, or a missing package.
    """
    if path.suffix not in _WRITERS:
        raise GltError(f"{path} has the suffix {path.suffix!r}; known: {', '.join(_WRITERS)}")
    if path.suffix == ".onnx":
        needs_onnx()
