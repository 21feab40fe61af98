"""fit: the one training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch_geometric.data import Data

from glt.batches.base import Batch
from glt.batches.full import Full
from glt.best import Best, DeviceBest, tracker
from glt.capture import Captured, why_not
from glt.constraints import Constraint
from glt.errors import GltError, TrainingError
from glt.evaluate import metric_named
from glt.forward import Forward
from glt.kernels import recording
from glt.losses import Loss, cross_entropy
from glt.registry import build, checked


@checked("train")
class Recipe:
    """How a model is trained; the defaults are those of UGS and TEDDY on Planetoid.

    Every batch is a step of the optimiser. Evaluation is on the whole graph; where it is only now and then, the best
    epoch is among those evaluated. By chunks (built-in backbones alone, without deepergcn and gcnii; another model
    ignores it) it holds the states of two layers, three or four with attention, and a chunk, and gives the same numbers
    up to rounding.

    ``live`` is about trainings whose pruned weights stay zero (:func:`glt.frozen.fit_frozen`): the dead part of the
    network is not computed. Dropout draws other numbers there; without it, it is the same training to rounding.
    """

    epochs: Annotated[int, Field(ge=1, description="training epochs")] = 200
    lr: Annotated[float, Field(gt=0, description="learning rate")] = 0.01
    weight_decay: Annotated[float, Field(ge=0, description="l2 penalty of the optimiser")] = 5e-4
    optimizer: Annotated[Literal["adam", "adamw"], Field(description="torch optimiser")] = "adam"
    batches: Annotated[Any, Field(description="how the graph is batched, a name or {name: ..., options}")] = "full"
    eval_every: Annotated[int, Field(ge=1, description="epochs between evaluations; the last one always has one")] = 1
    eval_chunk: Annotated[
        int, Field(ge=0, description="evaluate layer by layer, so many nodes at a time; 0: the whole graph at once")
    ] = 0
    inductive: Annotated[
        bool, Field(strict=True, description="test nodes and their edges are absent until the test (glt.inductive)")
    ] = False
    live: Annotated[
        bool | Literal["auto"],
        Field(description="train the live units and features alone; auto: where whole units or features are pruned"),
    ] = "auto"

    def __post_init__(self) -> None:
        """Build the batches now, so that a bad option is an error before anything runs."""
        object.__setattr__(self, "batches", build("batches", self.batches))

    def build(self, model: nn.Module) -> Optimizer:
        """The optimiser over all of the model's parameters.

        A model with a ``parameter_groups()`` method says which of them have options of their own.
        """
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer]
        on_cuda = any(p.is_cuda for p in model.parameters())
        groups = parameter_groups(model)
        return kind(groups, lr=self.lr, weight_decay=self.weight_decay, fused=True, capturable=on_cuda)


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Groups for a torch optimiser: the model's own ``parameter_groups()`` where it has that method, else one."""
    if hasattr(model, "parameter_groups"):
        groups: list[dict[str, Any]] = model.parameter_groups()  # type: ignore[operator]
        return groups
    return [{"params": list(model.parameters())}]


@dataclass
class FitResult:
    """The outcome of one training, read at the best validation epoch.

    Attributes:
        state: parameters and buffers at that epoch (copies).
        logits: float [nodes, classes] of that state in evaluation mode.
        val, test: metric at that epoch, test read nowhere else; NaN where the graph has no test node.
        epoch: its number, from 1.
        last_val, last_test: metric after the last epoch, for comparison.
        epochs: epochs trained.
        seconds: wall-clock time.
        kernels: which of the registered kernels computed sparse products, e.g. ``"matmul+reduce"``; ``""`` for none.
        captured: whether epochs ran as a CUDA graph: ``"yes"``, or ``"no: ..."`` with the reason.
        together: how many models were trained at once (:func:`glt.together.fit_together`); ``"no: ..."`` with the
            reason where that was asked for and could not be.
        last: parameters and buffers after the last epoch, where the graph has no test node and others are to be read.
        live: of a training of :func:`glt.frozen.fit_frozen`: how much of the network was computed, see there.
    """

    state: dict[str, Tensor]
    logits: Tensor
    val: float
    test: float
    epoch: int
    last_val: float
    last_test: float
    epochs: int
    seconds: float
    kernels: str = ""
    captured: str = "no"
    together: int | str = 1
    last: dict[str, Tensor] | None = None
    live: str = ""


Constrain = Callable[[nn.Module, Optimizer], Constraint]
Stop = Callable[[nn.Module, int], bool]


def fit(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    seed: int = 0,
    metric: str = "accuracy",
    loss: Loss | None = None,
    constrain: Constrain | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Stop | None = None,
) -> FitResult:
    """Train ``model`` in place and read it at its best validation epoch.

    Every batch of the recipe is a step, the whole graph by default; evaluation is always on the whole graph. The best
    epoch is the latest of those with the highest validation metric, among epochs at which the weight constraint holds
    and that were evaluated. The global random state is left as it was.

    On CUDA the epochs of a small graph are recorded after the first three and replayed (:mod:`glt.capture`;
    ``GLT_CUDA_GRAPH=off`` says no): what model, loss and constraint decide in Python stays as it was then.

    Args:
        model: called as :func:`glt.forward.Forward` says.
        data: a graph with y (int64 [nodes] or float [nodes, tasks]) and bool train_mask, val_mask, test_mask [nodes].
        recipe: epochs and optimiser.
        seed: seed of dropout and whatever else the model draws.
        metric: a name of :data:`glt.evaluate.METRICS`.
        loss: function of the logits [nodes, classes], and with batches of their nodes (:data:`glt.losses.Loss`);
            cross-entropy on the training nodes by default.
        constrain: installs a constraint, e.g. ``lambda m, o: project_weights(m, o, 0.6)``.
        on_epoch: called with (epoch, validation metric) for every epoch that is evaluated, after it; it must not change
            the weights. On other devices than the CPU the calls come in bursts: nothing else waits for the device.
        stop: asked with (model, epoch) after the step of every epoch; True makes it the last one. It must not change
            the weights.

    Raises:
        TrainingError: the loss became NaN or infinite.
        GltError: batches that are not possible, or of one node where the model has batch normalisation; an inductive
            recipe, and a graph that has its test nodes.
    """
    started = time.perf_counter()
    score, everywhere = metric_named(metric), loss is not None
    loss = loss or cross_entropy(data)
    nodes = (torch.ones_like(data.train_mask) if everywhere else data.train_mask).nonzero().squeeze(1)
    test = data.test_mask.nonzero().squeeze(1)
    if recipe.inductive and test.numel():
        raise GltError("train.inductive: there are test nodes: train on glt.inductive.without_test_nodes(data)")
    batches, full = recipe.batches(data, seed, nodes), isinstance(recipe.batches, Full)
    forward = Forward(model, data, chunk=recipe.eval_chunk)
    kind = tracker if full and recipe.eval_every == 1 else Best
    best = kind(model, data, metric, recipe.epochs, recipe.lr)
    devices = [data.x.device] if data.x.is_cuda else []
    with torch.random.fork_rng(devices), recording() as kernels, ExitStack() as constraints:
        torch.manual_seed(seed)
        optimizer = recipe.build(model)
        constraint = constraints.enter_context(constrain(model, optimizer)) if constrain else None
        if constraint is not None:
            constraint.deferred = isinstance(best, DeviceBest)
        logits = torch.empty(0)

        def step(epoch: int) -> None:
            for batch in batches(epoch):
                optimizer.zero_grad()
                value = loss(forward()) if batch is data else _loss_of(model, batch, loss)
                best.loss(value, epoch)
                value.backward()
                optimizer.step()

        def look(last: bool) -> None:
            nonlocal logits
            logits = forward.evaluate(share=full and not last)
            best.offer(logits, constraint, last)

        def whole() -> None:  # looks as after the last epoch: what is captured must leave nothing to the next one
            step(0)
            look(True)

        captured = f"no: {reason}" if (reason := why_not(data, stop is not None, best.waits, kind is tracker)) else ""
        replayed = None if captured else Captured(whole, data.x.device)
        model.train()
        for epoch in range(1, recipe.epochs + 1):
            if replayed:
                replayed()
                last = epoch == recipe.epochs
            else:
                step(epoch)
                last = bool(stop and stop(model, epoch)) or epoch == recipe.epochs
                if not last and epoch % recipe.eval_every:
                    continue
                look(last)
            for told, val in best.news(last):
                if on_epoch:
                    on_epoch(told, val)
            if last:
                break
    found = best.found
    if found is None:
        raise TrainingError("the weight constraint held at no epoch")
    return FitResult(
        state=found.state,
        logits=found.logits,
        val=found.val,
        test=score(found.logits[test], data.y[test]) if test.numel() else math.nan,
        epoch=found.epoch,
        last_val=best.last_val,
        last_test=score(logits[test], data.y[test]) if test.numel() else math.nan,
        epochs=epoch,
        seconds=time.perf_counter() - started,
        kernels="+".join(sorted(kernels)),
        captured=replayed.said if replayed else captured,
        last=None if test.numel() else {k: v.detach().clone() for k, v in model.state_dict().items()},
    )


def _loss_of(model: nn.Module, batch: Batch, loss: Loss) -> Tensor:
    """The loss on a batch, of the nodes that it is for."""
    if batch.num_nodes == 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise GltError(
            f"train.batches: a batch of the graph's {batch.whole.num_nodes} nodes has one node, too few for batch "
            "normalisation: take larger batches, or norm = layer"
        )
    return loss(Forward(model, batch)()[: batch.targets], batch.n_id[: batch.targets])
