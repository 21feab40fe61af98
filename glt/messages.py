"""Soft masks inside PyG's own layers: hooks that make a mask of zeros equal the graph without those arcs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GATv2Conv, MessagePassing, TransformerConv
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation

from glt.errors import GltError
from glt.soft import padded, renormalised

Mask = Callable[[], Tensor]
"""Gives the present mask over the arcs, float [arcs other than self-loops]; arcs come first, self-loops last."""


def mask_messages(model: nn.Module, mask: Mask) -> None:
    """Install hooks on every PyG convolution of ``model`` so that its arcs count as ``mask`` says.

    A binary mask gives what the layer gives on the graph without the arcs where it is 0:

    - layers with an ``edge_weight`` that sum their messages (GCN, GraphConv, GCN2, Cheb, TAG, SG, ...) get the mask as
      edge weight, before any normalisation;
    - GAT, GATv2 and TransformerConv: attention is masked, then normalised again over what remains;
    - other layers that sum (GIN, ...) or average (SAGE, ...) messages: messages are masked, and averages are taken over
      the mask's sum.

    :mod:`glt.layers` tells of PyG's layers one by one (``glt list layers``).

    The hooks stay: give a copy of a model that is not yours alone.

    Args:
        model: modified in place.
        mask: called in every forward.

    Raises:
        GltError: a layer that aggregates in another way (maximum, standard deviation, ...), since multiplying a
            message by 0 is not removing it there.
    """
    for name, module in model.named_modules():
        if isinstance(module, MessagePassing):
            rule_of(name, module).install(module, mask)


def _mask_weights(module: Any, mask: Mask) -> None:
    signature = inspect.signature(module.forward)

    def inject(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        call = signature.bind(*args, **kwargs)
        edge_index, given = call.arguments["edge_index"], call.arguments.get("edge_weight")
        weights = padded(mask(), edge_index.size(1))
        if weights.requires_grad:
            weights.register_hook(_slope)
        call.arguments["edge_weight"] = weights if given is None else weights * given
        return call.args, call.kwargs

    module.register_forward_pre_hook(inject, with_kwargs=True)


def _slope(slope: Tensor) -> Tensor:
    """A node of degree 0 has no normalisation, whose slope there is 0 times infinity: such arcs stay out."""
    return slope.masked_fill(slope.isnan(), 0.0)


def _mask_sum(module: Any, mask: Mask) -> None:
    module.register_message_forward_hook(lambda module, inputs, messages: _masked(module, messages, mask()))


def _mask_mean(module: Any, mask: Mask) -> None:
    _mask_sum(module, mask)

    def rescale(module: Any, inputs: tuple[dict[str, Any]], mean: Tensor) -> Tensor:
        index, nodes = inputs[0]["index"], mean.size(module.node_dim)
        weights = padded(mask(), index.numel())
        ends = torch.stack([torch.ones_like(weights), weights], dim=1)
        arcs, left = mean.new_zeros(nodes, 2).index_add(0, index, ends).unbind(1)
        return mean * _along(arcs / left.masked_fill(left == 0, 1.0), mean, module.node_dim)

    module.register_aggregate_forward_hook(rescale)


def _mask_attention(module: Any, mask: Mask) -> None:
    def renormalise(module: Any, inputs: tuple[Any, ...], alpha: Tensor) -> Tensor:
        target = inputs[0][1]
        nodes = int(target.max()) + 1 if target.numel() else 0
        return renormalised(alpha, padded(mask(), target.numel()), target, nodes)

    module.register_edge_update_forward_hook(renormalise)


def _mask_transformer(module: Any, mask: Mask) -> None:
    def renormalise(module: Any, inputs: tuple[dict[str, Any]], messages: Tensor) -> Tensor:
        index, alpha = inputs[0]["index"], module._alpha  # before dropout
        weights = padded(mask(), index.numel())
        nodes = int(index.max()) + 1 if index.numel() else 0
        left = renormalised(alpha, weights, index, nodes)
        return messages * (left / alpha.masked_fill(alpha == 0, 1.0)).unsqueeze(-1)

    module.register_message_forward_hook(renormalise)


def _masked(module: Any, messages: Tensor, mask: Tensor) -> Tensor:
    return messages * _along(padded(mask, messages.size(module.node_dim)), messages, module.node_dim)


def _along(values: Tensor, like: Tensor, dim: int) -> Tensor:
    """``values`` [n] shaped to multiply ``like`` along ``dim``."""
    shape = [1] * like.dim()
    shape[dim] = values.numel()
    return values.view(shape)


@dataclass(frozen=True)
class Rule:
    """How a kind of layers is soft-masked: in words, and by hooks on a layer."""

    about: str
    install: Callable[[Any, Mask], None]


WEIGHTS = Rule("the mask is its edge weight, before any normalisation", _mask_weights)
SUM = Rule("messages are masked", _mask_sum)
MEAN = Rule("messages are masked, and averaged over the mask's sum", _mask_mean)
ATTENTION = Rule("attention is masked, then normalised again over what remains", _mask_attention)
TRANSFORMER = Rule(ATTENTION.about, _mask_transformer)


def called(name: str, module: nn.Module, about: str = "") -> str:
    """What messages call a layer; one without a name is the model itself."""
    return f"{f'layer {name!r}' if name else 'the model'} ({type(module).__name__}{about})"


def rule_of(name: str, module: Any) -> Rule:
    """The rule for a layer.

    Args:
        name: of the layer, for messages.
        module: the layer.

    Raises:
        GltError: there is none.
    """
    if isinstance(module, (GATConv, GATv2Conv)):
        if module.dropout:
            raise GltError(
                f"{called(name, module)} drops attention coefficients out before they can be "
                "normalised again under a soft mask: build it with dropout=0"
            )
        return ATTENTION
    if isinstance(module, TransformerConv):
        return TRANSFORMER
    weighted = "edge_weight" in inspect.signature(module.forward).parameters
    if isinstance(module.aggr_module, SumAggregation):
        return WEIGHTS if weighted else SUM
    if isinstance(module.aggr_module, MeanAggregation):
        return MEAN
    raise GltError(
        f"{called(name, module, f', aggr={module.aggr!r}')} cannot be soft-masked: a message times 0 is "
        "not a removed arc there; use sum or mean aggregation, or a strategy without soft masks (teddy, imp, random)"
    )
