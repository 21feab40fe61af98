"""Weight constraints as step hooks: no module surgery, no optimiser subclass, any torch optimiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from glt.arrays import count
from glt.errors import GltError, TrainingError
from glt.registry import build
from glt.select import keep_count, keep_top, keep_top_unsynced, kth_largest

Masks = dict[str, Tensor]
SPOILED = "a weight became NaN during training: lower the learning rate"


def prunable_weights(model: nn.Module, biases: bool = False) -> dict[str, nn.Parameter]:
    """The parameters whose entries may be pruned, by name.

    Weight matrices: every trainable parameter of two or more dimensions, without embeddings, what is called ``bias``
    and the attention vectors of PyG, [1, heads, channels] and called ``att...`` (a stack of one matrix, as in ARMAConv,
    has that shape but not that name). ``biases=True`` takes every trainable parameter, as the released code of TEDDY
    does.

    Raises:
        GltError: there is none, or a lazy layer has no shape yet.
    """
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    found = {}
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise GltError(f"parameter {name!r} has no shape yet: run the model once before pruning it")
        own = name.rpartition(".")[2]
        attention = own.startswith("att") and parameter.dim() > 2 and parameter.size(0) == 1
        vector = parameter.dim() < 2 or own == "bias" or attention
        if parameter.requires_grad and (biases or not (vector or id(parameter) in embeddings)):
            found[name] = parameter
    if not found:
        raise GltError(f"{type(model).__name__} has no trainable weight matrix to prune")
    return found


def largest_weights(
    parameters: Mapping[str, Tensor], sparsity: float, alive: Masks | None = None, granularity: Any = "element"
) -> Masks:
    """Masks of the largest absolute values, globally over all parameters; the exact count, ties by index.

    Args:
        parameters: tensors by name.
        sparsity: fraction removed, in [0, 1).
        alive: bool masks by name; entries outside them are never kept, so masks stay nested along a schedule.
        granularity: what goes as a whole; groups are compared by the root mean square of their weights
            (:func:`glt.groups.best_groups`).

    Returns:
        bool mask by name, True = kept; in total ``total - round(sparsity * total)`` are True, or the largest number
        of whole groups that is not above it.

    Raises:
        GltError: sparsity outside [0, 1) or removing everything; a NaN weight; a sparsity that the granularity does
            not reach.
    """
    choice = build("granularities", granularity)
    if choice.name != "element":
        weights = {name: p.detach() for name, p in parameters.items()}
        magnitudes = weights if choice.whole else {name: w.abs() for name, w in weights.items()}  # squared anyway
        masks: Masks = choice.masks(magnitudes, sparsity, alive=alive, pool="rms")
        return masks
    flat = _magnitudes(parameters)
    among = torch.cat([alive[name].flatten() for name in parameters]) if alive else None
    keep = keep_top(flat, keep_count(flat.numel(), sparsity, "weights"), among)
    parts = keep.split([p.numel() for p in parameters.values()])
    return {name: part.view_as(p) for (name, p), part in zip(parameters.items(), parts, strict=True)}


def _magnitudes(parameters: Mapping[str, Tensor], into: Tensor | None = None) -> Tensor:
    """Absolute values of all entries, [n], in the memory of ``into`` if given and of their dtype."""
    tensors = [p.detach() for p in parameters.values()]
    if into is None or any(t.dtype != into.dtype for t in tensors):
        return torch.cat([p.abs().flatten() for p in tensors])
    for tensor, part in zip(tensors, into.split([p.numel() for p in tensors]), strict=True):
        torch.abs(tensor, out=part.view_as(tensor))
    return into


class Constraint(ABC):
    """A running constraint: what :func:`project_weights` and :func:`freeze_weights` return.

    Attributes:
        parameters: the constrained parameters by name.
        keep: how many of their entries may be non-zero.
        deferred: do not wait for a device to raise errors; somebody looks at ``spoiled`` instead.
        spoiled: whether the latest step made a weight NaN, bool 0-d on their device; None where nothing looks at that.
    """

    deferred = False
    spoiled: Tensor | None = None

    def __init__(self, optimizer: Optimizer, parameters: dict[str, nn.Parameter], keep: int) -> None:
        self.parameters = parameters
        self.keep = keep
        self._handle = optimizer.register_step_post_hook(lambda *_: self.apply())

    @abstractmethod
    def apply(self) -> None:
        """Enforce the constraint on the current weights."""

    def holds(self) -> bool:
        """Whether at most :attr:`keep` entries are non-zero now."""
        return bool(self.holding())

    def holding(self) -> bool | Tensor:
        """:meth:`holds`; where the weights are not on CPU a bool 0-d tensor beside them, without waiting for it."""
        nonzero = [p.detach() != 0 for p in self.parameters.values()]
        if all(mask.device.type == "cpu" for mask in nonzero):
            return sum(map(count, nonzero)) <= self.keep
        return torch.stack([mask.sum() for mask in nonzero]).sum() <= self.keep

    def remove(self) -> None:
        """Stop enforcing; the weights stay as they are."""
        self._handle.remove()

    def __enter__(self) -> Constraint:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class _Projection(Constraint):
    def __init__(self, optimizer: Optimizer, parameters: dict[str, nn.Parameter], sparsity: float) -> None:
        total = sum(p.numel() for p in parameters.values())
        self.sparsity = sparsity
        self._magnitudes: Tensor | None = None
        super().__init__(optimizer, parameters, keep_count(total, sparsity, "weights"))

    @torch.no_grad()
    def apply(self) -> None:
        magnitudes = self._magnitudes = _magnitudes(self.parameters, self._magnitudes)
        self.spoiled = magnitudes.max().isnan()
        if not self.deferred and bool(self.spoiled):
            raise TrainingError(SPOILED)
        if self.keep == magnitudes.numel():
            return
        if self.deferred or magnitudes.device.type != "cpu":
            self._zero_others(keep_top_unsynced(magnitudes, self.keep))
            return
        threshold = kth_largest(magnitudes, self.keep)
        exact = all(p.dtype == threshold.dtype for p in self.parameters.values())
        if exact and count(magnitudes >= threshold) == self.keep:  # no ties: one pass over the weights, without masks
            below = float(threshold.nextafter(threshold.new_zeros(())))
            for parameter in self.parameters.values():
                torch.hardshrink(parameter, below, out=parameter)
            return
        for name, mask in largest_weights(self.parameters, self.sparsity).items():
            self.parameters[name].mul_(mask)  # what is pruned is finite: infinities are the largest

    def _zero_others(self, keep: Tensor) -> None:
        """Set to zero what ``keep``, bool [entries of all parameters], leaves out."""
        parts = (~keep).split([p.numel() for p in self.parameters.values()])
        for parameter, part in zip(self.parameters.values(), parts, strict=True):
            parameter.masked_fill_(part.view_as(parameter), 0)


class _GroupProjection(Constraint):
    """The same at another granularity than the element's."""

    def __init__(
        self, optimizer: Optimizer, parameters: dict[str, nn.Parameter], sparsity: float, granularity: Any
    ) -> None:
        self.sparsity, self.granularity = sparsity, granularity
        total = sum(p.numel() for p in parameters.values())
        largest_weights(parameters, sparsity, granularity=granularity)  # an error now, not after the first step
        super().__init__(optimizer, parameters, keep_count(total, sparsity, "weights"))

    @torch.no_grad()
    def apply(self) -> None:
        if any(bool(p.max().isnan()) for p in self.parameters.values()):
            raise TrainingError(SPOILED)
        for name, mask in largest_weights(self.parameters, self.sparsity, granularity=self.granularity).items():
            self.parameters[name].masked_fill_(~mask, 0)


class _Freeze(Constraint):
    def __init__(self, optimizer: Optimizer, parameters: dict[str, nn.Parameter], masks: Masks) -> None:
        self.masks = masks
        super().__init__(optimizer, parameters, sum(count(m) for m in masks.values()))

    @torch.no_grad()
    def apply(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.masked_fill_(~self.masks[name], 0)


def project_weights(
    model: nn.Module, optimizer: Optimizer, sparsity: float, *, biases: bool = False, granularity: Any = "element"
) -> Constraint:
    """Project the weights on the l0 ball after every step of ``optimizer``.

    After each step all but the ``n - round(sparsity * n)`` largest absolute values over all weight matrices
    are set to zero: projected gradient descent, or iterative hard thresholding (Blumensath and Davies 2009), as
    TEDDY trains its weights (Seo et al., ICLR 2024). Gradients stay dense, so weights may return.

    Args:
        model: any module; it is not modified.
        optimizer: any torch optimiser over its parameters.
        sparsity: fraction of weights removed, in [0, 1).
        biases: count and prune every trainable parameter, not only weight matrices
            (:func:`prunable_weights`).
        granularity: what goes as a whole: ``"element"``, ``"unit"``, ``"feature"``, ``{"name": "block", "size": 16}``
            or ``{"name": "n:m", "n": 2, "m": 4}`` (``glt list granularities``). Groups go by the root mean square of
            their weights, and as many stay as fit into the count above: never more.

    Returns:
        a handle with ``remove()``, ``holds()`` and ``apply()``; also a context manager.

    Raises:
        GltError: sparsity outside [0, 1) or removing everything, no weight matrix, or a sparsity that the granularity
            does not reach. A step that makes a weight NaN raises TrainingError.

    Cost: O(n) per step.
    """
    choice, parameters = build("granularities", granularity), prunable_weights(model, biases)
    if choice.name == "element":
        return _Projection(optimizer, parameters, sparsity)
    return _GroupProjection(optimizer, parameters, sparsity, choice)


def freeze_weights(model: nn.Module, optimizer: Optimizer, masks: Masks) -> Constraint:
    """Keep pruned weights at zero: at once, and after every step of ``optimizer``.

    Args:
        model: any module; it is not modified.
        optimizer: any torch optimiser over its parameters.
        masks: bool mask by parameter name, True = kept, e.g. ``ticket.weight_masks``.

    Returns:
        a handle as of :func:`project_weights`.

    Raises:
        GltError: a mask's name or shape does not fit the model.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            have = list(parameters[name].shape) if name in parameters else "no such parameter"
            raise GltError(f"the mask {name!r} {list(mask.shape)} does not fit the model: {have}")
        if mask.dtype != torch.bool:
            raise GltError(f"the mask {name!r} must be bool, True = kept, got {mask.dtype}")
    masks = {name: mask.to(parameters[name].device) for name, mask in masks.items()}
    frozen = _Freeze(optimizer, {name: parameters[name] for name in masks}, masks)
    frozen.apply()
    return frozen
