"""fit: the one training loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import Data

from glt.constraints import Constraint
from glt.errors import TrainingError
from glt.evaluate import metric_named
from glt.forward import Forward
from glt.losses import Loss, cross_entropy
from glt.registry import checked


@checked("train")
class Recipe:
    """How a model is trained; the defaults are those of UGS and TEDDY on Planetoid."""

    epochs: Annotated[int, Field(ge=1, description="training epochs")] = 200
    lr: Annotated[float, Field(gt=0, description="learning rate")] = 0.01
    weight_decay: Annotated[float, Field(ge=0, description="l2 penalty of the optimiser")] = 5e-4
    optimizer: Annotated[Literal["adam", "adamw"], Field(description="torch optimiser")] = "adam"

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
    """Train ``model`` in place on the full graph and read it at its best validation epoch.

    The best epoch is the latest of those with the highest validation metric, among epochs at which the weight
    constraint holds. The global random state is left as it was.

    Args:
        model: called as :func:`glt.forward.Forward` says.
        data: a graph with y (int64 [nodes] or float [nodes, tasks]) and bool train_mask, val_mask, test_mask [nodes].
        recipe: epochs and optimiser.
        seed: seed of dropout and whatever else the model draws.
        metric: a name of :data:`glt.evaluate.METRICS`.
        loss: function of the logits [nodes, classes]; cross-entropy on the training nodes by default.
        constrain: installs a constraint, e.g. ``lambda m, o: project_weights(m, o, 0.6)``.
        on_epoch: called with (epoch, validation metric) after every epoch; it must not change the weights.
        stop: asked with (model, epoch) after the step of every epoch; True makes it the last one. It must not change
            the weights.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    started = time.perf_counter()
    score, loss = metric_named(metric), loss or cross_entropy(data)
    val, test = (mask.nonzero().squeeze(1) for mask in (data.val_mask, data.test_mask))
    forward = Forward(model, data)
    devices = [data.x.device] if data.x.is_cuda else []
    with torch.random.fork_rng(devices), ExitStack() as constraints:
        torch.manual_seed(seed)
        optimizer = recipe.build(model)
        constraint = constraints.enter_context(constrain(model, optimizer)) if constrain else None
        best: FitResult | None = None
        model.train()
        for epoch in range(1, recipe.epochs + 1):
            optimizer.zero_grad()
            value = loss(forward())
            if not bool(torch.isfinite(value)):
                raise TrainingError(f"the loss became {value.item()} at epoch {epoch}: lower train.lr = {recipe.lr:g}")
            value.backward()
            optimizer.step()
            last = bool(stop and stop(model, epoch)) or epoch == recipe.epochs
            logits = forward.evaluate(share=not last)
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


def _copy(state: dict[str, Tensor], into: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """A copy of ``state``, in the memory of an earlier one if there is one."""
    if into is None:
        return {k: v.detach().clone() for k, v in state.items()}
    for name, value in state.items():
        into[name].copy_(value)
    return into
