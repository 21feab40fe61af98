"""What a ticket costs to run and to store, dense beside ticket beside compact."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.compact.graphs import Prepared
from glt.compact.model import Compact
from glt.compact.once import repeated
from glt.compact.ops import Linear, Opaque, Step
from glt.compact.record import NotRecordable, Record, recorded
from glt.compact.saved import serialised, written
from glt.errors import GltError
from glt.forward import arguments_of
from glt.measured import parameters
from glt.ticket import Ticket

FORMULA = (
    "MACs of weights = sum over layers of nnz(W) x nodes; MACs of propagation = sum over layers of arcs (with the "
    "self-loops that a layer adds) x width; attention by inner products adds arcs x width of the keys, a softmax by "
    "channel counts twice. dense: all weights, all arcs, in the order of PyG's layers. ticket: kept "
    "weights, kept arcs. compact: what its kernels multiply: a dense weight all its entries, sparse features their "
    "non-zeros x units."
)
CORNER = 64
"""Nodes on which a model is written down."""


@dataclass(frozen=True)
class Layer:
    """Multiply-adds of one layer; None where it was left alone and cannot be counted."""

    name: str
    kind: Literal["weights", "propagation"]
    dense: int | None
    ticket: int | None
    compact: int | None


@dataclass(frozen=True)
class Size:
    """Bytes and numbers of one form of the model.

    Attributes:
        parameters: weights and biases that are stored; of ``compact``, that its file would hold, so no zeros.
        disk: bytes of its file: the dense state dict; the ticket as it is saved without initial weights where that is
            possible; the compact model without the graph. None where it has no file.
        memory: bytes of weights, features and graph as they are computed with.
    """

    parameters: int
    disk: int | None
    memory: int


@dataclass(frozen=True)
class Cost:
    """Cost of a ticket.

    Attributes:
        layers: multiply-adds by layer and kind.
        sizes: of ``dense``, ``ticket``, ``compact``.
        uncounted: layers that no formula is known for.
        formula: how the numbers come about.
    """

    layers: tuple[Layer, ...]
    sizes: dict[str, Size]
    uncounted: tuple[str, ...]
    formula: str = FORMULA

    def total(self, form: Literal["dense", "ticket", "compact"], kind: str | None = None) -> int:
        """Multiply-adds of one form, of one kind or of both."""
        return sum(getattr(layer, form) or 0 for layer in self.layers if kind in (None, layer.kind))

    def tree(self) -> dict[str, Any]:
        """As JSON."""
        forms: tuple[Literal["dense", "ticket", "compact"], ...] = ("dense", "ticket", "compact")
        totals = {form: {k: self.total(form, k) for k in ("weights", "propagation")} for form in forms}
        return {
            "layers": [asdict(layer) for layer in self.layers],
            "macs": totals,
            "sizes": {form: asdict(size) for form, size in self.sizes.items()},
            "uncounted": list(self.uncounted),
            "formula": self.formula,
        }

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("", "", "dense", "ticket", "compact")]
        rows += [
            (layer.name, layer.kind, *map(_number, (layer.dense, layer.ticket, layer.compact))) for layer in self.layers
        ]
        for kind in ("weights", "propagation"):
            rows.append(("all", kind, *(_number(self.total(f, kind)) for f in ("dense", "ticket", "compact"))))
        for name in ("parameters", "disk", "memory"):
            what = name if name == "parameters" else f"bytes, {name}"
            rows.append((what, "", *(_number(getattr(self.sizes[f], name)) for f in ("dense", "ticket", "compact"))))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                [
                    r[0].ljust(widths[0]),
                    r[1].ljust(widths[1]),
                    *(c.rjust(w) for c, w in zip(r[2:], widths[2:], strict=True)),
                ]
            )
            for r in rows
        ]
        lines += [f"not counted: {name}" for name in self.uncounted]
        return "\n".join([*(line.rstrip() for line in lines), self.formula])


def cost(ticket: Ticket, model: nn.Module, data: Data, **options: Any) -> Cost:
    """Multiply-adds, parameters and bytes of a ticket.

    Args:
        ticket: with trained weights.
        model: of its architecture; not modified.
        data: its full graph.
        options: of :func:`glt.compact.build.compact`.

    Raises:
        GltError: as :meth:`Ticket.compact`.
    """
    sub = ticket.apply(data)
    compact: Compact = ticket.compact(model, data, **options)
    layers, uncounted = _layers(ticket, model, data, sub, compact)
    dense_state = list(copy.deepcopy(model).state_dict().values())
    x = arguments_of(model, data, plain=True)[0][0]
    graph = [x, data.edge_index]
    ready = [] if compact.ready is None else list(compact.ready.tensors())
    kept = [ticket.trained[k] for k in ticket.trained] if ticket.trained else []
    stored = written(compact.steps)[0]
    again = repeated(stored)
    numbers = [t for name, t in stored.items() if t.is_floating_point() and name not in again]
    alone = any(isinstance(step, Opaque) for step in compact.steps)
    sizes = {
        "dense": Size(sum(t.numel() for t in dense_state), _bytes(dense_state), _bytes([*dense_state, *graph])),
        "ticket": Size(parameters(ticket), _on_disk(ticket), _bytes([*kept, x, sub.edge_index])),
        "compact": Size(
            sum(t.numel() for t in [*numbers, *compact.parameters()]),
            None if alone else len(serialised(compact, graph=False)),
            _bytes([*compact.buffers(), *compact.parameters(), *ready]),
        ),
    }
    return Cost(tuple(layers), sizes, tuple(uncounted))


def multiply_adds(ticket: Ticket, model: nn.Module, data: Data) -> dict[str, int]:
    """Multiply-adds of a forward pass of the ticket (``macs``) and of the dense pair (``macs_dense``), by the formula.

    Empty where the model cannot be counted as a whole. The model is written down on a corner of the graph: no forward
    pass is made on all of it.

    Args:
        ticket: its masks count.
        model: of its architecture; not modified.
        data: the graph it was found on.

    Cost: O(arcs log arcs) once per kind of operator.
    """
    try:
        record = recorded(copy.deepcopy(model).eval(), _corner(data))
    except Exception:  # whatever a user's model has against a corner of its graph: it is not counted
        return {}
    if any(isinstance(step, Opaque) for step in record.steps):
        return {}
    rows = list(_by_layer(record, ticket, data, ticket.apply(data)))
    return {"macs": sum(some for *_, some in rows), "macs_dense": sum(every for *_, every, _ in rows)}


def _corner(data: Data) -> Data:
    """The first nodes, with features of 0, which may be sparse: they do not matter here."""
    count, corner = min(CORNER, int(data.num_nodes or 0)), copy.copy(data)
    x, corner.num_nodes = corner.x, int(data.num_nodes or 0)
    del corner.x
    corner = corner.subgraph(torch.arange(count, device=data.edge_index.device))
    corner.x = torch.zeros(count, x.size(1), dtype=x.dtype, device=x.device)
    return corner


def _by_layer(
    record: Record, ticket: Ticket, data: Data, sub: Data
) -> Iterator[tuple[str, Literal["weights", "propagation"], int, int]]:
    """(name, kind, multiply-adds of dense, of the ticket) of all that multiplies, in the order of the steps."""
    nodes = int(data.num_nodes or 0)
    full, kept = (Prepared(nodes, [operator.of(graph) for operator in record.operators]) for graph in (data, sub))
    for name, kind, step in _counted(record.steps):
        if isinstance(step, Linear):
            every = int(step.options.get("stock", step.get_buffer("weight").numel()))
            mask = ticket.weight_masks.get(step.name)
            yield name, kind, nodes * every, nodes * (every if mask is None else int(mask.sum()))
        else:
            yield name, kind, step.macs(full), step.macs(kept)


def _layers(ticket: Ticket, model: nn.Module, data: Data, sub: Data, compact: Compact) -> tuple[list[Layer], list[str]]:
    try:
        record = recorded(copy.deepcopy(model).eval(), data)
    except (NotRecordable, RuntimeError, TypeError, ValueError):
        return [], [type(model).__name__]
    rows: dict[tuple[str, Literal["weights", "propagation"]], list[int]] = {}
    for name, kind, every, some in _by_layer(record, ticket, data, sub):
        spent = rows.setdefault((name, kind), [0, 0, 0])
        spent[0], spent[1] = spent[0] + every, spent[1] + some
    for name, kind, step in _counted(list(compact.steps)):
        rows.setdefault((name, kind), [0, 0, 0])[2] += _spent(step, compact)
    uncounted = [f"{s.name} ({s.why})" for s in compact.steps if isinstance(s, Opaque)]
    return [Layer(name, kind, *numbers) for (name, kind), numbers in rows.items()], uncounted


def _counted(steps: Iterable[Step]) -> Iterable[tuple[str, Literal["weights", "propagation"], Step]]:
    """Name, kind and step of all that multiply; products with the graph are numbered."""
    number = 0
    for step in steps:
        if step.work == "weights":
            yield step.name, step.work, step
        elif step.work == "propagation":
            number += 1
            yield f"propagation {number}", step.work, step


def _spent(step: Step, compact: Compact) -> int:
    """Multiply-adds of a step's kernel on the graph it is ready for."""
    assert compact.ready is not None
    reads = compact.steps[step.inputs[0]].kind == "input"
    return step.macs(compact.ready.graph, compact.ready.x if reads else None)


def _on_disk(ticket: Ticket) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ticket.safetensors"
        try:
            ticket.save(path, initial=False)
        except GltError:
            ticket.save(path)
        return path.stat().st_size


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
