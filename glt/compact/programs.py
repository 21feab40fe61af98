"""Compact models as programs of tensors alone: ``torch.export`` and ONNX."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from glt.compact.graphs import Csr, Multiply, Prepared, columns_of, multiply_by_sums, multiply_plainly
from glt.compact.model import Compact
from glt.compact.ops import Linear, Opaque
from glt.errors import GltError
from glt.files import atomic


class Exported(nn.Module):
    """A compact model as a function of tensors alone, for exporters.

    ``forward(x, operators, place, given)``: features [nodes, columns read] or their (ptr, index, values), the same
    triple per graph operator, the row of each node or None, the graph's own tensors for layers that were left alone.
    """

    def __init__(self, compact: Compact, multiply: Multiply) -> None:
        super().__init__()
        self.compact, self.multiply = compact, multiply
        assert compact.ready is not None
        self.read = columns_of(compact.ready.x)

    def forward(self, x: Any, operators: Any, place: Tensor | None, given: dict[str, Tensor]) -> Tensor:
        """Logits, float [nodes, classes]."""
        features = Csr(x[0], x[1], x[2], self.read) if isinstance(x, (tuple, list)) else x
        rows = features.ptr.size(0) - 1 if isinstance(features, Csr) else features.size(0)
        graph = Prepared(rows, [Csr(p, i, v, rows) for p, i, v in operators], given, self.multiply, plain=True)
        logits: Tensor = self.compact.run(features, graph)
        return logits if place is None else logits[place]


def arguments(compact: Compact, renumbered: bool = True) -> tuple[Any, ...]:
    """What an exported program takes for the graph that ``compact`` is ready for: ``arguments(compact.on(data))``.

    Args:
        compact: the model that was exported, or the same on another graph.
        renumbered: whether nodes have places, as in a ``.pt2`` file; in ``.onnx`` they never have.

    Raises:
        GltError: it has no graph.
    """
    ready = compact.ready
    if ready is None:
        raise GltError("this compact model has no graph to be exported with: make it ready with .on(data)")
    ready = ready if renumbered else ready.in_order()
    x: Any = _copied(ready.x) if isinstance(ready.x, Csr) else ready.x.clone()
    alone = any(isinstance(step, Opaque) for step in compact.steps)
    own = {k: v.clone() for k, v in ready.graph.given.items()} if alone else {}
    place = None
    if renumbered:
        place = torch.arange(ready.graph.rows, device=ready.x.device) if ready.place is None else ready.place.clone()
    return x, [_copied(operator) for operator in ready.graph.operators], place, own


def write_pt2(compact: Compact, path: Path, graph: bool = True) -> None:
    """Write a ``torch.export`` program, atomically."""
    program = _program(compact, multiply_plainly, True)
    with atomic(path) as temporary:
        torch.export.save(program, str(temporary))


def write_onnx(compact: Compact, path: Path, graph: bool = True) -> None:
    """Write an ONNX model, atomically, without the graph, whose nodes are never renumbered."""
    program = _program(compact, multiply_by_sums, False)
    with atomic(path) as temporary:
        try:
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
            made.save(str(temporary))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise GltError(f"this model cannot be written as ONNX: {type(error).__name__}: {reason}") from None


def needs_onnx() -> None:
    """Stop where what writes ONNX files is missing."""
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise GltError(f"ONNX files need {' and '.join(missing)}: pip install onnx onnxscript")


def _program(compact: Compact, multiply: Multiply, renumbered: bool) -> torch.export.ExportedProgram:
    taken = arguments(compact, renumbered)
    steps = [step.plain() if isinstance(step, Linear) else step for step in compact.steps]
    made = Compact(steps, compact.output, compact.operators, compact.features)
    made.ready = compact.ready

    def free(tensor: Tensor | None) -> dict[int, Any] | None:  # nodes and arcs come first, except in edge_index
        if tensor is None:
            return None
        return {1 if tensor.dim() == 2 and tensor.dtype == torch.int64 else 0: torch.export.Dim.AUTO}

    shapes = tree_map(free, taken)
    try:
        with torch.no_grad():
            program = torch.export.export(Exported(made, multiply), taken, dynamic_shapes=shapes)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise GltError(f"torch.export cannot follow this model: {type(error).__name__}: {reason}") from None
    return program


def _copied(matrix: Csr) -> tuple[Tensor, ...]:
    """Tensors of their own: views of torch's sparse tensors cannot be exported."""
    return tuple(tensor.clone() for tensor in matrix.tensors)
