"""Compact models as safetensors: tensors that plain torch can read, and a header of JSON. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from glt.builtin import Sparsifier
from glt.compact.checks import (
    check_entry,
    check_graph,
    check_operator,
    check_places,
    check_tensors,
    is_number,
    is_whole,
    need,
)
from glt.compact.graphs import Csr, Operator, Prepared, columns_of
from glt.compact.model import Compact, Ready
from glt.compact.once import repeated, share
from glt.compact.ops import KINDS, Input, Opaque, Step
from glt.compact.order import Program, in_place
from glt.compact.programs import KEY
from glt.errors import GltError
from glt.files import atomic
from glt.forward import OPTIONS

FORMAT = 3
"""The one that is written and read. 3: weights in their smallest form and once, and what a model is bound to."""


def write(compact: Compact, path: Path, graph: bool = True) -> None:
    """Write the file, atomically; errors as :func:`serialised`."""
    content = serialised(compact, graph)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def serialised(compact: Compact, graph: bool = True) -> bytes:
    """The bytes of the ``.safetensors`` file.

    Raises:
        GltError: a layer that was left alone, which is code and not tensors; or no graph, which the model is bound to.
    """
    if alone := [step.name for step in compact.steps if isinstance(step, Opaque)]:
        raise GltError(f"{alone[0]} was left alone and is not tensors: write a .pt2 file, or change the layer")
    if compact.bound and not graph:
        raise GltError(f"this model runs on its own graph alone (it uses {compact.bound}): write the graph as well")
    tensors, options = written(compact.steps)
    header: dict[str, Any] = {
        "format": FORMAT,
        "steps": [
            {"kind": s.kind, "inputs": s.inputs, "width": s.width, "name": s.name, "options": own}
            for s, own in zip(compact.steps, options, strict=True)
        ],
        "output": compact.output,
        "operators": [asdict(operator) for operator in compact.operators],
        "features": compact.features,
        "bound": compact.bound,
        "missing": compact.missing,
    }
    if is_dataclass(compact.sparsifier) and not isinstance(compact.sparsifier, type):
        header["sparsifier"] = asdict(compact.sparsifier)
    if graph and compact.ready is not None:
        ready = compact.ready
        header["rows"], header["read"] = ready.graph.rows, columns_of(ready.x)
        tensors |= {f"graph/{i}/{k}": v for i, o in enumerate(ready.graph.operators) for k, v in _named(o).items()}
        tensors |= {f"x/{k}": v for k, v in _named(ready.x).items()} if isinstance(ready.x, Csr) else {"x": ready.x}
        tensors |= {} if ready.place is None else {"place": ready.place}
    small = {k: _narrow(v).detach().cpu().contiguous().clone() for k, v in tensors.items()}
    header["same"] = repeated(small)
    return save(
        {k: v for k, v in small.items() if k not in header["same"]}, metadata={KEY: json.dumps(header, sort_keys=True)}
    )


def written(steps: Iterable[Step]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The steps' tensors by their names in a file, and each step's options there."""
    packed = [step.packed() for step in steps]
    tensors = {f"step/{i}/{k}": v for i, (own, _) in enumerate(packed) for k, v in own.items()}
    return tensors, [options for _, options in packed]


def load(path: str | Path) -> Compact:
    """A compact model from its ``.safetensors`` file, with its graph if that is there.

    Never unpickles, and looks at every index and size: a file that loads can be run, whoever made it.

    Raises:
        GltError: not there, not such a file, of another format, or inconsistent.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise GltError(f"{path} is not a compact model of glt: its header has no {KEY!r} entry")
            header = json.loads(text)
            if header["format"] != FORMAT:
                hint = "upgrade glt" if header["format"] > FORMAT else "export the ticket again"
                raise GltError(f"{path} has format {header['format']}, this glt reads {FORMAT}: {hint}")
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
        return _assembled(header, {k: v.long() if v.dtype == torch.int32 else v for k, v in tensors.items()})
    except GltError:
        raise
    except FileNotFoundError:
        raise GltError(f"there is no file {path}") from None
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise GltError(f"{path} is not a readable compact model: {reason}") from None


def _assembled(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Compact:
    tensors = {**tensors, **{name: tensors[other] for name, other in header["same"].items()}}
    check_tensors(tensors)
    operators = [Operator(**operator) for operator in header["operators"]]
    for operator in operators:
        check_operator(operator)
    features, bound = header["features"], header["bound"]
    need(is_whole(features) and isinstance(bound, str), f"it has {features!r} features")
    missing = header["missing"]
    need(isinstance(missing, list) and all(one in OPTIONS for one in missing), f"a graph has no {missing!r}")
    steps = _steps(header["steps"], tensors, len(operators))
    read = sum(step.width for step in steps if isinstance(step, Input))
    for step in steps:
        if isinstance(step, Input):
            check_places(step.get_buffer("columns"), features, "the features that are read")
    need(sum(isinstance(step, Input) for step in steps) <= 1, "there are several inputs")
    need(is_whole(header["output"], 0, len(steps)), f"there is no output {header['output']!r}")
    program = Program(steps, header["output"])
    in_place(program)
    share(program.steps)
    compact = Compact(program.steps, program.output, operators, features)
    compact.bound, compact.missing = bound, tuple(missing)
    compact.sparsifier = _sparsifier(header["sparsifier"]) if "sparsifier" in header else None
    if "rows" in header:
        rows = header["rows"]
        need(is_whole(rows) and header["read"] == read, f"it has {rows!r} rows of {header['read']!r} features")

        def matrix(prefix: str, columns: int) -> Csr:
            ptr, index, values = (tensors[f"{prefix}/{k}"] for k in ("ptr", "index", "values"))
            return Csr(ptr, index, values, columns)

        x = tensors["x"] if "x" in tensors else matrix("x", read)
        graph = Prepared(rows, [matrix(f"graph/{i}", rows) for i in range(len(operators))])
        check_graph(x, graph.operators, tensors.get("place"), rows, read)
        compact.ready = Ready(x, graph, tensors.get("place"))
    return compact


def _steps(entries: Any, tensors: Mapping[str, Tensor], operators: int) -> list[Step]:
    steps: list[Step] = []
    for i, entry in enumerate(entries):
        check_entry(i, entry)
        widths = [steps[j].width for j in entry["inputs"]]
        found = {k.split("/", 2)[2]: v for k, v in tensors.items() if k.startswith(f"step/{i}/")}
        step = KINDS[entry["kind"]].unpacked(entry, found, widths)
        step.check(widths, operators)
        steps.append(step)
    return steps


def _sparsifier(entry: Mapping[str, Any]) -> Sparsifier:
    made = Sparsifier(**entry)
    fine = isinstance(made.scorer, dict) and is_number(made.graph_sparsity) and 0 <= made.graph_sparsity <= 1
    need(fine and type(made.undirected) is bool, f"{entry!r} does not sparsify")
    return made


def _named(matrix: Csr) -> dict[str, Tensor]:
    return dict(zip(("ptr", "index", "values"), matrix.tensors, strict=True))


def _narrow(tensor: Tensor) -> Tensor:
    """Indices in half the bytes where they fit."""
    fits = tensor.dtype == torch.int64 and (not tensor.numel() or int(tensor.max()) < 2**31)
    return tensor.int() if fits else tensor
