"""From a ticket and a model to a :class:`~glt.compact.model.Compact`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import subgraph

from glt.check import check_graph
from glt.compact.exact import difference, tolerance
from glt.compact.live import shrink
from glt.compact.model import Compact, Line, Report
from glt.compact.once import share
from glt.compact.ops import Input, Linear, Opaque, Step
from glt.compact.order import Program, fold, in_place, narrow_first, used, weights_first
from glt.compact.record import GIVEN, NotRecordable, Record, recorded
from glt.compact.storage import choose, milliseconds
from glt.errors import GltError
from glt.forward import Forward, arguments_of, taken
from glt.sparse import SparseMatrix, features_of

FASTER = 0.95
"""Nodes are renumbered where that takes less than this share of the time."""


def compact(
    model: nn.Module, data: Data, storage: str = "auto", reorder: bool | str = "auto", narrow: bool = True
) -> Compact:
    """A smaller model with the same logits as ``model`` on ``data``: zeros in its weights are made use of.

    The model is run once and written down. Hidden units and input features are dropped where that is exact: all
    outgoing weights zero, or all incoming ones (what such a unit gives is a constant, and goes into the biases of its
    readers). Normalisation of the graph is folded into stored values, batch norm into weights. What is not understood
    is left alone, and the report says so; if the result differs by more than 1e-5 of the largest logit (in half
    precision 8e-3, in bfloat16 6e-2), all is, as is a model that gives other logits in every call.

    Args:
        model: any module that calls as ``model(x, edge_index)``; it is not modified.
        data: its graph, already sparse.
        storage: ``auto`` measures each weight as a dense and as a CSR matrix, and on a GPU that has it as two of four
            (2:4); ``dense``, ``csr`` or ``2:4`` for all.
        reorder: renumber the nodes for locality; ``auto`` measures whether that helps.
        narrow: let a product with the graph come before one with weights that makes rows wider.

    Raises:
        GltError: an unknown storage, ``cached=True`` layers, a graph that no model can be called on, or a model that
            gives something else than logits. The model's own errors pass.
    """
    check_graph(data)
    model = copy.deepcopy(model).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    reference = Forward(model, data, plain=True).evaluate()
    _check_logits(model, reference, data)
    lines: list[Line] = []
    try:
        record = recorded(model, data)
        made = _compacted(record, data, storage, narrow, lines)
        error = difference(made(), reference)
        if not error <= tolerance(data.x.dtype):
            raise NotRecordable(f"what was written down differs by {error:.1e} of the largest logit")
    except GltError:
        raise
    except (NotRecordable, RuntimeError, TypeError, ValueError, IndexError) as reason:
        made, lines, error = _alone(model, data, reference, " ".join(str(reason).split()))
    made.bound = _bound(made, model, data) if error <= tolerance(data.x.dtype) else ""
    lacking = [name for name in taken(model) if data.get(name) is None]
    made.missing = tuple(name for name in lacking if _uses(model, data, name, reference))
    renumbered = _renumber(made, data, reorder)
    made.report = Report(tuple(lines), error, renumbered)
    return made


def _check_logits(model: nn.Module, logits: Any, data: Data) -> None:
    fine = isinstance(logits, Tensor) and logits.is_floating_point() and logits.shape[:1] == data.x.shape[:1]
    if not fine:
        got = f"a {type(logits).__name__}" + (f" {list(logits.shape)}" if isinstance(logits, Tensor) else "")
        raise GltError(
            f"{type(model).__name__} gives {got}, not logits, float [nodes, classes]: compact a module that gives these"
        )


def _bound(made: Compact, model: nn.Module, data: Data) -> str:
    """By what the model belongs to its own graph, found by trying half of it; "" where it runs on others."""
    calls = [f"{step.name}, which is left alone" for step in made.steps if isinstance(step, Opaque)]
    why = calls[0] if calls else "numbers of its graph"
    half = _half(data)
    try:
        error = difference(made(half), Forward(model, half, plain=True).evaluate())
    except (RuntimeError, TypeError, ValueError, IndexError):
        return why
    return "" if error <= tolerance(data.x.dtype) else why


def _uses(model: nn.Module, data: Data, name: str, reference: Tensor) -> bool:
    """Whether a graph that has ``name``, which ``data`` has not, may give other logits; found by trying."""
    arcs = data.edge_index.size(1)
    other, numbers = copy.copy(data), torch.linspace(0.5, 1.5, arcs, dtype=data.x.dtype, device=data.x.device)
    other[name] = numbers if name == "edge_weight" else numbers.unsqueeze(1)
    try:
        return not arcs or not torch.equal(Forward(model, other, plain=True).evaluate(), reference)
    except Exception:  # it minds the shape, so it looks at them
        return True


def _half(data: Data) -> Data:
    """Every second node, and the arcs between them."""
    kept = torch.arange(0, int(data.num_nodes or 0), 2, device=data.edge_index.device)
    arcs, _, mask = subgraph(kept, data.edge_index, relabel_nodes=True, num_nodes=data.num_nodes, return_edge_mask=True)
    x = data.x if data.x.layout == torch.strided else data.x.to_sparse_coo()
    own = {k: data[k][mask] for k in GIVEN[1:] if data.get(k) is not None}
    return Data(x=x.index_select(0, kept), edge_index=arcs, num_nodes=kept.numel(), **own)


def _compacted(record: Record, data: Data, storage: str, narrow: bool, lines: list[Line]) -> Compact:
    before = [(step.name, _shape(step)) for step in record.steps if isinstance(step, Linear)]
    program = Program(_on_cpu(record.steps), record.output)
    weights_first(program)
    fold(program)
    program = Program(*shrink(program.steps, program.output))
    fold(program)
    if narrow:
        narrow_first(program, _sparse(program, data.x))
        fold(program)
    in_place(program)
    operators = used(program, record.operators)
    made = Compact(program.steps, program.output, operators, data.x.size(1))
    made.to(data.x.device)
    for step in made.steps:
        if not isinstance(step, Opaque):  # constants were computed in single precision
            step.to(data.x.dtype)
    made.ready = made.prepare(data)
    forms: dict[str, list[tuple[Step, str, str]]] = {}  # a layer that is called several times has several
    for i, step in enumerate(list(made.steps)):
        if isinstance(step, Linear):
            x = made.run(made.ready.x, made.ready.graph, step.inputs[0]) if step.inputs[0] else made.ready.x
            made.steps[i], note = choose(step, x, made.ready.graph, storage)
            forms.setdefault(step.name, []).append((step, made.steps[i].form, note))
    share(made.steps)
    for name, shape in before:
        step, form, note = forms[name].pop(0) if forms.get(name) else (None, "removed", "")
        lines.append(Line(name, shape, None if step is None else _shape(step), form, note))
    lines += [Line(step.name, None, None, "left alone", step.why) for step in made.steps if isinstance(step, Opaque)]
    return made


def _shape(step: Step) -> tuple[int, int]:
    out, columns = step.get_buffer("weight").shape
    return out, columns


def _sparse(program: Program, x: Tensor) -> bool:
    """Whether the columns of the features that are read are multiplied as a sparse matrix."""
    read = [step.get_buffer("columns").to(x.device) for step in program.steps if isinstance(step, Input)]
    if not read or x.layout != torch.strided:
        return True
    return isinstance(features_of(x.index_select(1, read[0])), SparseMatrix)


def _on_cpu(steps: list[Step]) -> list[Step]:
    return [step if isinstance(step, Opaque) else step.cpu() for step in steps]


def _alone(model: nn.Module, data: Data, reference: Tensor, why: str) -> tuple[Compact, list[Line], float]:
    """The whole model as one call, and by how much its logits differ from what it gave before."""
    options = arguments_of(model, data, plain=True)[1]
    name = type(model).__name__
    step = Opaque([0], 1, name)
    step.layer, step.function, step.why, step.widths = model, None, why, [data.x.size(1)]
    step.call = lambda values, graph: ((values[0], graph["edge_index"]), {k: graph[k] for k in options})
    columns = torch.arange(data.x.size(1))
    made = Compact([Input((), data.x.size(1), "features", {"columns": columns}), step], 1, (), data.x.size(1))
    made.to(data.x.device)
    made.ready = made.prepare(data)
    error = difference(made(), reference)
    if not error <= tolerance(data.x.dtype):
        random = f"it is random: two calls in evaluation mode differ by {error:.1e} of the largest logit"
        step.why = random if bool(reference.isfinite().all()) else "its logits are not all finite"
    return made, [Line(name, None, None, "left alone", step.why)], error


def _renumber(made: Compact, data: Data, reorder: bool | str) -> bool:
    if reorder not in (True, False, "auto"):
        raise GltError(f"reorder = {reorder!r}: give True, False or 'auto'")
    sums = any(isinstance(module, MessagePassing) for module in made.modules()) or bool(made.operators)
    if reorder is False or not sums:
        return False
    assert made.ready is not None
    made.reorder = True
    moved, here = made.prepare(data), made.ready

    def timed(ready: Any) -> float:
        made.ready = ready
        return milliseconds(made, data.x.device)

    use = reorder is True or timed(moved) < FASTER * timed(here)
    made.ready, made.reorder = (moved, True) if use else (here, False)
    return use
