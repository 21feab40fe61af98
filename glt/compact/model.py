"""Compact: a model without what a ticket removed, and without what that made useless."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.check import check_graph
from glt.compact.graphs import Csr, Operator, Prepared
from glt.compact.ops import Step, dense
from glt.compact.record import GIVEN
from glt.errors import GltError
from glt.sparse import SparseMatrix, features_of


@dataclass(frozen=True)
class Line:
    """What was done to one weight or layer.

    Attributes:
        name: of the parameter or layer.
        before, after: shape of the weight, [out, in]; None for what was left alone.
        storage: ``dense``, ``csr``, ``2:4``, ``left alone``, or ``removed``.
        note: why it was left alone, or what was measured.
    """

    name: str
    before: tuple[int, int] | None
    after: tuple[int, int] | None
    storage: str
    note: str = ""

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name}: left alone, {self.note}"
        was = " x ".join(map(str, self.before))
        now = "removed" if self.after is None else " x ".join(map(str, self.after)) + f" {self.storage}"
        return f"{self.name}: {was} -> {now}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class Report:
    """What compaction did.

    Attributes:
        lines: layer by layer.
        error: largest difference from the masked model on the ticket's graph, divided by the largest logit.
        reordered: whether nodes are renumbered inside.
    """

    lines: tuple[Line, ...]
    error: float
    reordered: bool = False

    def __str__(self) -> str:
        order = "renumbered (reverse Cuthill-McKee)" if self.reordered else "as they were"
        text = [*map(str, self.lines), f"nodes: {order}"]
        return "\n".join([*text, f"largest difference from the masked model: {self.error:.1e} of the largest logit"])


@dataclass
class Ready:
    """Features and operators of one graph, in the form that a compact model multiplies with.

    Attributes:
        x: the columns that are read, dense or sparse.
        graph: its operators.
        place: where each node's row is, if nodes were renumbered.
    """

    x: Tensor | Csr
    graph: Prepared
    place: Tensor | None = None

    def in_order(self) -> Ready:
        """The same with nodes as the graph numbers them: ``place`` is None."""
        if self.place is None:
            return self
        order = torch.empty_like(self.place)  # the node of each row
        order[self.place] = torch.arange(order.numel(), device=order.device)
        x = self.x.renumbered(self.place) if isinstance(self.x, Csr) else self.x.index_select(0, self.place)
        operators = [operator.renumbered(self.place, order) for operator in self.graph.operators]
        given = {k: order[v] if k == "edge_index" else v for k, v in self.graph.given.items()}
        return Ready(x, replace(self.graph, operators=operators, given=given))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Ready:
        """With every tensor changed, e.g. moved."""

        def matrix(csr: Csr) -> Csr:
            ptr, index, values = map(change, csr.tensors)
            return Csr(ptr, index, values, csr.columns)

        operators = [matrix(operator) for operator in self.graph.operators]
        given = {name: change(tensor) for name, tensor in self.graph.given.items()}
        x = matrix(self.x) if isinstance(self.x, Csr) else change(self.x)
        place = None if self.place is None else change(self.place)
        return Ready(x, replace(self.graph, operators=operators, given=given), place)

    def tensors(self) -> Iterator[Tensor]:
        """All its tensors."""
        yield from self.x.tensors if isinstance(self.x, Csr) else (self.x,)
        for operator in self.graph.operators:
            yield from operator.tensors


class Compact(nn.Module):
    """A ticket's model as it is used: smaller, on the smaller graph, with the same logits.

    ``compact()`` gives the logits of the ticket's own graph, whose arcs, normalisation and features were prepared when
    it was made. ``compact(data)`` prepares another graph and runs on it; ``compact.on(data)`` keeps what was prepared.

    Attributes:
        steps: what is computed, in order.
        output: number of the step that gives the logits.
        operators: how the sparse operators follow from a graph.
        features: number of input features of the original model.
        report: what was done.
        bound: by what it belongs to the graph that it was recorded on; "" where it runs on any.
        missing: what of ``edge_weight`` and ``edge_attr`` the model uses and its graph did not have: graphs that have
            it are refused, as it would be ignored.
        sparsifier: takes the ticket's share of the edges out of another graph, by the same scorer; None where the
            ticket does not say which.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        output: int,
        operators: Sequence[Operator],
        features: int,
        report: Report | None = None,
        reorder: bool = False,
    ) -> None:
        super().__init__()
        self.steps: Any = nn.ModuleList(steps)
        self.output, self.operators, self.features = output, tuple(operators), features
        self.report = report
        self.reorder = reorder
        self.bound = ""
        self.missing: tuple[str, ...] = ()
        self.sparsifier: Callable[[Data], Data] | None = None
        self.ready: Ready | None = None
        self._last = [output] * len(steps)  # the last reader of each value
        for i, step in enumerate(steps):
            for j in step.inputs:
                self._last[j] = i if j != output else len(steps)
        self.eval().requires_grad_(False)

    @property
    def columns(self) -> Tensor | None:
        """int64: the input features that are read; None if none is."""
        for step in self.steps:
            if step.kind == "input":
                return step._buffers.get("columns")
        return None

    @property
    def dtype(self) -> torch.dtype | None:
        """In which it computes; None if it has no numbers of its own."""
        own = (b.dtype for step in self.steps if step.kind != "opaque" for b in step.buffers())
        return next((dtype for dtype in own if dtype.is_floating_point), None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Compact:
        """What ``to`` and the like call: the graph that it is ready for goes along, and one tensor stays one."""
        done: dict[int, tuple[Tensor, Tensor]] = {}

        def once(tensor: Tensor) -> Tensor:
            if id(tensor) not in done:
                done[id(tensor)] = tensor, fn(tensor)
            return done[id(tensor)][1]

        super()._apply(once, recurse)
        self.ready = None if self.ready is None else self.ready.changed(once)
        return self

    def prepare(self, data: Data) -> Ready:
        """What is constant about a graph, made once. O(nodes * features + arcs log arcs).

        Raises:
            GltError: no graph that a model can be called on; another dtype or number of features; edge weights or
                attributes that the model would ignore, or lacks.
        """
        self._check(data)
        mine = next((b.device for b in self.buffers()), data.x.device)
        place = None
        x = data.x if data.x.layout == torch.strided else data.x.to_sparse_coo()
        columns = self.columns if self.columns is not None else torch.zeros(0, dtype=torch.int64)
        if columns.numel() < self.features:
            x = x.index_select(1, columns.to(x.device))
        if self.reorder:
            place, data, x = _renumbered(data, x)
        kept = features_of(x) if x.size(1) else torch.zeros(x.size(0), 0, dtype=x.dtype)
        features = Csr.of(kept.csr) if isinstance(kept, SparseMatrix) else kept.contiguous()
        given = {k: data[k].to(mine) for k in GIVEN if data.get(k) is not None}
        operators = [operator.of(data) for operator in self.operators]
        operators = [operator.to(mine) for operator in operators]
        return Ready(features.to(mine), Prepared(int(data.num_nodes or 0), operators, given), place)

    def _check(self, data: Data) -> None:
        check_graph(data)
        if self.dtype not in (None, data.x.dtype):
            own, given = (str(dtype).removeprefix("torch.") for dtype in (self.dtype, data.x.dtype))
            raise GltError(f"the model computes in {own}, data.x is {given}: take x.to(torch.{own})")
        if data.x.size(1) != self.features:
            raise GltError(f"the model reads {self.features} features, the data has {data.x.size(1)}")
        if unseen := [name for name in self.missing if data.get(name) is not None]:
            raise GltError(
                f"the model was compacted on a graph without {unseen[0]}, which it uses: compact it on one that has it,"
                f" or take it out of the data (del data.{unseen[0]})"
            )
        weights = data.get("edge_weight")
        if any(operator.weighted for operator in self.operators) and (weights is None or weights.dim() != 1):
            raise GltError("the model was compacted with edge weights: give the data edge_weight, [arcs]")

    def on(self, data: Data, sparsify: bool = False) -> Compact:
        """The same model, made ready for another graph.

        Args:
            data: with as many features as the ticket's; any nodes and arcs.
            sparsify: first take the ticket's share of its edges out, by the ticket's scorer.

        Raises:
            GltError: ``sparsify`` and no scorer is known; other features; a model recorded for one graph alone.
        """
        if self.bound:
            raise GltError(
                f"this model was recorded for one graph (it uses {self.bound}): compact the model again on the new data"
            )
        if sparsify and self.sparsifier is None:
            raise GltError("the ticket does not name a scorer that could sparsify another graph: do it yourself")
        other = copy.copy(self)
        other.reorder = False
        other.ready = other.prepare(self.sparsifier(data) if sparsify and self.sparsifier else data)
        return other

    def forward(self, data: Data | None = None) -> Tensor:
        """Logits, float [nodes, classes], of the graph made ready, or of ``data``."""
        if data is None and self.ready is None:
            raise GltError("this compact model has no graph: call it with one, or make it ready with .on(data)")
        ready = self.ready if data is None else self.on(data).ready
        assert ready is not None
        with torch.no_grad():
            logits = self.run(ready.x, ready.graph)
            return logits if ready.place is None else logits[ready.place]

    def run(self, x: Any, graph: Prepared, upto: int | None = None) -> Any:
        """The steps on prepared features and operators; the value of step ``upto`` instead of the logits."""
        values: list[Any] = [None] * len(self.steps)
        goal = self.output if upto is None else upto
        for i, step in enumerate(self.steps):
            values[i] = (
                step.run(graph, x) if step.kind == "input" else step.run(graph, *(values[j] for j in step.inputs))
            )
            if i == goal:
                break
            if upto is None:
                for j in step.inputs:
                    if self._last[j] == i:
                        values[j] = None
        return dense(values[goal])


def _renumbered(data: Data, x: Tensor) -> tuple[Tensor, Data, Tensor]:
    """(place of each node, the graph, features) with neighbours near each other: reverse Cuthill-McKee."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    nodes = int(data.num_nodes or 0)
    rows, columns = data.edge_index.cpu().numpy()
    graph = coo_matrix((torch.ones(rows.size).numpy(), (rows, columns)), shape=(nodes, nodes)).tocsr()
    order = (
        torch.from_numpy(reverse_cuthill_mckee(graph, symmetric_mode=False).copy()).long().to(data.edge_index.device)
    )
    place = torch.empty_like(order)
    place[order] = torch.arange(nodes, device=order.device)
    moved = copy.copy(data)
    moved.edge_index = place[data.edge_index]
    return place, moved, x.index_select(0, order.to(x.device))
