"""What is timed side by side: one function per variant, registered under its name."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.utils import prune
from torch_geometric.data import Data

from glt.forward import arguments_of
from glt.ticket import Ticket

Graph = Literal["full", "ticket"]


class Unsupported(Exception):
    """A variant cannot be made here; the message says why, in a few words."""


@dataclass
class Runner:
    """A variant, ready for one graph.

    Attributes:
        call: gives logits, float [nodes, classes].
        held: all that it computes with: modules, tensors, dataclasses of tensors; None if its memory is not torch's.
    """

    call: Callable[[], Tensor]
    held: Any


@dataclass
class Case:
    """A ticket with what its variants are made of.

    Attributes:
        ticket: with trained weights.
        model: of its architecture; its weights are those of the dense variants.
        data: its full graph.
        options: of :func:`glt.compact.build.compact`.
    """

    ticket: Ticket
    model: nn.Module
    data: Data
    options: dict[str, Any]

    @cached_property
    def sub(self) -> Data:
        """The ticket's graph."""
        return self.ticket.apply(self.data)

    @cached_property
    def compact(self) -> Any:
        """The ticket's compact model."""
        return self.ticket.compact(self.model, self.data, **self.options)

    def dense(self) -> nn.Module:
        """A copy of the dense model."""
        return copy.deepcopy(self.model).eval().requires_grad_(False)

    def masked(self) -> nn.Module:
        """The ticket's trained weights, with zeros where they are pruned."""
        return self.ticket.restore(self.dense())


Make = Callable[[Case], Callable[[Data], Runner]]


@dataclass(frozen=True)
class Variant:
    """A way to compute logits.

    Attributes:
        name: in tables and records.
        graph: which graph it runs on.
        same: the variant whose logits it has, up to rounding; "" for weights of its own.
        make: builds it once; the result makes it ready for a graph. Raises Unsupported.
    """

    name: str
    graph: Graph
    same: str
    make: Make


VARIANTS: dict[str, Variant] = {}


def variant(name: str, graph: Graph, same: str = "") -> Callable[[Make], Make]:
    """Register a function as a variant."""

    def wrap(make: Make) -> Make:
        VARIANTS[name] = Variant(name, graph, same, make)
        return make

    return wrap


def variants() -> dict[str, Variant]:
    """All of them, stock PyG first."""
    importlib.import_module("glt.bench.torch_pruning")
    return VARIANTS


def called(model: nn.Module, data: Data, plain: bool) -> Runner:
    """A module on a graph: its own prepared form, or PyG's layers on dense features and ``edge_index``."""
    arguments, options = arguments_of(model, data, plain)
    return Runner(lambda: model(*arguments, **options), (model, arguments, options))


@variant("stock PyG", "full")
def _stock(case: Case) -> Callable[[Data], Runner]:
    """The dense model as PyG's layers compute it."""
    model = case.dense()
    return lambda data: called(model, data, True)


@variant("dense", "full", "stock PyG")
def _dense(case: Case) -> Callable[[Data], Runner]:
    """The dense model as glt's training loop computes it: normalised once, features sparse where that is faster."""
    model = case.dense()
    return lambda data: called(model, data, False)


@variant("torch prune", "ticket")
def _pruned(case: Case) -> Callable[[Data], Runner]:
    """PyG's layers under ``torch.nn.utils.prune``, as it leaves them: a mask multiplied in every call."""
    model = case.masked()
    for name, mask in case.ticket.weight_masks.items():
        owner, _, own = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(owner), own, mask.to(case.data.x.device))
    return lambda data: called(model, data, True)


@variant("masked", "ticket", "torch prune")
def _masked(case: Case) -> Callable[[Data], Runner]:
    """The ticket with zeros in dense weights, as glt's training loop computes it."""
    model = case.masked()
    return lambda data: called(model, data, False)


@variant("compact", "ticket", "torch prune")
def _compact(case: Case) -> Callable[[Data], Runner]:
    """The ticket as it is used."""
    made = case.compact

    def ready(data: Data) -> Runner:
        on = made if data is case.sub else made.on(data)
        return Runner(on, (on, on.ready))

    return ready
