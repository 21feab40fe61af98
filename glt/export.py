"""Compact models as files: safetensors that plain torch can read, ``torch.export``, ONNX."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from glt.builtin import Sparsifier
from glt.compact.graphs import Csr, Multiply, Operator, Prepared, multiply_by_sums, multiply_plainly
from glt.compact.model import Compact, Ready
from glt.compact.ops import KINDS, Linear, Opaque
from glt.errors import GltError
from glt.files import atomic

FORMAT = 2
KEY = "glt-compact"


def export(compact: Compact, path: str | Path, graph: bool = True) -> Path:
    """Write a compact model, atomically, in the format that the suffix says.

    ``.safetensors``: tensors, and the steps as JSON in the header; :func:`load` reads it, and so does one function of
    plain torch (docs/compact.md). How the ticket sparsifies another graph is there too. ``.pt2``: a ``torch.export``
    program of ``(x, operators, place, given)`` with the graph's own as ``example_inputs``, nodes and arcs of any
    number. ``.onnx``: the same, where the operators exist, without the graph, whose nodes are never renumbered. In
    these two, weights that are stored as 2:4 are dense, and a softmax by channel (GENConv) takes memory for arcs x
    channels.

    Only safetensors never unpickles: ``torch.export.load`` does, so load a ``.pt2`` only from people you trust.

    Args:
        compact: made ready for a graph.
        path: where to.
        graph: whether a ``.safetensors`` file also holds the features and operators of the graph that it is ready for.

    Raises:
        GltError: another suffix, a layer that cannot be written, or a missing package.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise GltError(f"{path} has the suffix {path.suffix!r}; known: {', '.join(_WRITERS)}")
    _WRITERS[path.suffix](compact, path, graph)
    return path


def serialised(compact: Compact, graph: bool = True) -> bytes:
    """The bytes of the ``.safetensors`` file.

    Raises:
        GltError: a layer that was left alone: it is code, not tensors.
    """
    if alone := [step.name for step in compact.steps if isinstance(step, Opaque)]:
        raise GltError(f"{alone[0]} was left alone and is not tensors: write a .pt2 file, or change the layer")
    steps = [
        {"kind": s.kind, "inputs": s.inputs, "width": s.width, "name": s.name, "options": s.options}
        for s in compact.steps
    ]
    header = {
        "format": FORMAT,
        "steps": steps,
        "output": compact.output,
        "operators": [asdict(operator) for operator in compact.operators],
        "features": compact.features,
        "missing": compact.missing,
    }
    if is_dataclass(compact.sparsifier) and not isinstance(compact.sparsifier, type):
        header["sparsifier"] = asdict(compact.sparsifier)
    tensors = {f"step/{i}/{k}": v for i, step in enumerate(compact.steps) for k, v in step.tensors.items()}
    if graph and compact.ready is not None:
        ready = compact.ready
        header["rows"], header["read"] = ready.graph.rows, _columns(ready.x)
        tensors |= {f"graph/{i}/{k}": v for i, o in enumerate(ready.graph.operators) for k, v in _named(o).items()}
        tensors |= {f"x/{k}": v for k, v in _named(ready.x).items()} if isinstance(ready.x, Csr) else {"x": ready.x}
        tensors |= {} if ready.place is None else {"place": ready.place}
    small = {k: _narrow(v).detach().cpu().contiguous().clone() for k, v in tensors.items()}
    return save(small, metadata={KEY: json.dumps(header, sort_keys=True)})


def load(path: str | Path) -> Compact:
    """A compact model from its ``.safetensors`` file, with its graph if that is there. Never unpickles.

    Raises:
        GltError: not there, not such a file, of a newer format, or inconsistent.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise GltError(f"{path} is not a compact model of glt: its header has no {KEY!r} entry")
            header = json.loads(text)
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        if header["format"] > FORMAT:
            raise GltError(f"{path} has format {header['format']}, this glt reads up to {FORMAT}: upgrade glt")
        tensors = {k: v.long() if v.dtype == torch.int32 else v for k, v in tensors.items()}
        return _assembled(header, tensors)
    except GltError:
        raise
    except FileNotFoundError:
        raise GltError(f"there is no file {path}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise GltError(f"{path} is not a readable compact model: {type(error).__name__} {error}") from None


def _assembled(header: dict[str, Any], tensors: dict[str, Tensor]) -> Compact:
    steps = []
    for i, entry in enumerate(header["steps"]):
        found = {k.split("/", 2)[2]: v for k, v in tensors.items() if k.startswith(f"step/{i}/")}
        kind = KINDS[entry["kind"]]
        own: dict[str, Tensor | None] = {**dict.fromkeys(kind.optional), **found}
        if any(not 0 <= j < i for j in entry["inputs"]):
            raise ValueError(f"step {i} reads a step that does not come before it")
        steps.append(kind(entry["inputs"], entry["width"], entry["name"], own, **entry["options"]))
    operators = [Operator(**operator) for operator in header["operators"]]
    compact = Compact(steps, header["output"], operators, header["features"])
    compact.missing = tuple(map(str, header.get("missing", ())))
    compact.sparsifier = Sparsifier(**header["sparsifier"]) if "sparsifier" in header else None
    if "rows" in header:
        rows = header["rows"]

        def matrix(prefix: str, columns: int) -> Csr:
            ptr, index, values = (tensors[f"{prefix}/{k}"] for k in ("ptr", "index", "values"))
            return Csr(ptr, index, values, columns)

        x = tensors["x"] if "x" in tensors else matrix("x", header["read"])
        graph = Prepared(rows, [matrix(f"graph/{i}", rows) for i in range(len(operators))])
        compact.ready = Ready(x, graph, tensors.get("place"))
    return compact


class Exported(nn.Module):
    """A compact model as a function of tensors alone, for exporters.

    ``forward(x, operators, place, given)``: features [nodes, columns read] or their (ptr, index, values), the same
    triple per graph operator, the row of each node or None, the graph's own tensors for layers that were left alone.
    """

    def __init__(self, compact: Compact, multiply: Multiply) -> None:
        super().__init__()
        self.compact, self.multiply = compact, multiply
        assert compact.ready is not None
        self.read = _columns(compact.ready.x)

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


def _write_safetensors(compact: Compact, path: Path, graph: bool) -> None:
    content = serialised(compact, graph)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _write_pt2(compact: Compact, path: Path, graph: bool) -> None:
    program = _program(compact, multiply_plainly, True)
    with atomic(path) as temporary:
        torch.export.save(program, str(temporary))


def _write_onnx(compact: Compact, path: Path, graph: bool) -> None:
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise GltError(f"ONNX files need {' and '.join(missing)}: pip install onnx onnxscript")
    program = _program(compact, multiply_by_sums, False)  # there is no graph in it whose nodes could be renumbered
    with atomic(path) as temporary:
        try:
            made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
            made.save(str(temporary))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise GltError(f"this model cannot be written as ONNX: {type(error).__name__}: {reason}") from None


_WRITERS: dict[str, Callable[[Compact, Path, bool], None]] = {
    ".safetensors": _write_safetensors,
    ".pt2": _write_pt2,
    ".onnx": _write_onnx,
}


def _named(matrix: Csr) -> dict[str, Tensor]:
    return dict(zip(("ptr", "index", "values"), matrix.tensors, strict=True))


def _copied(matrix: Csr) -> tuple[Tensor, ...]:
    """Tensors of their own: views of torch's sparse tensors cannot be exported."""
    return tuple(tensor.clone() for tensor in matrix.tensors)


def _columns(x: Tensor | Csr) -> int:
    return x.columns if isinstance(x, Csr) else x.size(1)


def _narrow(tensor: Tensor) -> Tensor:
    """Indices in half the bytes where they fit."""
    fits = tensor.dtype == torch.int64 and (not tensor.numel() or int(tensor.max()) < 2**31)
    return tensor.int() if fits else tensor
