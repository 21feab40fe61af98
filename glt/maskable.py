"""Whether a model can be soft-masked: asked once, on the graph itself, before a search relies on it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing

from glt.edges import PrunableEdges
from glt.errors import GltError
from glt.forward import Forward
from glt.masks import SoftMasked
from glt.messages import called
from glt.sparsify import remove_arcs


def check_soft_masks(model: nn.Module, data: Data, edges: PrunableEdges, twice: bool = False) -> None:
    """Hold a soft mask of zeros and ones to the graph without those arcs, once, before a search relies on it.

    Args as of :class:`SoftMasked`.

    Raises:
        GltError: they give different outputs, or the model fails under a mask; it names the first layer that does.
    """
    keep = torch.ones(edges.num_edges, dtype=torch.bool)
    some = torch.rand(edges.num_edges, generator=torch.Generator().manual_seed(0)) < 0.5
    soft = SoftMasked(model, data, edges, keep, {}, twice=twice)
    with torch.no_grad():
        soft.edges.copy_(some)
    hard = copy.deepcopy(model)
    removed = remove_arcs(data, edges.to_arcs(some.to(data.edge_index.device)))
    masked = _outputs(soft.model, Forward(soft, data), masked=True)
    real = _outputs(hard, Forward(hard, removed, plain=twice))
    for (module, name, output), (*_, want) in zip(masked, real, strict=True):
        if not torch.allclose(output, want, rtol=1e-3, atol=1e-4 * max(1.0, float(want.abs().max()))):
            raise GltError(
                f"{name} cannot be soft-masked: a mask of 0 does not give what it gives without the arc; "
                f"{_instead(module)}, or a strategy without soft masks (teddy, imp, random)"
            )


def _instead(module: nn.Module) -> str:
    """What to do about a layer for which a mask of 0 is not removal."""
    fill = getattr(module, "fill_value", None)
    if getattr(module, "add_self_loops", False) and getattr(module, "edge_dim", None) and isinstance(fill, str):
        return (
            f"its self-loops have the {fill} of the attributes of all arcs (fill_value={fill!r}), removed ones too: "
            "build it with add_self_loops=False or a number as fill_value"
        )
    return "use layers that sum, average or attend"


def check_arcs_in_training(model: nn.Module, data: Data) -> None:
    """Raise GltError for a model whose layers see other arcs in training than in evaluation: masks are by place."""
    model = copy.deepcopy(model)
    layers = [module for module in model.modules() if isinstance(module, MessagePassing)]
    with torch.random.fork_rng([data.edge_index.device] if data.edge_index.is_cuda else []):
        one, other = (_arcs_seen(layers, Forward(model.train(mode), data)) for mode in (False, True))
    if len(one) != len(other) or not all(map(torch.equal, one, other)):
        raise GltError(
            f"{type(model).__name__} takes other arcs in training than in evaluation (edge dropout?), and a soft mask "
            "cannot follow; build it without, or use a strategy without soft masks (teddy, imp, random)"
        )


def _arcs_seen(layers: list[MessagePassing], forward: Forward) -> list[Tensor]:
    """The arcs of every propagation, in the order of calls."""
    seen: list[Tensor] = []
    look = [layer.register_propagate_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in layers]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in look:
            handle.remove()
    return [arcs for arcs in seen if isinstance(arcs, Tensor)]


def _outputs(model: nn.Module, forward: Forward, masked: bool = False) -> list[tuple[nn.Module, str, Tensor]]:
    """Every convolution, its name and its output in the order of calls, then the model's own.

    Raises:
        GltError: something fails under the mask, where the model is ``masked``.
    """
    seen: list[tuple[nn.Module, str, Tensor]] = []
    inside: list[str] = []  # the layers that have been entered and not left

    def left(module: nn.Module, _: object, output: Tensor) -> None:
        seen.append((module, inside.pop(), output))

    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        if name and isinstance(module, MessagePassing):
            said = called(name, module)
            handles.append(module.register_forward_pre_hook(lambda *_, said=said: inside.append(said), prepend=True))
            handles.append(module.register_forward_hook(left))
    try:
        logits = forward.evaluate()
    except GltError:
        raise
    except Exception as error:  # whatever a layer has against a mask
        if not masked:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise GltError(
            f"{inside[-1] if inside else 'the model'} cannot be soft-masked: it fails under a mask "
            f"({reason}); use layers that sum, average or attend, or a strategy without soft "
            "masks (teddy, imp, random)"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return [each for each in seen if isinstance(each[-1], Tensor)] + [(model, "the model", logits)]
