"""Compact models as programs of tensors alone: ``torch.export`` and ONNX."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from glt.compact.graphs import Csr, Multiply, Prepared, columns_of, multiply_by_sums, multiply_plainly
from glt.compact.model import Compact
from glt.compact.ops import Linear, Opaque, dense
from glt.errors import GltError
from glt.files import atomic

KEY = "glt-compact"
"""Under which a file holds what it says of itself."""
NODES, ARCS = 5, 11
"""Of the graph that a program is traced with, where only shapes are looked at."""


class Exported(nn.Module):
    """A compact model as a function of tensors alone, for exporters.

    ``forward(x, operators, place, given)``: features [nodes, columns read] or their (ends, index, values), the same
    triple per graph operator, the row of each node or None, the graph's own tensors for layers that were left alone.
    Ends are CSR's row pointers without the first, 0: so there are as many as nodes, and torch lets there be one.
    """

    def __init__(self, compact: Compact, multiply: Multiply) -> None:
        super().__init__()
        self.compact, self.multiply = compact, multiply
        assert compact.ready is not None
        self.read = columns_of(compact.ready.x)

    def forward(self, x: Any, operators: Any, place: Tensor | None, given: dict[str, Tensor]) -> Tensor:
        """Logits, float [nodes, classes]."""
        features = _matrix(x, self.read) if isinstance(x, (tuple, list)) else x
        rows = (x[0] if isinstance(x, (tuple, list)) else x).size(0)
        graph = Prepared(rows, [_matrix(parts, rows) for parts in operators], given, self.multiply, plain=True)
        logits: Tensor = self.compact.run(features, graph)
        return logits if place is None else logits[place]


def arguments(compact: Compact, renumbered: bool = True) -> tuple[Any, ...]:
    """What an exported program takes for the graph that ``compact`` is ready for: ``arguments(compact.on(data))``.

    Features are sparse where those of the ticket's own graph were, whatever those of this one are.

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
    x: Any = _parts(_as_sparse(ready.x)) if _reads_sparse(compact) else dense(ready.x).clone()
    alone = any(isinstance(step, Opaque) for step in compact.steps)
    own = {k: v.clone() for k, v in ready.graph.given.items()} if alone else {}
    place = None
    if renumbered:
        place = torch.arange(ready.graph.rows, device=ready.x.device) if ready.place is None else ready.place.clone()
    return x, [_parts(operator) for operator in ready.graph.operators], place, own


def write_pt2(compact: Compact, path: Path, graph: bool = True) -> None:
    """Write a ``torch.export`` program, atomically."""
    program = _program(compact, multiply_plainly, True)
    with atomic(path) as temporary:
        torch.export.save(program, str(temporary), extra_files={KEY: _mark(compact)})


def write_onnx(compact: Compact, path: Path, graph: bool = True) -> None:
    """Write an ONNX model, atomically, without the graph, whose nodes are never renumbered."""
    program = _program(compact, multiply_by_sums, False)
    with atomic(path) as temporary:
        try:
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
            made.model.metadata_props[KEY] = _mark(compact)
            made.save(str(temporary))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise GltError(f"this model cannot be written as ONNX: {type(error).__name__}: {reason}") from None


def needs_onnx() -> None:
    """Stop where what writes ONNX files is missing."""
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise GltError(f"ONNX files need {' and '.join(missing)}: pip install onnx onnxscript")


def _program(compact: Compact, multiply: Multiply, renumbered: bool) -> torch.export.ExportedProgram:
    """For nodes and arcs of any number; for those of its graph alone, if it is bound to that."""
    taken = arguments(compact, renumbered)
    steps = [step.plain() if isinstance(step, Linear) else step for step in compact.steps]
    made = Compact(steps, compact.output, compact.operators, compact.features)
    made.ready = compact.ready

    def free(tensor: Tensor | None) -> dict[int, Any] | None:  # nodes and arcs come first, except in edge_index
        if tensor is None or compact.bound:
            return None
        return {1 if tensor.dim() == 2 and tensor.dtype == torch.int64 else 0: torch.export.Dim.AUTO}

    like = taken if compact.bound else _small(*taken)
    try:
        with torch.no_grad():
            program = torch.export.export(Exported(made, multiply), like, dynamic_shapes=tree_map(free, taken))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise GltError(f"torch.export cannot follow this model: {type(error).__name__}: {reason}") from None
    program.example_inputs = (taken, {})
    return program


def _mark(compact: Compact) -> str:
    """What a program says of itself, as JSON: ``features`` that its graphs have, by what it is ``bound`` to its own."""
    return json.dumps({"features": compact.features, "bound": compact.bound})


def _reads_sparse(compact: Compact) -> bool:
    """Whether the features were sparse when the forms of weights were chosen: those that meet sparse ones say so."""
    linear = [step for step in compact.steps if isinstance(step, Linear) and step.options.get("transposed")]
    return any(compact.steps[step.inputs[0]].kind == "input" for step in linear)


def _as_sparse(x: Tensor | Csr) -> Csr:
    return x if isinstance(x, Csr) else Csr.of(x)


def _parts(matrix: Csr) -> tuple[Tensor, ...]:
    """(ends, index, values), tensors of their own: views of torch's sparse tensors cannot be exported."""
    return matrix.ptr[1:].clone(), matrix.index.clone(), matrix.values.clone()


def _matrix(parts: Any, columns: int) -> Csr:
    ends, index, values = parts
    return Csr(torch.cat([ends.new_zeros(1), ends]), index, values, columns)


def _small(x: Any, operators: Any, place: Tensor | None, own: dict[str, Tensor]) -> tuple[Any, ...]:
    """Arguments of the same kinds for a few nodes and arcs: a size of 0 or 1 would be taken for a constant."""

    def matrix(parts: Any, entries: int) -> tuple[Tensor, ...]:
        return tuple(part.new_zeros(size) for part, size in zip(parts, (NODES, entries, entries), strict=True))

    features = matrix(x, ARCS - 1) if isinstance(x, (tuple, list)) else x.new_zeros(NODES, x.size(1))
    given = {k: v.new_zeros((2, ARCS) if k == "edge_index" else (ARCS, *v.shape[1:])) for k, v in own.items()}
    where = None if place is None else place.new_zeros(NODES)
    return features, [matrix(parts, ARCS + 1 + i) for i, parts in enumerate(operators)], where, given
