"""What a trained attention network looks at."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GATv2Conv

from glt.backbones.base import GNN
from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.forward import Forward, logits_of
from glt.registry import register
from glt.scorers.trained import by_source, required


@register("scorers", "attention")
class Attention:
    """Attention coefficients of a trained GAT (Velickovic et al., ICLR 2018; GATv2: Brody et al., ICLR 2022).

    Mean over heads, layers and both arcs of an edge, each layer looked at with the input that it has on this graph, in
    evaluation mode. Coefficients into a node add up to 1, so edges of nodes with few neighbours score high.
    """

    symmetric: ClassVar[bool] = True
    needs_model: ClassVar[bool] = True

    def __call__(self, data: Data, model: nn.Module | None = None) -> Tensor:
        """Score the arcs of ``data``: float [arcs] in [0, 1], of the model's dtype; 0 for self-loops.

        Args:
            data: a graph with x.
            model: a trained model with GATConv or GATv2Conv layers on this graph's arcs, such as the built-in GAT.
                Not modified: hooks are there for one call.

        Raises:
            GltError: there is no model, none of its layers has attention, or one has it on other arcs.

        Cost: two forward passes. The same bits for any order of the arcs on the CPU.
        """
        model = required(model, "attention")
        if data.get("x") is None:
            raise GltError("scorer 'attention' needs data.x: the model's input")
        data, order = by_source(data)
        edges = PrunableEdges.of(data.edge_index, int(data.num_nodes), getattr(data, "undirected", True))
        by_arc = logits_of(model, lambda: _attention(model, data, edges.edge_of_arc >= 0))
        pooled = edges.pool(by_arc)
        scores = torch.empty_like(by_arc)
        scores[order] = torch.cat([pooled, pooled.new_zeros(1)])[edges.edge_of_arc]
        return scores


def _attention(model: nn.Module, data: Data, proper: Tensor) -> Tensor:
    """Mean coefficient of every arc, float [arcs]; 0 for self-loops, which are not ``proper`` (bool [arcs])."""
    arcs, seen = data.edge_index[:, proper], []

    def look(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        _, attention = layer.forward(*args, **{**kwargs, "return_attention_weights": True})
        its_arcs, coefficients = attention if isinstance(attention, tuple) else (None, None)
        between = None if its_arcs is None else its_arcs[0] != its_arcs[1]  # layers add their own self-loops
        if between is None or not torch.equal(its_arcs[:, between], arcs):
            raise GltError(
                f"scorer 'attention': a {type(layer).__name__} of the model looks at other arcs than data.edge_index"
            )
        seen.append(coefficients[between].flatten(1).mean(1))

    layers = [module for module in model.modules() if isinstance(module, GATConv | GATv2Conv)]
    handles = [layer.register_forward_pre_hook(look, with_kwargs=True) for layer in layers]
    try:
        _by_layers(model, data)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise GltError(
            f"scorer 'attention' needs a model with GATConv or GATv2Conv layers, such as the backbone 'gat': "
            f"{type(model).__name__} has none"
        )
    out = seen[0].new_zeros(proper.numel())
    out[proper] = torch.stack(seen).mean(0)
    return out


def _by_layers(model: nn.Module, data: Data) -> None:
    """Call the model so that its layers are called: built-in ones have a faster way around them."""
    if not isinstance(model, GNN):
        Forward(model, data)()
        return
    model(data.x if data.x.layout == torch.strided else data.x.to_dense(), data.edge_index)
