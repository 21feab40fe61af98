"""fit_together: several trainings as one, where a device has more to give than one small model takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import Data

from glt import capture, stack
from glt.batches.full import Full
from glt.bests import Bests
from glt.capture import Captured
from glt.constraints import Constraint, _Freeze
from glt.errors import TrainingError
from glt.forward import Forward
from glt.kernels import recording
from glt.losses import Loss, side_by_side
from glt.stack import Stack
from glt.train import Constrain, FitResult, Recipe, fit

Watch = Callable[[int, float], None]


def fit_together(
    models: Sequence[nn.Module],
    graphs: Sequence[Data],
    recipe: Recipe,
    *,
    seeds: Sequence[int],
    metric: str = "accuracy",
    losses: Sequence[Loss | None] | None = None,
    constrains: Sequence[Constrain | None] | None = None,
    on_epochs: Sequence[Watch | None] | None = None,
) -> list[FitResult | TrainingError]:
    """Train several models of one shape in place: each as :func:`glt.train.fit` would, to rounding.

    Weights are stacked, so a layer is one product for all models; graphs that differ in their edges become one sparse
    operator. Each model has its own dropout (the numbers of its seed), loss, constraint and best epoch, and fails
    alone. What cannot be stacked is trained one after the other, and the results say so (``FitResult.together``):
    anything but the built-in stacks gcn, sage, gin, gat (without attention dropout) and mlp, mini-batches, evaluation
    by chunks, graphs that differ in more than edges and their weights.

    Args:
        models: see :func:`glt.train.fit`; so for the following, of which there is one per model.
        graphs: with the same nodes, features, labels and masks.
        recipe: of all.
        seeds: of dropout.
        metric: of all.
        losses: cross-entropy by default.
        constrains: none by default. Each is installed on its own model, and a stand-in for its optimiser.
        on_epochs: as ``on_epoch`` of each model.

    Returns:
        per model its result, or the TrainingError with which it failed. ``seconds`` is the model's share of the time.

    Cost: the memory of all trainings at once. On CPU it is no faster.
    """
    count = len(models)
    losses, constrains = losses or [None] * count, constrains or [None] * count
    on_epochs = on_epochs or [None] * count
    reason = _why_not(models, graphs, recipe)
    if count == 1 or reason:
        alone = zip(models, graphs, seeds, losses, constrains, on_epochs, strict=True)
        return [_alone(recipe, metric, reason, *one) for one in alone]
    together = _Together(models, graphs, recipe, seeds, metric, losses, constrains, on_epochs)
    try:
        return together.fit()
    finally:
        together.stack.release()


def _why_not(models: Sequence[nn.Module], graphs: Sequence[Data], recipe: Recipe) -> str:
    """Why these are not trained at once; ``""`` where they are."""
    if not isinstance(recipe.batches, Full):
        return "mini-batches"
    if recipe.eval_chunk:
        return "evaluation by chunks"
    if recipe.inductive:
        return "test nodes that come later"
    return stack.why_not(models, graphs)


def _alone(
    recipe: Recipe,
    metric: str,
    reason: str,
    model: nn.Module,
    data: Data,
    seed: int,
    loss: Loss | None,
    constrain: Constrain | None,
    on_epoch: Watch | None,
) -> FitResult | TrainingError:
    try:
        result = fit(model, data, recipe, seed=seed, metric=metric, loss=loss, constrain=constrain, on_epoch=on_epoch)
    except TrainingError as error:
        return error
    return replace(result, together=f"no: {reason}") if reason else result


class _Told(Optimizer):
    """The optimiser of one model of a stack, as its constraint sees it: a step does nothing but call the hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.parameters(), {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Tell the hooks that a step was made."""


class _Together:
    """One call of :func:`fit_together`."""

    def __init__(
        self,
        models: Sequence[nn.Module],
        graphs: Sequence[Data],
        recipe: Recipe,
        seeds: Sequence[int],
        metric: str,
        losses: Sequence[Loss | None],
        constrains: Sequence[Constrain | None],
        on_epochs: Sequence[Watch | None],
    ) -> None:
        self.models, self.data, self.recipe = models, graphs[0], recipe
        self.constrains, self.on_epochs = constrains, on_epochs
        self.loss = side_by_side(losses, self.data)
        self.stack = Stack(models, graphs, seeds)
        self.bests = Bests(self.stack, self.data, metric, recipe.epochs, recipe.lr)
        self.forward = Forward(self.stack.wide, self.data)

    def fit(self) -> list[FitResult | TrainingError]:
        started, data, epochs = time.perf_counter(), self.data, self.recipe.epochs
        cuda = data.x.is_cuda
        with torch.random.fork_rng([data.x.device] if cuda else []), recording() as kernels, ExitStack() as handles:
            self.optimizer = self.recipe.build(self.stack.wide)
            self.constraints = _Constraints(self.stack, self.constrains, handles, deferred=cuda)
            for model in (self.stack.wide, *self.models):
                model.train()

            def whole() -> None:
                self._step()
                self._look(True)

            captured = capture.why_not(data, False, self.bests.waits) or (
                "evaluation only now and then" if self.recipe.eval_every > 1 else ""
            )
            replayed = None
            if not captured:
                replayed = Captured(whole, data.x.device, self.stack.streams.generators)
            for epoch in range(1, epochs + 1):
                last = epoch == epochs
                if replayed:
                    replayed()
                else:
                    self._step()
                    if not last and epoch % self.recipe.eval_every:
                        continue
                    self._look(last)
                for t, told, val in self.bests.news(last):
                    watch = self.on_epochs[t]
                    if watch:
                        watch(told, val)
                if self.bests.lost:
                    break
        seconds = (time.perf_counter() - started) / len(self.models)
        return self.bests.results(seconds, "+".join(sorted(kernels)), replayed.said if replayed else f"no: {captured}")

    def _step(self) -> None:
        self.optimizer.zero_grad()
        values = self.loss(self._apart(self.forward()))
        self.bests.loss(values)
        values.sum().backward()
        self.optimizer.step()
        self.constraints.step(self.bests)

    def _look(self, last: bool) -> None:
        logits = self._apart(self.forward.evaluate(share=not last))
        self.bests.offer(logits, self.constraints, last)

    def _apart(self, logits: Tensor) -> Tensor:
        """Logits model by model, [nodes, models, classes]."""
        return logits.view(logits.size(0), len(self.models), -1)


class _Constraints:
    """The constraints of the models of a stack, in one go where they are masks that stay."""

    def __init__(
        self, models: Stack, constrains: Sequence[Constrain | None], handles: ExitStack, deferred: bool
    ) -> None:
        self.stack = models
        self.told = [_Told(model) for model in models.models]
        self.each: list[Constraint | None] = []
        for model, told, constrain in zip(models.models, self.told, constrains, strict=True):
            self.each.append(handles.enter_context(constrain(model, told)) if constrain else None)
        for constraint in self.each:
            if constraint is not None:
                constraint.deferred = deferred
        self._pruned: dict[str, Tensor] = {}
        frozen = [constraint for constraint in self.each if type(constraint) is _Freeze]
        if len(frozen) == len(self.each) and all(one.masks.keys() == frozen[0].masks.keys() for one in frozen):
            self._pruned = {name: ~torch.stack([one.masks[name] for one in frozen]) for name in frozen[0].masks}
        self._counted = self._of_one_kind()

    def _of_one_kind(self) -> Tensor | None:
        """How many weights each may have, where all count the same parameters in the usual way."""
        usual = Constraint.holding, Constraint.holds
        known = [one for one in self.each if one is not None and (type(one).holding, type(one).holds) == usual]
        if len(known) < len(self.each) or any(one.parameters.keys() != known[0].parameters.keys() for one in known):
            return None
        return torch.tensor([one.keep for one in known], device=self.stack.device)

    @torch.no_grad()
    def step(self, bests: Bests) -> None:
        """Enforce them after a step; what fails is told to ``bests``."""
        if self._pruned:
            for name, pruned in self._pruned.items():
                parameter = self.stack.wide.get_parameter(name)
                self.stack.apart(name, parameter).masked_fill_(pruned, 0)
            return
        for t, (constraint, told) in enumerate(zip(self.each, self.told, strict=True)):
            if constraint is None or t in bests.failed:
                continue
            try:
                told.step()
            except TrainingError as error:
                bests.fail(t, error)
            if constraint.deferred and constraint.spoiled is not None:
                bests.spoil(t, constraint.spoiled)

    def holding(self) -> Tensor | bool:
        """Which of them hold, bool [models]; True where there are none."""
        if all(constraint is None for constraint in self.each):
            return True
        if self._counted is not None:
            wide, first = self.stack.wide, next(one for one in self.each if one is not None)
            left = [
                (self.stack.apart(name, wide.get_parameter(name)) != 0).flatten(1).sum(1) for name in first.parameters
            ]
            return torch.stack(left).sum(0) <= self._counted
        device = self.stack.device
        held = [one is None or (one.holding() if one.deferred else one.holds()) for one in self.each]
        return torch.stack([torch.as_tensor(one, device=device) for one in held])
