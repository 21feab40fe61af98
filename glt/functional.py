"""A model called with other tensors in the place of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch_geometric.data import Data

from glt.forward import Forward, evaluation


class Functional(nn.Module):
    """``model`` on ``data`` in evaluation mode, as a function of its parameters and buffers.

    The model itself stays as it is: parameters, gradients, buffers, mode. Whatever it draws, it draws under ``seed``,
    and the global random state is left alone.

    Args:
        model: called as :class:`glt.forward.Forward` says.
        data: a graph with x and edge_index.
        plain: as of :class:`glt.forward.Forward`; needed for second derivatives.
        seed: seed of a model that is random even in evaluation mode.
    """

    def __init__(self, model: nn.Module, data: Data, plain: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self._run = Forward(model, data, plain)
        self._seed = seed
        self._devices = [data.x.device] if data.x.is_cuda else []

    def forward(self) -> Tensor:
        """Logits with the tensors that :meth:`logits` has put in place."""
        return self._run()

    def logits(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Logits, float [nodes, classes], differentiable in ``tensors``.

        Args:
            tensors: by name of the parameter or buffer whose place they take; the others are the model's own.
        """
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        places = {f"model.{name}": tensor for name, tensor in (buffers | dict(tensors)).items()}
        with evaluation(self.model), torch.random.fork_rng(self._devices):
            torch.manual_seed(self._seed)
            return functional_call(self, places, ())
