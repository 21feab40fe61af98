"""Synaptic flow."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch_geometric.data import Data
from torch_geometric.nn import norm

from glt.errors import GltError
from glt.functional import Functional
from glt.pruners.base import Grouping, Pruning, derivative
from glt.registry import register
from glt.select import keep_count, keep_top

NORMS = (
    *(nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
    *(norm.BatchNorm, norm.LayerNorm, norm.GraphNorm, norm.PairNorm, norm.MeanSubtractionNorm, norm.DiffGroupNorm),
)

NEXT_TO_NOTHING = 1e-200
"""Brings the numbers of weights that have gone next to 0, in their order."""


@register("pruners", "synflow")
class SynFlow(Grouping):
    """Flow through a weight from inputs of ones, pruned little by little (Tanaka et al., "SynFlow", NeurIPS 2020).

    R sums the logits of the model with absolute weights, without biases and normalisation layers, on features of ones
    and absolute edge weights; a weight's number is theta * dR/dtheta. Neither labels nor features are used. In round
    k of n the number alive falls to the k-th of n + 1 steps of a geometric series towards ``sparsity``, and what is
    left is scored anew. At a granularity of whole groups the rounds take whole groups.
    """

    rounds: Annotated[int, Field(ge=1, description="scorings, and prunings but for the last")] = 100

    def __call__(self, state: Pruning) -> dict[str, Tensor]:
        """Numbers of the last round, float64, at least 0; below 0 what went before, the first to go the lowest.

        Keeping the highest at ``state.sparsity``, globally, gives SynFlow's mask. Cost: ``rounds`` forward and
        backward passes in double, and as many sorts of what is alive.

        Raises:
            GltError: the model's logits are not positive, or overflow.
        """
        weights = {name: weight.double().abs() for name, weight in state.weights().items()}
        theta = torch.cat([w.flatten() for w in weights.values()])
        alive = torch.ones_like(theta, dtype=torch.bool)
        if state.alive is not None:
            alive = torch.cat([state.alive[name].flatten() for name in weights]).to(theta.device)
        start = int(alive.sum())
        keep = min(keep_count(theta.numel(), state.sparsity, "weights"), start)
        rounds = self.rounds if keep < start else 1
        flow = _Flow(state)
        result = torch.full_like(theta, -rounds - 1.0)
        for number in range(1, rounds + 1):
            scores = torch.cat([s.flatten() for s in flow(_parts(theta * alive, weights))])
            if number == rounds:
                result[alive] = scores[alive]
                break
            left = self._left(scores, round(start * (keep / start) ** (number / rounds)), alive, weights)
            gone = alive & ~left
            result[gone] = scores[gone] / scores.max().clamp(min=torch.finfo(scores.dtype).tiny) - (rounds - number + 1)
            alive = left
        if self.granularity.whole:  # a group may hold weights that went with another: they must not outweigh its own
            result[~alive] *= NEXT_TO_NOTHING
        return _parts(result, weights)

    def _left(self, scores: Tensor, count: int, alive: Tensor, like: dict[str, Tensor]) -> Tensor:
        """What stays after a round, bool [n]: the best ``count`` weights, or whole groups of no more."""
        if not self.granularity.whole:
            return keep_top(scores, count, alive)
        masks = self.granularity.masks(_parts(scores, like), 1 - count / len(scores), alive=_parts(alive, like))
        return torch.cat([masks[name].flatten() for name in like])


def _parts(flat: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
    """``flat`` [n] in pieces of the names and shapes of ``like``."""
    pieces = flat.split([tensor.numel() for tensor in like.values()])
    return {name: piece.view(like[name].shape) for name, piece in zip(like, pieces, strict=True)}


class _Flow:
    """theta * dR/dtheta of every weight."""

    def __init__(self, state: Pruning) -> None:
        self.model = state.model
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        self.fixed = {name: _positive(name, tensor.detach()) for name, tensor in tensors}
        data = _ones(state.data)
        self.rows = _EqualRows(data.x)
        self.run = Functional(self.model, data, seed=state.seed)

    def __call__(self, weights: dict[str, Tensor]) -> list[Tensor]:
        handles = [m.register_forward_hook(_skip) for m in self.model.modules() if isinstance(m, NORMS)]
        try:
            with torch.enable_grad():
                leaves = [weight.detach().requires_grad_() for weight in weights.values()]
                with self.rows:
                    logits = self.run.logits({**self.fixed, **dict(zip(weights, leaves, strict=True))})
                if not bool(((logits >= 0) & torch.isfinite(logits)).all()):
                    raise GltError(
                        f"synflow: {type(self.model).__name__} gives logits that are negative or infinite where all "
                        "weights and inputs are positive; it must return them as they are, without log_softmax, and "
                        "use neither signed operators (ChebConv) nor activations below 0"
                    )
                slopes = derivative(logits.sum(), leaves)
        finally:
            for handle in handles:
                handle.remove()
        return [(leaf.detach() * slope).abs() for leaf, slope in zip(leaves, slopes, strict=True)]


class _EqualRows(TorchFunctionMode):
    """A linear map of the inputs, whose rows are equal, is computed for one: most of the cost of wide features."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.linear and args and args[0] is self.x:
            return func(self.x[:1], *args[1:], **(kwargs or {})).repeat(len(self.x), 1)
        return func(*args, **(kwargs or {}))


def _skip(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return args[0] if args else output


def _positive(name: str, tensor: Tensor) -> Tensor:
    """A copy in double, absolute; zero for a bias; as it is where it does not hold floats."""
    if name.rpartition(".")[2].startswith("bias"):
        return torch.zeros_like(tensor, dtype=torch.float64)
    return tensor.double().abs() if tensor.is_floating_point() else tensor.clone()


def _ones(data: Data) -> Data:
    """The graph with every input one and every edge weight positive, in double."""
    data = copy.copy(data)
    data.x = torch.ones(data.x.shape, dtype=torch.float64, device=data.x.device)
    if data.get("edge_weight") is not None:
        data.edge_weight = data.edge_weight.double().abs()
    if data.get("edge_attr") is not None:
        data.edge_attr = torch.ones_like(data.edge_attr, dtype=torch.float64)
    return data
