"""fit: the one training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import Data

from glt.batches.base import Batch
from glt.constraints import Constraint
from glt.errors import TrainingError
from glt.evaluate import metric_named
from glt.forward import Forward
from glt.losses import Loss, cross_entropy
from glt.registry import build, checked


@checked("train")
class Recipe:
    """How a model is trained; the defaults are those of UGS and TEDDY on Planetoid.

    Every batch is a step of the optimiser. Evaluation is on the whole graph; where it is only now and then, the best
    epoch is among those evaluated. By chunks (built-in backbones alone; another model ignores it) it holds the states
    of two layers and a chunk, and gives the same numbers up to rounding.
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

    def __post_init__(self) -> None:
        """Build the batches now, so that a bad option is an error before anything runs."""
        object.__setattr__(self, "batches", build("batches", self.batches))

    def build(self, model: nn.Module) -> Optimizer:
        """The optimiser over all of the model's parameters.

        A model with a ``parameter_groups()`` method says which of them have options of their own.
        """
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer]
        groups = model.parameter_groups() if hasattr(model, "parameter_groups") else model.parameters()  # type: ignore[operator]
        return kind(groups, lr=self.lr, weight_decay=self.weight_decay, fused=True)


@dataclass
class FitResult:
    """The outcome of one training, read at the best validation epoch.

    Attributes:
        state: parameters and buffers at that epoch (copies).
        logits: float [nodes, classes] of that state in evaluation mode.
        val, test: metric at that epoch, test read nowhere else.
        epoch: its number, from 1.
        last_val, last_test: metric after the last epoch, for comparison.
        epochs: epochs trained.
        seconds: wall-clock time.
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

    Args:
        model: called as :func:`glt.forward.Forward` says.
        data: a graph with y (int64 [nodes]) and bool train_mask, val_mask, test_mask [nodes].
        recipe: epochs and optimiser.
        seed: seed of dropout and whatever else the model draws.
        metric: a name of :data:`glt.evaluate.METRICS`.
        loss: function of the logits [nodes, classes], and with batches of their nodes (:data:`glt.losses.Loss`);
            cross-entropy on the training nodes by default.
        constrain: installs a constraint, e.g. ``lambda m, o: project_weights(m, o, 0.6)``.
        on_epoch: called with (epoch, validation metric) after every epoch that is evaluated; it must not change the
            weights.
        stop: asked with (model, epoch) after the step of every epoch; True makes it the last one. It must not change
            the weights.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    started = time.perf_counter()
    score, everywhere = metric_named(metric), loss is not None
    loss = loss or cross_entropy(data)
    nodes = (torch.ones_like(data.train_mask) if everywhere else data.train_mask).nonzero().squeeze(1)
    val, test = (mask.nonzero().squeeze(1) for mask in (data.val_mask, data.test_mask))
    batches = recipe.batches(data, seed, nodes)
    forward = Forward(model, data, chunk=recipe.eval_chunk)
    devices = [data.x.device] if data.x.is_cuda else []
    with torch.random.fork_rng(devices), ExitStack() as constraints:
        torch.manual_seed(seed)
        optimizer = recipe.build(model)
        constraint = constraints.enter_context(constrain(model, optimizer)) if constrain else None
        best: FitResult | None = None
        model.train()
        for epoch in range(1, recipe.epochs + 1):
            for batch in batches(epoch):
                optimizer.zero_grad()
                value = loss(forward()) if batch is data else _loss_of(model, batch, loss)
                if not bool(torch.isfinite(value)):
                    raise TrainingError(
                        f"the loss became {value.item()} at epoch {epoch}: lower train.lr = {recipe.lr:g}"
                    )
                value.backward()
                optimizer.step()
            last = bool(stop and stop(model, epoch)) or epoch == recipe.epochs
            if not last and epoch % recipe.eval_every:
                continue
            logits = forward.evaluate(share=not last and batch is data)
            if last and not bool(torch.isfinite(logits).all()):
                raise TrainingError(
                    f"the logits became NaN or infinite at epoch {epoch}: lower train.lr = {recipe.lr:g}"
                )
            val_now = score(logits[val], data.y[val])
            if (best is None or val_now >= best.val) and (constraint is None or constraint.holds()):
                state = _copy(model.state_dict(), best.state if best else None)
                best = FitResult(state, logits, val_now, 0.0, epoch, val_now, 0.0, recipe.epochs, 0.0)
            if on_epoch:
                on_epoch(epoch, val_now)
            if last:
                break
    if best is None:
        raise TrainingError("the weight constraint held at no epoch")
    best.test = score(best.logits[test], data.y[test])
    best.last_val, best.last_test = val_now, score(logits[test], data.y[test])
    best.epochs = epoch
    best.seconds = time.perf_counter() - started
    return best


def _loss_of(model: nn.Module, batch: Batch, loss: Loss) -> Tensor:
    """The loss on a batch, of the nodes that it is for."""
    return loss(Forward(model, batch)()[: batch.targets], batch.n_id[: batch.targets])


def _copy(state: dict[str, Tensor], into: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """A copy of ``state``, in the memory of an earlier one if there is one."""
    if into is None:
        return {k: v.detach().clone() for k, v in state.items()}
    for name, value in state.items():
        into[name].copy_(value)
    return into
