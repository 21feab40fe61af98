"""A generated graph of any size with communities, hubs and features that know the class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data

from glt.datasets.splits import finished, per_class
from glt.errors import GltError
from glt.registry import register

Ints = npt.NDArray[np.integer[Any]]
Draw = Callable[[int], tuple[Ints, Ints]]


@register("datasets", "csbm")
class ContextualSBM:
    """Generated: contextual, degree-corrected stochastic block model; seeded split; accuracy.

    Karrer & Newman 2011 (https://arxiv.org/abs/1008.3926) for the edges, Deshpande et al. 2018, "Contextual
    Stochastic Block Models" (https://arxiv.org/abs/1807.09596), for features that know the class: here sparse words,
    or as there, with ``dense``, Gaussian around a mean for each class.
    Classes have equal sizes; a node draws edges in proportion to a power-law weight, cut off at the square
    root of the sum of weights so that few pairs repeat. The graph is simple and undirected with exactly
    ``round(nodes * avg_degree / 2)`` edges, of which the fraction ``homophily`` stays in a class. Split:
    ``train_per_class`` and ``val_per_class`` nodes of each class, the rest for testing. Time and memory grow
    linearly with nodes and edges.
    """

    name: ClassVar[str]

    nodes: Annotated[int, Field(ge=10, le=10_000_000, description="number of nodes")] = 10_000
    classes: Annotated[int, Field(ge=2, description="number of classes, equally large")] = 7
    avg_degree: Annotated[float, Field(gt=0, description="arcs per node")] = 8.0
    homophily: Annotated[float, Field(ge=0, le=1, description="fraction of edges inside a class")] = 0.8
    exponent: Annotated[float, Field(gt=2, description="power law of the degrees; larger is more even")] = 2.5
    features: Annotated[int, Field(ge=2, description="size of the vocabulary, at least classes; or dense width")] = 500
    dense: Annotated[bool, Field(description="Gaussian features instead of words")] = False
    words: Annotated[int, Field(ge=1, description="words drawn per node, repeats add up")] = 20
    signal: Annotated[
        float, Field(ge=0, le=1, description="chance that a word is of the class topic; dense: size of the class mean")
    ] = 0.2
    train_per_class: Annotated[int, Field(ge=1, description="training nodes, at most 1/3 of a class")] = 20
    val_per_class: Annotated[int, Field(ge=1, description="validation nodes, likewise")] = 30
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of everything drawn")] = 0

    def __call__(self, root: Path | None = None) -> Data:
        """The graph; ``root`` is not used.

        ``x`` is a float32 sparse CSR tensor whose rows sum to 1; if ``dense``, an ordinary one: noise of variance 1 in
        every feature, plus ``signal`` times the class's mean, which was drawn from that noise.

        Raises:
            GltError: too few nodes or words for the classes, or too many edges for the nodes.
        """
        if self.nodes < 3 * self.classes:
            raise GltError(
                f"dataset csbm: nodes = {self.nodes} is too small for {self.classes} classes, each needs "
                f"a training, a validation and a test node; use nodes >= {3 * self.classes}"
            )
        if self.features < self.classes and not self.dense:
            raise GltError(f"dataset csbm: features = {self.features}, must be >= classes = {self.classes}")
        rng = np.random.default_rng(self.seed)
        y = rng.permutation(self.nodes) % self.classes
        features = self._gaussian if self.dense else self._words
        edge_index, x, labels = self._arcs(rng, y), features(rng, y), torch.from_numpy(y)
        masks = per_class(labels, self.train_per_class, self.val_per_class, self.seed, shrink=True)
        return finished(x, edge_index, labels, masks, self.name, "accuracy", f"seeded-{self.seed}")

    def _arcs(self, rng: np.random.Generator, y: Ints) -> Tensor:
        """Both arcs of every edge, int64 ``[2, arcs]``, sorted by row and column."""
        weight = 1 + rng.pareto(self.exponent - 1, self.nodes)
        weight = np.minimum(weight, np.sqrt(weight.sum()))
        order = np.argsort(y, kind="stable")  # class by class: each class is an interval of `mass`
        mass = np.cumsum(weight[order])
        sizes = np.bincount(y, minlength=self.classes)
        ends = mass[np.cumsum(sizes) - 1]
        starts = np.concatenate([[0.0], ends[:-1]])

        def node_at(point: npt.NDArray[np.float64]) -> Ints:
            return order[np.minimum(np.searchsorted(mass, point, side="right"), self.nodes - 1)]

        def inside(count: int) -> tuple[Ints, Ints]:
            u = node_at(np.sort(rng.random(count)) * mass[-1])  # sorted: neighbouring look-ups
            c = y[u]
            v = node_at(starts[c] + rng.random(count) * (ends - starts)[c])
            same = y[v] == c  # all but for rounding at the ends of an interval
            return u[same], v[same]

        def outside(count: int) -> tuple[Ints, Ints]:
            u = node_at(np.sort(rng.random(count)) * mass[-1])
            c = y[u]
            point = rng.random(count) * (mass[-1] - (ends - starts)[c])
            v = node_at(np.where(point < starts[c], point, point + (ends - starts)[c]))  # step over u's class
            other = y[v] != c
            return u[other], v[other]

        edges = round(self.nodes * self.avg_degree / 2)
        near = round(self.homophily * edges)
        pairs = int((sizes * (sizes - 1) // 2).sum())
        far_pairs = self.nodes * (self.nodes - 1) // 2 - pairs
        kept = self._distinct(inside, near, pairs, "inside")
        keys = np.concatenate([kept, self._distinct(outside, edges - near, far_pairs, "between")])
        low, high = keys // self.nodes, keys % self.nodes
        keys = np.sort(np.concatenate([keys, high * self.nodes + low]))
        return torch.from_numpy(np.stack([keys // self.nodes, keys % self.nodes]))

    def _distinct(self, draw: Draw, wanted: int, pairs: int, where: str) -> Ints:
        """``wanted`` distinct edges as sorted keys ``low * nodes + high``, without loops."""
        keys = np.empty(0, dtype=np.int64)
        rounds = 1000 if wanted <= 0.9 * pairs else 0  # the last few pairs of all would take for ever
        while keys.size < wanted and rounds:
            u, v = draw(wanted - keys.size)  # as many as are missing: never too many
            new = (np.minimum(u, v) * self.nodes + np.maximum(u, v))[u != v]
            keys = np.sort(np.concatenate([keys, new]))  # not np.unique: several times slower since NumPy 2.3
            keys = keys[np.diff(keys, prepend=-1) > 0]
            rounds -= 1
        if keys.size < wanted:
            raise GltError(
                f"dataset csbm: avg_degree = {self.avg_degree} at homophily = {self.homophily} wants "
                f"{wanted} edges {where} classes, of {pairs} pairs; lower avg_degree or raise nodes"
            )
        return keys

    def _gaussian(self, rng: np.random.Generator, y: Ints) -> Tensor:
        """Float32 ``[nodes, features]``."""
        means = self.signal * rng.standard_normal((self.classes, self.features), dtype=np.float32)
        x = rng.standard_normal((self.nodes, self.features), dtype=np.float32)
        x += means[y]
        return torch.from_numpy(x)

    def _words(self, rng: np.random.Generator, y: Ints) -> Tensor:
        """Float32 CSR ``[nodes, features]``: the fraction of a node's words that each word is."""
        shape = (self.nodes, self.words)
        bounds = (np.arange(self.classes + 1) * self.features // self.classes).astype(np.int32)
        column = rng.integers(self.features, size=shape, dtype=np.int32)
        topical = rng.random(shape, dtype=np.float32) < self.signal
        row = np.nonzero(topical)[0]
        width = np.diff(bounds)[y[row]]
        column[topical] = bounds[y[row]] + (rng.random(row.size) * width).astype(np.int32)
        column.sort(axis=1)
        first = np.ones(shape, dtype=bool)
        np.not_equal(column[:, 1:], column[:, :-1], out=first[:, 1:])
        crow = np.concatenate([[0], np.cumsum(first.sum(axis=1))])
        starts = np.flatnonzero(first)
        count = np.diff(starts, append=first.size)  # a row's first word ends the run of the row above
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls its CSR support a beta, once
            return torch.sparse_csr_tensor(
                torch.from_numpy(crow),
                torch.from_numpy(column[first].astype(np.int64)),
                torch.from_numpy((count / self.words).astype(np.float32)),
                size=(self.nodes, self.features),
            )
