"""Problem: what a strategy works on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.check import check_data, num_classes
from glt.constraints import Masks, prunable_weights
from glt.datasets.splits import of_seed
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.evaluate import metric_named
from glt.forward import Forward
from glt.fresh import fresh
from glt.frozen import fit_frozen
from glt.inductive import arrived, scorer_of, without_test_nodes
from glt.losses import Loss
from glt.maskable import check_arcs_in_training, check_soft_masks
from glt.registry import spec_of
from glt.schedules.level import Level
from glt.select import keep_count
from glt.sparsify import remove_arcs, weigh_arcs
from glt.tasks import default_metric
from glt.ticket import Ticket
from glt.train import Constrain, FitResult, Recipe, Stop, fit

SCORES = ("val", "test", "epoch", "last_val", "last_test")
"""What a ticket's metrics say of its training, as of :class:`~glt.train.FitResult`."""


class Cost(Protocol):
    """What a training took."""

    @property
    def epochs(self) -> int:
        """Epochs trained."""

    @property
    def seconds(self) -> float:
        """Wall-clock time."""


OnEpoch = Callable[[str, int, float], None]
OnRound = Callable[[Ticket], None]
"""Called with the ticket of a round that an iterative search can go on from, as its ``start``."""
Remembered = Callable[[Any, Callable[[], Tensor]], Tensor]
"""Called with (what defines a tensor, how to make it); gives the tensor, made now or before."""


class Problem:
    """A graph, its edges, a model with its initial weights, and a recipe; the same for every strategy.

    Args:
        data: a graph with x, edge_index, y and the three masks; checked by :func:`glt.check.check_data`. Masks may hold
            several splits, of which the seed takes one (:func:`glt.datasets.splits.of_seed`).
        model: a module (its present weights are the initial ones; it is not modified), or a backbone, which
            is initialised under ``seed``.
        recipe: how models are trained (default: :class:`~glt.train.Recipe`).
        seed: seed of initial weights, dropout and everything else.
        metric: a name of :data:`glt.evaluate.METRICS` (default: :func:`glt.tasks.default_metric`).
        undirected: whether (u, v) and (v, u) are one edge (default: ``data.undirected`` or True).
        config: recorded in every ticket.
        on_epoch: called with (phase, epoch, validation metric).

    Attributes:
        data: the graph that everything is searched and trained on: without the test nodes if the recipe is inductive.
        whole: with them.
        on_round: where an iterative strategy hands the ticket of every round that is not asked for, and of a level that
            still has to be trained; by default nobody listens.

    Raises:
        GltError: the data is not fit for a search, or the model cannot be called on it.
    """

    def __init__(
        self,
        data: Data,
        model: nn.Module | Callable[[int, int], nn.Module],
        recipe: Recipe | None = None,
        seed: int = 0,
        metric: str | None = None,
        undirected: bool | None = None,
        config: dict[str, Any] | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        data = of_seed(data, seed)
        check_data(data)
        if undirected is None:
            undirected = bool(data.get("undirected", True))
        self.whole = copy.copy(data)
        self.whole.undirected = undirected  # scorers ask for it
        self.recipe = recipe or Recipe()
        self.data = without_test_nodes(self.whole) if self.recipe.inductive else self.whole
        self.seed = seed
        self.metric: str = metric or default_metric(data)
        self.config = config or {}
        if self.recipe.inductive:  # what a ticket has to say of itself
            self.config = {"train": spec_of(self.recipe), **self.config}
        self.on_epoch = on_epoch
        self.edges = PrunableEdges.of(self.data.edge_index, self.data.num_nodes, undirected)
        self.undirected = undirected
        self._model = fresh(model, self.data, seed, self.logits)
        self._soft_masked: set[bool] = set()
        self.remembered: Remembered = lambda _, make: make()
        self.on_round: OnRound = lambda _: None
        self._early: dict[int, tuple[dict[str, Tensor], list[Cost]]] = {}
        self.initial = {k: v.detach().clone() for k, v in self._model.state_dict().items()}

    @property
    def num_classes(self) -> int:
        """Number of classes or tasks; see :func:`glt.tasks.outputs`."""
        return num_classes(self.data)

    @cached_property
    def dense(self) -> FitResult:
        """The full graph with all weights, trained once: the reference, and TEDDY's teacher."""
        result = self.fit(self.data, phase="dense")
        self._test(result, self.masks()[0])
        return result

    def logits(self, model: nn.Module, data: Data) -> Tensor:
        """Logits of all nodes in evaluation mode, as training evaluates: float [nodes, classes]."""
        return Forward(model, data, chunk=self.recipe.eval_chunk).evaluate()

    def model(self) -> nn.Module:
        """A fresh model at the initial weights."""
        return self.model_at(self.initial)

    def model_at(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A fresh model with the weights of ``state``."""
        model = copy.deepcopy(self._model)
        model.load_state_dict(state)
        return model

    def early(self, fraction: float) -> tuple[Mapping[str, Tensor], list[Cost]]:
        """(state of the dense training after ``fraction`` of its epochs, rounded; what that took); trained once."""
        epochs = round(fraction * self.recipe.epochs)
        if not epochs:
            return self.initial, []
        if epochs not in self._early:
            model = self.model()
            result = self.fit(self.data, model=model, epochs=epochs, phase="dense, early")
            self._early[epochs] = {k: v.detach().clone() for k, v in model.state_dict().items()}, [result]
        return self._early[epochs]

    def check_soft_masks(self, twice: bool = False) -> None:
        """Hold a soft mask of 0 to removal (:func:`glt.maskable.check_soft_masks`); where it holds, once."""
        if twice not in self._soft_masked:
            check_arcs_in_training(self.model(), self.data)
            check_soft_masks(self.model(), self.data, self.edges, twice)
            self._soft_masked.add(twice)

    def masks(self, ticket: Ticket | None = None, biases: bool = False) -> tuple[Tensor, Masks]:
        """(edge mask, weight masks by name) of a ticket, or of the dense pair: all True.

        Args:
            ticket: whose.
            biases: of the dense pair: over every trainable parameter, as of :func:`glt.constraints.prunable_weights`.
        """
        device = self.data.x.device
        if ticket:
            return ticket.edge_keep.to(device), {k: v.to(device) for k, v in ticket.weight_masks.items()}
        weights = {k: torch.ones_like(p, dtype=torch.bool) for k, p in prunable_weights(self._model, biases).items()}
        return torch.ones(self.edges.num_edges, dtype=torch.bool, device=device), weights

    def subgraph(self, keep: Tensor, weights: Tensor | None = None) -> Data:
        """The data without the edges where ``keep`` (bool [edges]) is False; ``weights``: float [edges] of the others.

        See :func:`glt.sparsify.weigh_arcs`.
        """
        return remove_arcs(weigh_arcs(self.data, self.edges, weights), self.edges.to_arcs(keep))

    def tested(self, keep: Tensor, weights: Tensor | None = None, scorer: Any = None) -> Data:
        """The graph on which the test nodes are read: :meth:`subgraph`, or where they come later :attr:`whole`.

        Args:
            keep: bool [edges].
            weights: float [edges]; as of :meth:`subgraph`.
            scorer: decides about the edges of new nodes; by default what the config's strategy says.

        Raises:
            GltError: nothing says how these are scored, or the others have weights.
        """
        if not self.recipe.inductive:
            return self.subgraph(keep, weights)
        if weights is not None:
            raise GltError("train.inductive: edges have weights, and new ones would have none: leave out reweight")
        return arrived(self.whole, self._whole_edges, keep, lambda: scorer or scorer_of(self.config, self.seed))

    @cached_property
    def _whole_edges(self) -> PrunableEdges:
        return PrunableEdges.of(self.whole.edge_index, int(self.whole.num_nodes or 0), self.undirected)

    def _test(self, result: FitResult, keep: Tensor, weights: Tensor | None = None, scorer: Any = None) -> None:
        """Where test nodes were absent from a training: read them now, into its result."""
        if not self.recipe.inductive:
            return
        graph, mask, score = self.tested(keep, weights, scorer), self.whole.test_mask, metric_named(self.metric)
        for name, state in (("test", result.state), ("last_test", result.last)):
            if state is not None:
                logits = self.logits(self.model_at(state), graph)
                setattr(result, name, score(logits[mask], self.whole.y[mask]))
        result.last = None

    def fit(
        self,
        data: Data,
        *,
        model: nn.Module | None = None,
        loss: Loss | None = None,
        constrain: Constrain | None = None,
        masks: Masks | None = None,
        phase: str = "fit",
        epochs: int | None = None,
        stop: Stop | None = None,
    ) -> FitResult:
        """Train ``model`` (default: a fresh one) on ``data`` for the recipe's epochs; see :func:`glt.train.fit`.

        ``masks`` instead of ``constrain``: weights outside of them stay zero; see :func:`glt.frozen.fit_frozen`.
        """
        on_epoch = self.on_epoch
        recipe = self.recipe if epochs is None else replace(self.recipe, epochs=epochs)
        how: dict[str, Any] = {
            "seed": self.seed,
            "metric": self.metric,
            "loss": loss,
            "on_epoch": None if on_epoch is None else lambda epoch, val: on_epoch(phase, epoch, val),
            "stop": stop,
        }
        if masks is not None:
            return fit_frozen(model or self.model(), data, masks, recipe, **how)
        return fit(model or self.model(), data, recipe, constrain=constrain, **how)

    def check(self, levels: Iterable[Level]) -> None:
        """Raise GltError if a level would leave no edge or no weight, or no way to score edges of new nodes."""
        levels = list(levels)
        if self.recipe.inductive and any(level.graph_sparsity for level in levels):
            scorer_of(self.config, self.seed)
        weights = sum(p.numel() for p in prunable_weights(self._model).values())
        for level in levels:
            self.edges.count(level.graph_sparsity)
            keep_count(weights, level.weight_sparsity, "weights")

    def ticket(
        self,
        level: Level,
        keep: Tensor,
        masks: Masks,
        result: FitResult | None,
        spent: Sequence[Cost] = (),
        initial: Mapping[str, Tensor] | None = None,
        edge_weights: Tensor | None = None,
        scorer: Any = None,
    ) -> Ticket:
        """The ticket of a level.

        Args:
            level: the level that was asked for.
            keep: bool [edges].
            masks: bool mask by parameter name; the result's weights are zero outside.
            result: the training whose score the ticket carries; None: it is still to be trained, and has no score.
            spent: the other trainings that were needed to find it.
            initial: the state it is rewound to (default: the initial weights).
            edge_weights: float [edges], as of :meth:`subgraph`.
            scorer: as of :meth:`tested`.
        """
        if result is not None:
            self._test(result, keep, edge_weights, scorer)
        costs = spent if result is None else (result, *spent)
        ticket = Ticket(
            edge_keep=keep.cpu(),
            weight_masks={k: v.cpu() for k, v in masks.items()},
            initial={k: v.cpu() for k, v in (initial or self.initial).items()},
            fingerprint=self.edges.fingerprint(),
            undirected=self.undirected,
            edge_weights=None if edge_weights is None else edge_weights.cpu(),
            config={**self.config, "seed": self.seed, "level": level.number},
            trained=None if result is None else {k: v.cpu() for k, v in result.state.items()},
            seconds=sum(cost.seconds for cost in costs),
        )
        ticket.metrics = {
            "metric": self.metric,
            **({} if result is None else {name: getattr(result, name) for name in SCORES}),
            "graph_sparsity": ticket.graph_sparsity,
            "weight_sparsity": ticket.weight_sparsity,
            "search_epochs": sum(cost.epochs for cost in costs),
        }
        if result is None:
            return ticket
        if result.kernels:
            ticket.versions["kernel"] = result.kernels
        if result.together != 1:
            ticket.metrics["together"] = result.together
        if result.live:
            ticket.metrics["live"] = result.live
        if self.data.x.is_cuda:
            ticket.metrics["cuda_graph"] = result.captured
        return ticket

    def dense_ticket(self, biases: bool = False) -> Ticket:
        """The dense pair as a ticket of level 0: every edge, every weight (``biases`` as of :meth:`masks`)."""
        return self.ticket(Level(0, 0.0, 0.0), *self.masks(biases=biases), self.dense)
