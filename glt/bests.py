"""The best epochs of models that are trained at once: :mod:`glt.best` for every model of a stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch_geometric.data import Data

from glt.best import INTERVAL, not_finite, take
from glt.constraints import SPOILED
from glt.errors import TrainingError
from glt.evaluate import DEVICE_METRICS, correct, metric_named
from glt.stack import Stack
from glt.tasks import is_multilabel
from glt.train import FitResult


class Holding(Protocol):
    """Constraints of all models."""

    def holding(self) -> Tensor | bool:
        """Which of them hold, bool [models], or whether all do."""


class Bests:
    """For each model of a stack the latest of the epochs with the highest validation metric at which it may be read.

    All is kept in tensors beside the models; off the CPU the host looks every :data:`glt.best.INTERVAL` epochs.

    Args:
        models: the stack.
        data: labels and masks of all.
        metric: a name of :data:`glt.evaluate.METRICS`.
        epochs: at most so many are offered.
        lr: the learning rate, for the error messages.

    Attributes:
        failed: models that failed, as far as the host has looked, with the error of each.
        waits: whether the host computes the metric.
        lost: whether all of them failed.
    """

    def __init__(self, models: Stack, data: Data, metric: str, epochs: int, lr: float) -> None:
        self.stack, self.lr, self.score = models, lr, metric_named(metric)
        self.failed: dict[int, TrainingError] = {}
        self.data, self.val = data, data.val_mask.nonzero().squeeze(1)
        self.y = data.y[self.val]
        self._on_cpu = self.y.device.type == "cpu"
        known = {} if is_multilabel(data.y) else DEVICE_METRICS
        self._known = known.get(metric)
        if self._on_cpu and self._known is not correct:
            self._known = None  # the exact one, as alone
        self.waits = self._known is None
        count, on = len(models.models), {"device": self.y.device}
        self._count = count
        self._vals = torch.full((epochs, count), float("nan"), dtype=torch.float64, **on)
        self._number = torch.zeros(1, dtype=torch.int64, **on)
        self._best = torch.full((count,), float("-inf"), dtype=torch.float64, **on)
        self._best_epoch, self._loss_epoch, self._spoiled_epoch = torch.zeros(3, count, dtype=torch.int64, **on)
        self._loss = torch.zeros(count, dtype=torch.float64, **on)
        self._state = {name: models.apart(name, v.detach()).clone() for name, v in models.wide.state_dict().items()}
        self._logits: Tensor | None = None
        self._latest = torch.empty(0)
        self._asked = self._told = 0

    @property
    def lost(self) -> bool:
        return len(self.failed) == self._count

    def fail(self, t: int, error: TrainingError) -> None:
        """Model ``t`` failed in this epoch's step."""
        self.failed.setdefault(t, error)

    def spoil(self, t: int, spoiled: Tensor) -> None:
        """Whether (bool 0-d) the step made a weight of model ``t`` NaN."""
        take(spoiled & (self._spoiled_epoch[t] == 0), self._number.view(()), self._spoiled_epoch[t])

    @torch.no_grad()
    def loss(self, values: Tensor) -> None:
        """Note the losses of an epoch, [models], before its step."""
        self._number += 1
        first = ~torch.isfinite(values) & (self._loss_epoch == 0)
        take(first, values.double(), self._loss)
        take(first, self._number, self._loss_epoch)
        if self._on_cpu and bool(first.any()):
            self._look_for_losses()

    @torch.no_grad()
    def offer(self, logits: Tensor, constraints: Holding, last: bool) -> None:
        """Note the models after an epoch's step, with their logits in evaluation mode, [nodes, models, classes].

        Raises:
            GltError: at the first: the metric is not for these labels or logits.
        """
        self._latest = logits
        if self._logits is None and self._known:  # the host's version raises what that of the device cannot
            self.score(logits[self.val, 0], self.y)
        val = self._scored(logits[self.val]).to(self._vals)
        self._vals.index_copy_(0, self._number - 1, val.view(1, -1))
        better = (val >= self._best) & (self._loss_epoch == 0) & (self._spoiled_epoch == 0)
        if not self._on_cpu or bool(better.any()):
            better = better & constraints.holding()
        if self._logits is None:
            self._logits = logits.clone()
        take(better, val, self._best)
        take(better, self._number, self._best_epoch)
        state = {name: self.stack.apart(name, value) for name, value in self.stack.wide.state_dict().items()}
        if self._on_cpu:
            for t in better.nonzero().flatten().tolist():
                self._logits[:, t] = logits[:, t]
                for name, value in state.items():
                    self._state[name][t] = value[t]
            return
        take(better.view(1, -1, 1), logits, self._logits)
        for name, value in state.items():
            take(better.view(-1, *[1] * (value.dim() - 1)), value, self._state[name])

    def _scored(self, logits: Tensor) -> Tensor:
        if self._known is correct:
            return (logits.argmax(dim=-1) == self.y.unsqueeze(1)).double().mean(dim=0)
        score = self._known or self.score
        return torch.stack([torch.as_tensor(score(one, self.y), dtype=torch.float64) for one in logits.unbind(1)])

    def news(self, last: bool) -> Iterator[tuple[int, int, float]]:
        """(model, epoch, validation metric) of what is not told yet, of models that go on.

        On CPU after every epoch, else every few epochs and at the end.
        """
        self._asked += 1
        if not (last or self._on_cpu or self._asked % INTERVAL == 0):
            return
        self._look_for_losses()
        first, self._told = self._told, self._epochs()
        vals = self._vals[first : self._told].tolist()
        for epoch, row in enumerate(vals, start=first + 1):
            for t, val in enumerate(row):
                if t not in self.failed and val == val:
                    yield t, epoch, val

    def _epochs(self) -> int:
        """Epochs so far; replayed ones are counted on the device alone."""
        return int(self._number)

    def _look_for_losses(self) -> None:
        lost, spoiled, values = (each.tolist() for each in (self._loss_epoch, self._spoiled_epoch, self._loss))
        for t in range(self._count):
            bad = min(lost[t] or spoiled[t], spoiled[t] or lost[t])
            if bad:
                wrong = lost[t] == bad
                self.fail(t, not_finite("loss", values[t], bad, self.lr) if wrong else TrainingError(SPOILED))

    def results(self, seconds: float, kernels: str, captured: str) -> list[FitResult | TrainingError]:
        """Of every model, after the last epoch's news."""
        epochs, test = self._epochs(), self.data.test_mask.nonzero().squeeze(1)
        best_epochs, bests, last_vals = (
            each.tolist() for each in (self._best_epoch, self._best, self._vals[epochs - 1])
        )
        found: list[FitResult | TrainingError] = []
        for t in range(self._count):
            last = self._latest[:, t] if self._latest.numel() else self._latest
            if t not in self.failed and not bool(torch.isfinite(last).all()):
                self.fail(t, not_finite("logits", "NaN or infinite", epochs, self.lr))
            elif not best_epochs[t]:
                self.fail(t, TrainingError("the weight constraint held at no epoch"))
            if t in self.failed or self._logits is None:
                found.append(self.failed[t])
                continue
            logits = self._logits[:, t].clone(memory_format=torch.contiguous_format)
            found.append(
                FitResult(
                    state={name: value[t].clone() for name, value in self._state.items()},
                    logits=logits,
                    val=bests[t],
                    test=self.score(logits[test], self.data.y[test]),
                    epoch=best_epochs[t],
                    last_val=last_vals[t],
                    last_test=self.score(last[test], self.data.y[test]),
                    epochs=epochs,
                    seconds=seconds,
                    kernels=kernels,
                    captured=captured,
                    together=self._count,
                )
            )
        return found
