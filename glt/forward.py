"""How a model is called on a graph: arguments made once, the first layer shared where that is the same number."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.errors import GltError

OPTIONS = ("edge_weight", "edge_attr")
"""What of a graph a model is called with where the graph has it and its ``forward`` takes it."""


class Forward:
    """``model`` on ``data``, with what does not change between epochs done once.

    Args:
        model: any module that can be called so.
        data: a graph with x and edge_index.
        plain: call a model with ``prepare`` like any other, on PyG's own layers: they can be differentiated twice.
        chunk: evaluate layer by layer, so many nodes at a time, where the model can (it has ``chunked``): the same
            numbers up to rounding in less memory. 0 is the whole graph at once.

    Attributes:
        arguments, options: what the model is called with; see :func:`arguments_of`.

    Raises:
        GltError: a layer with ``cached=True``.
    """

    def __init__(self, model: nn.Module, data: Data, plain: bool = False, chunk: int = 0) -> None:
        if cached := [name for name, module in model.named_modules() if getattr(module, "cached", False) is True]:
            raise GltError(
                f"layer {cached[0]!r} has cached=True: it would go on using the first graph it sees, whatever is "
                "pruned; build the model with cached=False"
            )
        self.model = model
        self.arguments, self.options = arguments_of(model, data, plain)
        prepared = hasattr(model, "prepare") and not plain
        chunked = prepared and chunk > 0 and hasattr(model, "chunked")
        self._evaluated = model.chunked(self.arguments, chunk) if chunked else self.arguments  # type: ignore[operator]
        self._shares = prepared and not chunked and not getattr(model, "random_stem", True)
        self._hidden: Tensor | None = None

    def __call__(self) -> Tensor:
        """Logits, float [nodes, classes], in the model's present mode, differentiable."""
        if self._hidden is None:
            logits: Tensor = self.model(*self.arguments, **self.options)
            return logits
        hidden, self._hidden = self._hidden, None
        return self._head(hidden)

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.head(hidden, *self.arguments[1:])  # type: ignore[operator]
        return logits

    def evaluate(self, share: bool = False) -> Tensor:
        """Logits in evaluation mode, without gradients.

        Args:
            share: keep the model's first layer, where it can be, for the next call of this object, which then has
                to come before any weight changes. The numbers are the same; half of the layer's forward cost is
                saved.
        """
        if not (share and self._shares):
            return logits_of(self.model, lambda: self.model(*self._evaluated, **self.options))
        self._hidden = self.model.stem(*self.arguments)  # type: ignore[operator]
        hidden = self._hidden.detach()
        return logits_of(self.model, lambda: self._head(hidden))


def arguments_of(model: nn.Module, data: Data, plain: bool = False) -> tuple[tuple[Any, ...], dict[str, Tensor]]:
    """(positional, keyword) arguments of ``model`` for ``data``.

    A model with a ``prepare(data)`` method is called with what that returns, unless ``plain``; any other with a dense
    x and the edge_index, and with ``edge_weight`` and ``edge_attr`` where the data has them and its ``forward`` takes
    them.
    """
    if hasattr(model, "prepare") and not plain:
        return model.prepare(data), {}  # type: ignore[operator]
    x = data.x if data.x.layout == torch.strided else data.x.to_dense()
    return (x, data.edge_index), {k: data[k] for k in taken(model) if data.get(k) is not None}


def taken(model: nn.Module) -> list[str]:
    """Those of :data:`OPTIONS` that ``forward`` takes."""
    parameters = inspect.signature(model.forward).parameters
    return [name for name in OPTIONS if name in parameters]


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
