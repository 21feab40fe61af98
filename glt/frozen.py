"""fit_frozen: training under masks that stay, of the whole network or of its live part alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import Data

from glt.batches.full import Full
from glt.constraints import Constraint, Masks, freeze_weights
from glt.part import Part
from glt.train import FitResult, Recipe, fit, parameter_groups


def fit_frozen(model: nn.Module, data: Data, masks: Masks, recipe: Recipe, **how: Any) -> FitResult:
    """Train ``model`` in place with its pruned weights at zero: :func:`glt.train.fit` under ``freeze_weights``.

    Where ``recipe.live`` says so, hidden units and input features that no kept weight needs are left out of the
    matrices meanwhile, and put back after it. Without dropout and on the whole graph that is the same training to
    rounding; dropout draws other numbers. Of what is left out, weights and biases are what weight decay makes of them
    alone, as in the training of the whole, and running statistics stay as they were: nothing reads them.

    Args:
        model: see :func:`glt.train.fit`.
        data: see there.
        masks: bool by parameter name, as of :func:`glt.constraints.freeze_weights`.
        recipe: see there.
        how: the other arguments of :func:`glt.train.fit`.

    Returns:
        the result; ``live`` is ``"yes: ..."`` or ``"no: ..."`` with what was left out, or why nothing, and ``""`` where
        that was not asked for.
    """
    started = time.perf_counter()
    part = part_of(model, data, masks, recipe)
    if isinstance(part, Part):
        result = _fit_part(part, model, recipe, how)
        return replace(result, seconds=time.perf_counter() - started)
    result = fit(model, data, recipe, constrain=partial(freeze_weights, masks=masks), **how)
    return replace(result, live=f"no: {part}") if part else result


def part_of(model: nn.Module, data: Data, masks: Masks, recipe: Recipe) -> Part | str:
    """The live part where a recipe asks for it; else why not, ``""`` where it does not ask."""
    if recipe.live is False or (recipe.live == "auto" and not whole_lines(masks)):
        return ""
    try:
        with torch.random.fork_rng([]):
            return Part(model, data, masks)
    except Exception as reason:  # whatever a user's model does not like about it: it is trained whole
        return " ".join(str(reason).split()) or type(reason).__name__


def whole_lines(masks: Masks) -> bool:
    """Whether masks take rows and columns as a whole: units, input features."""
    for mask in masks.values():
        whole = mask.any(1, keepdim=True) & mask.any(0, keepdim=True) if mask.dim() == 2 else torch.ones_like(mask)
        if not torch.equal(mask, whole):
            return False
    return not all(bool(mask.all()) for mask in masks.values())


def _fit_part(part: Part, whole: nn.Module, recipe: Recipe, how: Mapping[str, Any]) -> FitResult:
    """Train the part; ``whole`` becomes what it then would be."""
    steps = 0

    def constrain(model: nn.Module, optimizer: Optimizer) -> Constraint:
        def stepped(*_: Any) -> None:
            nonlocal steps
            steps += 1

        optimizer.register_step_post_hook(stepped)
        return freeze_weights(model, optimizer, {k: mask for k, mask in part.masks.items() if not bool(mask.all())})

    result = fit(part.model, part.data, recipe, constrain=constrain, **how)
    # an epoch that is replayed calls no hook, and is one step
    each = 1 if isinstance(recipe.batches, Full) else steps / result.epochs
    rest = _Resting(whole, part.resting, recipe)
    state = part.whole_state(result.state, rest.after(round(result.epoch * each)))
    last = part.whole_state(part.model.state_dict(), rest.after(round(result.epochs * each)))
    whole.load_state_dict(last)
    return replace(result, state=state, last=result.last and last, live=f"yes: {part.said}")


class _Resting(nn.Module):
    """Entries without a gradient: weight decay alone moves them."""

    def __init__(self, whole: nn.Module, entries: Mapping[str, Tensor], recipe: Recipe) -> None:
        super().__init__()
        found = {name: p.detach()[entries[name]] for name, p in whole.named_parameters() if name in entries}
        self._values = {name: nn.Parameter(value.clone()) for name, value in found.items()}
        of = {id(p): self._values[name] for name, p in whole.named_parameters() if name in found}
        self._groups = [
            {**group, "params": [of[id(p)] for p in group["params"] if id(p) in of]}
            for group in parameter_groups(whole)
        ]
        for name, value in self._values.items():
            self.register_parameter(name.replace(".", " "), value)
        self._optimizer = recipe.build(self) if any(value.numel() for value in self._values.values()) else None
        self._steps = 0

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the whole model."""
        return [group for group in self._groups if group["params"]]

    def after(self, steps: int) -> dict[str, Tensor]:
        """The entries after so many steps in all: never fewer than before."""
        if self._optimizer is not None:
            for value in self._values.values():
                value.grad = torch.zeros_like(value)
            for _ in range(steps - self._steps):
                self._optimizer.step()
        self._steps = steps
        return {name: value.detach().clone() for name, value in self._values.items()}
