"""A model called with other tensors in the place of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
        """Logits, float [nodes, classes], differentiable in ``tensors`` and in nothing else of the model.

        Args:
            tensors: by name of the parameter or buffer whose place they take; the others are the model's own.
        """
        own = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        new = {id(tensor): tensor.detach() for tensor in self.model.parameters()}
        new |= {id(tensor): tensor.clone() for tensor in self.model.buffers()}
        new |= {id(own[name]): tensor for name, tensor in tensors.items()}
        with evaluation(self.model), torch.random.fork_rng(self._devices):
            torch.manual_seed(self._seed)
            places = {place: new[id(tensor)] for place, tensor in self._places()}
            return functional_call(self, places, (), tie_weights=False)

    def _places(self) -> Iterator[tuple[str, Tensor]]:
        """Every place of a tensor once: torch's own resolution of ties loses tensors of a module with two names."""
        for prefix, module in self.named_modules():
            yield from module.named_parameters(prefix, recurse=False, remove_duplicate=False)
            yield from module.named_buffers(prefix, recurse=False, remove_duplicate=False)
