"""The stack that the built-in backbones share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.backbones.dropout import dropout
from glt.rows import Rows
from glt.soft import padded
from glt.sparse import Interleaved, Pattern, SparseMatrix, WeightedArcs, features_of


@dataclass(frozen=True)
class Chunked:
    """A prepared graph whose layers are evaluated ``size`` nodes at a time; without gradients."""

    graph: Any
    size: int

    def of(self, mask: Tensor) -> Chunked:
        """The graph under a soft mask over its arcs."""
        return Chunked(self.graph(mask), self.size)


Hidden = Annotated[int, Field(ge=1, description="hidden units per layer")]
Layers = Annotated[int, Field(ge=1, description="number of layers")]
Dropout = Annotated[float, Field(ge=0, lt=1, description="dropout between layers")]
Residual = Annotated[bool, Field(description="add a layer's input to its output where widths agree")]
Norm = Annotated[Literal["none", "batch", "layer"], Field(description="normalisation before every ReLU")]


class GNN(nn.Module, ABC):
    """PyG convolutions with normalisation, ReLU and dropout between them; the last one gives the logits.

    A layer is dropout(relu(norm(conv(x) + x))), in the order of Luo et al. ("Classic GNNs are Strong Baselines",
    NeurIPS 2024), x being added where ``residual`` and widths say so; the last one is the convolution alone.

    It is called in two ways with the same result. ``model(x, edge_index, edge_weight=None)`` runs PyG's own
    layers and is differentiable in the edge weights. ``model(*model.prepare(data))`` does once per graph what
    does not change between epochs (normalisation, self-loops, the sparse operator and its transpose, sparse
    features) and uses the same parameters; training loops call it.

    :meth:`forward` is :meth:`head` after :meth:`stem`: what comes before any dropout and normalisation is the same in
    training and evaluation, so a training loop computes it once for the evaluation of one epoch and the training of
    the next (:class:`glt.forward.Forward`).

    A subclass says how its convolution does both: :meth:`arcs`, :meth:`coefficients`, :meth:`fast`
    and :meth:`plain`; and by :meth:`by_rows` how it is evaluated a chunk of nodes at a time.
    """

    random_stem = False
    """Whether :meth:`stem` draws random numbers in training, so that evaluation cannot share it."""
    stacks = False
    """Whether :mod:`glt.stack` can train several models of exactly this class as one; not inherited."""
    models = 1
    """Of a stack: how many it is."""
    drop = staticmethod(dropout)
    """Dropout between layers; a stack has its own, with random numbers for each of its models."""

    def __init__(
        self,
        convs: Iterable[nn.Module],
        dropout: float,
        residual: bool = False,
        norms: Iterable[nn.Module] = (),
        first: Any = None,
        last: Any = None,
    ) -> None:
        super().__init__()
        self.first = first  # linear maps around the convolutions, of subclasses that have them; in the order of layers
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(norms)
        self.last = last
        self.dropout = dropout
        self.residual = residual

    def arcs(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """(arcs, weights) that the convolution sums over: those of the graph, then the self-loops it adds; here none.

        Arcs other than self-loops keep their order. int64 [2, m], ``dtype`` [m].
        """
        return edge_index, torch.ones(edge_index.size(1), dtype=dtype, device=edge_index.device)

    def coefficients(self, arcs: Tensor, weights: Tensor, num_nodes: int) -> Tensor:
        """What the messages of ``arcs`` are multiplied with, [m]; differentiable in the weights."""
        return weights

    def operator(self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype) -> Any:
        """The graph in the form that :meth:`fast` multiplies with; anything but a tensor. Values in ``dtype``."""
        arcs, weights = self.arcs(edge_index, edge_weight, num_nodes, dtype)
        return SparseMatrix.of_arcs(arcs, self.coefficients(arcs, weights, num_nodes), num_nodes)

    def soft_operator(
        self, edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, dtype: torch.dtype
    ) -> Callable[[Tensor], Any]:
        """:meth:`operator` as a function of a mask over the arcs, differentiable in it; self-loops come last.

        The mask multiplies an arc's weight before any normalisation, so 0 is the graph without the arc.
        """
        arcs, weights = self.arcs(edge_index, edge_weight, num_nodes, dtype)
        pattern = Pattern.of_arcs(arcs, num_nodes)

        def masked(mask: Tensor) -> WeightedArcs:
            return WeightedArcs(pattern, self.coefficients(arcs, weights * padded(mask, weights.numel()), num_nodes))

        return masked

    def side_by_side(
        self, graphs: Sequence[tuple[Tensor, Tensor | None]], models: int, num_nodes: int, dtype: torch.dtype
    ) -> Any:
        """:meth:`operator` for several models at once, whose columns are side by side.

        Args:
            graphs: (edge_index, edge_weight) of the one graph that all models share, or of each model's own.
            models: how many they are.
            num_nodes: of every graph.
            dtype: of the values.
        """
        if len(graphs) == 1:
            return self.operator(*graphs[0], num_nodes, dtype)
        arcs, weights = zip(*(self.arcs(*graph, num_nodes, dtype) for graph in graphs), strict=True)
        values = [self.coefficients(*pair, num_nodes) for pair in zip(arcs, weights, strict=True)]
        matrix = SparseMatrix.of_arcs(interleaved(arcs), torch.cat(values), num_nodes * models)
        return Interleaved(matrix, models)

    @abstractmethod
    def fast(self, conv: Any, x: Tensor | SparseMatrix, graph: Any) -> Tensor:
        """One convolution with a prepared graph."""

    def by_rows(self, conv: Any, x: Tensor | SparseMatrix, graph: Any) -> Rows | None:
        """:meth:`fast` for the nodes of a slice, without gradients; None where that would save no memory."""
        return None

    def plain(self, conv: Any, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        """One convolution as PyG runs it."""
        return conv(x, edge_index)

    def prepare(self, data: Data) -> tuple[Tensor | SparseMatrix, Any]:
        """Arguments for :meth:`forward`, made once per graph from ``x``, ``edge_index``, ``edge_weight``."""
        weight = getattr(data, "edge_weight", None)
        with torch.no_grad():
            graph = self.operator(data.edge_index, weight, data.num_nodes, data.x.dtype)
            return features_of(data.x), graph

    def chunked(self, arguments: tuple[Any, ...], size: int) -> tuple[Any, ...]:
        """What :meth:`prepare` returned, for an evaluation of ``size`` nodes at a time, layer by layer.

        Memory beside features and graph: the states of two layers and a chunk, where there is :meth:`by_rows`.
        """
        x, graph = arguments
        return x, Chunked(graph, size)

    def forward(self, x: Any, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """Logits, float [nodes, out].

        Args:
            x: float [nodes, features], or the prepared features.
            edge_index: int64 [2, arcs], or the prepared graph.
            edge_weight: float [arcs]; used by GCN alone, as in PyG.
        """
        return self.head(self.stem(x, edge_index, edge_weight), edge_index, edge_weight)

    def stem(self, x: Any, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """The first layer up to its normalisation, float [nodes, hidden]; arguments as of :meth:`forward`."""
        return self._layer(0, x, edge_index, edge_weight)

    def head(self, hidden: Tensor, edge_index: Any, edge_weight: Tensor | None = None) -> Tensor:
        """Logits from what :meth:`stem` gave, which is not modified."""
        for i in range(1, len(self.convs)):
            if self.norms:
                hidden = self.norms[i - 1](hidden).relu()
            hidden = self._layer(i, self.drop(hidden, self.dropout, self.training), edge_index, edge_weight)
        return hidden

    def convolved(self, i: int, x: Any, edge_index: Any, edge_weight: Tensor | None) -> Tensor:
        """Convolution ``i``, on PyG's own path or the prepared one as the graph asks for."""
        if isinstance(edge_index, Tensor):
            return self.plain(self.convs[i], x, edge_index, edge_weight)
        if isinstance(edge_index, Chunked):
            return self._by_chunks(self.convs[i], x, edge_index)
        return self.fast(self.convs[i], x, edge_index)

    def _by_chunks(self, conv: Any, x: Any, graph: Chunked) -> Tensor:
        some = self.by_rows(conv, x, graph.graph)
        if some is None:
            return self.fast(conv, x, graph.graph)
        nodes = int(x.shape[0])
        out: Tensor | None = None
        for start in range(0, nodes, graph.size):
            rows = slice(start, min(start + graph.size, nodes))
            part = some(rows)
            out = part.new_empty(nodes, part.size(1)) if out is None else out
            out[rows] = part
        assert out is not None
        return out

    def _layer(self, i: int, x: Any, edge_index: Any, edge_weight: Tensor | None) -> Tensor:
        out = self.convolved(i, x, edge_index, edge_weight)
        if i == len(self.convs) - 1:
            return out
        copies = 1 if i else self.models  # the features are the same for all models of a stack
        if self.residual and x.shape[1] * copies == out.size(1):
            x = x.csr.to_dense() if isinstance(x, SparseMatrix) else x
            out = out.add_(x if copies == 1 else x.repeat(1, copies))
        return out if self.norms else out.relu_()


def averaging(arcs: Tensor, weights: Tensor, num_nodes: int) -> Tensor:
    """``weights`` [m] over their sum into each target, which makes a mean of a sum; 0 where that is 0."""
    incoming = weights.new_zeros(num_nodes).index_add(0, arcs[1], weights)
    return weights * incoming.masked_fill(incoming == 0, 1.0).reciprocal()[arcs[1]]


def interleaved(arcs: Sequence[Tensor]) -> Tensor:
    """The arcs of several graphs on the same nodes as one graph: node n of graph t is n * ``len(arcs)`` + t."""
    return torch.cat([one * len(arcs) + t for t, one in enumerate(arcs)], dim=1)


def norms_of(kind: str, width: int, count: int) -> list[nn.Module]:
    """``count`` normalisation layers of a :data:`Norm` for ``width`` units; none for "none"."""
    if kind == "none":
        return []
    return [{"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[kind](width) for _ in range(count)]


def widths(in_channels: int, hidden: int, out_channels: int, layers: int) -> list[tuple[int, int]]:
    """(input, output) widths of every layer."""
    sizes = [in_channels, *[hidden] * (layers - 1), out_channels]
    return list(pairwise(sizes))
