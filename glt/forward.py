"""How a model is called on a graph: arguments made once, the first layer shared where that is the same number."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.errors import GltError


class Forward:
    """``model`` on ``data``, with what does not change between epochs done once.

    A model with a ``prepare(data)`` method is called as ``model(*model.prepare(data))``; any other as
    ``model(x, edge_index)`` with a dense x, and with ``edge_weight`` and ``edge_attr`` where the data has them
    and the model's ``forward`` takes them.

    Args:
        model: any module that can be called so.
        data: a graph with x and edge_index.
        plain: call a model with ``prepare`` like any other, on PyG's own layers: they can be differentiated twice.

    Raises:
        GltError: a layer with ``cached=True``.
    """

    def __init__(self, model: nn.Module, data: Data, plain: bool = False) -> None:
        if cached := [name for name, module in model.named_modules() if getattr(module, "cached", False) is True]:
            raise GltError(
                f"layer {cached[0]!r} has cached=True: it would go on using the first graph it sees, whatever is "
                "pruned; build the model with cached=False"
            )
        self.model = model
        self._call: Callable[[], Tensor]
        prepared = hasattr(model, "prepare") and not plain
        if prepared:
            arguments = model.prepare(data)  # type: ignore[operator]
            self._call = lambda: model(*arguments)
        else:
            x = data.x if data.x.layout == torch.strided else data.x.to_dense()
            takes = inspect.signature(model.forward).parameters
            extra = {k: data[k] for k in ("edge_weight", "edge_attr") if k in takes and data.get(k) is not None}
            self._call = lambda: model(x, data.edge_index, **extra)
        self._stem: Callable[[], Tensor] | None = None
        if prepared and not getattr(model, "random_stem", True):
            self._stem = lambda: model.stem(*arguments)  # type: ignore[operator]
            self._head = lambda hidden: model.head(hidden, *arguments[1:])  # type: ignore[operator]
        self._hidden: Tensor | None = None

    def __call__(self) -> Tensor:
        """Logits, float [nodes, classes], in the model's present mode, differentiable."""
        if self._hidden is None:
            return self._call()
        hidden, self._hidden = self._hidden, None
        return self._head(hidden)

    def evaluate(self, share: bool = False) -> Tensor:
        """Logits in evaluation mode, without gradients.

        Args:
            share: keep the model's first layer, where it can be, for the next call of this object, which then has
                to come before any weight changes. The numbers are the same; half of the layer's forward cost is
                saved.
        """
        if not share or self._stem is None:
            return logits_of(self.model, self._call)
        self._hidden = self._stem()
        hidden = self._hidden.detach()
        return logits_of(self.model, lambda: self._head(hidden))


def logits_of(model: nn.Module, forward: Callable[[], Tensor]) -> Tensor:
    """Logits of all nodes in evaluation mode, without gradients; every module's mode is restored."""
    with evaluation(model), torch.no_grad():
        return forward()


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; every module's mode is restored."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
