"""The best epoch of a training: where it is kept, and how it is found without waiting for a device.

On CPU every epoch's numbers are looked at as they come (:class:`Best`). On another device that would stop the host
once per epoch until all work is done, so there the comparison happens on the device and the host looks every
:data:`INTERVAL` epochs (:class:`DeviceBest`). Both find the same epoch and raise the same errors, the second one later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.constraints import SPOILED, Constraint
from glt.errors import TrainingError
from glt.evaluate import DEVICE_METRICS, metric_named
from glt.tasks import is_multilabel

INTERVAL = 25
"""Epochs between two looks at a device."""


@dataclass
class Found:
    """An epoch: copies of parameters and buffers, logits [nodes, classes], validation metric, number from 1."""

    state: dict[str, Tensor]
    logits: Tensor
    val: float
    epoch: int


class Best:
    """The latest of the epochs with the highest validation metric at which the weight constraint holds.

    Args:
        model: what is trained.
        data: labels and val_mask.
        metric: a name of :data:`glt.evaluate.METRICS`.
        epochs: at most so many are offered.
        lr: the learning rate, for the error messages.

    Attributes:
        found: the best epoch so far; None before there is one.
        last_val: metric of the latest epoch.
        waits: whether the host computes the metric.
    """

    waits = True

    def __init__(self, model: nn.Module, data: Data, metric: str, epochs: int, lr: float) -> None:
        self.model, self.lr = model, lr
        self.score = metric_named(metric)
        self.val = data.val_mask.nonzero().squeeze(1)
        self.y = data.y[self.val]
        self.found: Found | None = None
        self.last_val = float("nan")
        self._epoch = 0

    def loss(self, value: Tensor, epoch: int) -> None:
        """Note a loss (0-d) of an epoch, before its step.

        Raises:
            TrainingError: it is NaN or infinite.
        """
        self._epoch = epoch
        if not bool(torch.isfinite(value)):
            raise not_finite("loss", value.item(), self._epoch, self.lr)

    def offer(self, logits: Tensor, constraint: Constraint | None, last: bool = False) -> None:
        """Note the model as it is after an epoch's step, with its logits in evaluation mode.

        Raises:
            TrainingError: the logits of the ``last`` epoch are NaN or infinite.
        """
        if last:
            self._require_finite(logits, self._epoch)
        self.last_val = self.score(logits[self.val], self.y)
        found = self.found
        if (found is None or self.last_val >= found.val) and (constraint is None or constraint.holds()):
            state = _copy(self.model.state_dict(), found.state if found else None)
            self.found = Found(state, logits, self.last_val, self._epoch)

    def news(self, last: bool) -> Iterator[tuple[int, float]]:
        """(epoch, validation metric) of the epochs not told yet; ``last``: no other will come."""
        yield self._epoch, self.last_val

    def _require_finite(self, logits: Tensor, epoch: int) -> None:
        if not bool(torch.isfinite(logits).all()):
            raise not_finite("logits", "NaN or infinite", epoch, self.lr)


class DeviceBest(Best):
    """The same kept in tensors on the model's device: nothing waits for it but :meth:`news`, every few epochs.

    All that changes from epoch to epoch is written in place, so an epoch may be captured as a CUDA graph.
    :attr:`found` and :attr:`last_val` are there after the last news. A metric without a version in
    :data:`glt.evaluate.DEVICE_METRICS` is computed on the host, every epoch.
    """

    def __init__(self, model: nn.Module, data: Data, metric: str, epochs: int, lr: float) -> None:
        super().__init__(model, data, metric, epochs, lr)
        known = {} if is_multilabel(data.y) else DEVICE_METRICS
        self.waits = metric not in known
        self._score = known.get(metric, self._on_host)
        on = {"device": self.y.device}
        self._state = _copy(model.state_dict(), None)
        self._logits: Tensor | None = None
        self._latest = torch.empty(0)
        self._vals = torch.zeros(epochs, dtype=torch.float64, **on)
        self._number = torch.zeros(1, dtype=torch.int64, **on)
        self._best = torch.tensor([float("-inf")], dtype=torch.float64, **on)
        self._best_epoch = torch.zeros(1, dtype=torch.int64, **on)
        # the first loss that is no number and its epoch, the first epoch with a weight that is none; 0: none yet
        self._loss = torch.zeros(1, dtype=torch.float64, **on)
        self._loss_epoch = torch.zeros(1, dtype=torch.int64, **on)
        self._spoiled_epoch = torch.zeros(1, dtype=torch.int64, **on)
        self._offered = self._told = 0

    @torch.no_grad()
    def loss(self, value: Tensor, epoch: int) -> None:
        """Note an epoch's loss, one each, counted here; the error comes with the news."""
        self._number += 1
        first = ~torch.isfinite(value) & (self._loss_epoch == 0)
        take(first, value.double(), self._loss)
        take(first, self._number, self._loss_epoch)

    @torch.no_grad()
    def offer(self, logits: Tensor, constraint: Constraint | None, last: bool = False) -> None:
        """Note the model; errors come with the news, but one of a metric that is not for these labels or logits."""
        self._latest = logits
        if self._logits is None:  # the first: the host's version of the metric raises what that of the device cannot
            self.score(logits[self.val], self.y)
            self._logits = logits.clone()
        val = self._score(logits[self.val], self.y).to(self._vals)
        self._vals.index_copy_(0, self._number - 1, val.view(1))
        better = val >= self._best
        if constraint is not None:
            better = better & constraint.holding()
            if constraint.spoiled is not None:
                take(constraint.spoiled & (self._spoiled_epoch == 0), self._number, self._spoiled_epoch)
        better = better.view(())  # some of a state has no dimension
        take(better, val, self._best)
        take(better, self._number, self._best_epoch)
        take(better, logits, self._logits)
        for name, value in self.model.state_dict().items():
            take(better, value, self._state[name])

    def _on_host(self, logits: Tensor, y: Tensor) -> Tensor:
        return torch.tensor(self.score(logits, y), dtype=torch.float64)

    def news(self, last: bool) -> Iterator[tuple[int, float]]:
        """The epochs not told yet, every :data:`INTERVAL` epochs and at the end.

        Raises:
            TrainingError: after those before it: a loss that is NaN or infinite, a weight that became NaN, or, at the
                end, such logits.
        """
        self._offered += 1
        if not last and self._offered - self._told < INTERVAL:
            return
        lost, spoiled = int(self._loss_epoch), int(self._spoiled_epoch)
        bad = min(lost or spoiled, spoiled or lost)
        vals = self._vals[self._told : self._offered].tolist()
        for epoch, val in enumerate(vals, start=self._told + 1):
            if epoch == bad:
                raise not_finite("loss", float(self._loss), lost, self.lr) if lost == bad else TrainingError(SPOILED)
            yield epoch, val
        if last:
            self._require_finite(self._latest, self._offered)
        self._told = self._offered
        self.last_val = vals[-1]
        if (epoch := int(self._best_epoch)) and self._logits is not None:
            self.found = Found(self._state, self._logits, float(self._best), epoch)


def tracker(model: nn.Module, data: Data, metric: str, epochs: int, lr: float) -> Best:
    """:class:`Best` on CPU, :class:`DeviceBest` elsewhere."""
    kind = Best if data.y.device.type == "cpu" else DeviceBest
    return kind(model, data, metric, epochs, lr)


def take(condition: Tensor, new: Tensor, into: Tensor) -> None:
    """``into`` becomes ``new`` where ``condition`` is True, in place; they broadcast."""
    into.copy_(torch.where(condition, new, into))


def not_finite(what: str, value: object, epoch: int, lr: float) -> TrainingError:
    """The error of a training whose loss or logits became ``value``."""
    return TrainingError(f"the {what} became {value} at epoch {epoch}: lower train.lr = {lr:g}")


def _copy(state: dict[str, Tensor], into: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """A copy of ``state``, in the memory of an earlier one if there is one."""
    if into is None:
        return {k: v.detach().clone() for k, v in state.items()}
    for name, value in state.items():
        into[name].copy_(value)
    return into
