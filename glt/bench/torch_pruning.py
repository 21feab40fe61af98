"""Torch-Pruning (Fang et al., CVPR 2023) at the ticket's weight sparsity."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn.dense.linear import Linear

from glt.bench.variants import Case, Runner, Unsupported, called, variant
from glt.constraints import prunable_weights
from glt.forward import arguments_of

STEPS = 10
"""Halvings of the pruning ratio's interval."""


@variant("Torch-Pruning", "ticket")
def _torch_pruning(case: Case) -> Callable[[Data], Runner]:
    """Whole hidden units by the magnitude of their weights: as many weights as the ticket's, or fewer."""
    try:
        import torch_pruning
    except ImportError:
        raise Unsupported("not installed: pip install torch-pruning") from None
    if not case.ticket.weight_masks:
        raise Unsupported("the ticket prunes no weights")
    keep = sum(int(mask.sum()) for mask in case.ticket.weight_masks.values())
    dense = _with_torchs_linear(case.dense()).requires_grad_(True)
    low, high = 0.0, 1.0  # too many weights at low, few enough at high
    found: nn.Module | None = None
    for _ in range(STEPS):
        ratio = (low + high) / 2
        model = copy.deepcopy(dense)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says that biases of convolutions go with their units: they should
                _prune(torch_pruning, model, case.sub, ratio)
            few = sum(p.numel() for p in prunable_weights(model).values()) <= keep
        except Exception as error:  # of any kind: it walks through a graph it was not made for
            raise Unsupported(_why(model, error)) from None
        if few:
            high, found = ratio, model
        else:
            low = ratio
    if found is None:
        raise Unsupported("it cannot be made that narrow")
    pruned = found.eval().requires_grad_(False)
    try:
        called(pruned, case.sub, True).call()
    except (RuntimeError, AttributeError, TypeError, IndexError) as error:
        raise Unsupported(_why(pruned, error)) from None
    return lambda data: called(pruned, data, True)


def _prune(torch_pruning: Any, model: nn.Module, data: Data, ratio: float) -> None:
    arguments, options = arguments_of(model, data, plain=True)
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    classes = called(model, data, True).call().size(1)
    pruner = torch_pruning.pruner.BasePruner(
        model,
        {"x": arguments[0], "edge_index": arguments[1], **options},
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[module for module in linears if module.out_features == classes],
    )
    pruner.step()


def _with_torchs_linear(model: nn.Module) -> nn.Module:
    """The same model with torch's linear layers in the place of PyG's, which Torch-Pruning does not know."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Linear):
                made = nn.Linear(child.in_channels, child.out_channels, child.bias is not None)
                made.load_state_dict(child.state_dict())
                setattr(parent, name, made.to(child.weight.device))
    return model


def _why(model: nn.Module, error: Exception) -> str:
    text = " ".join(str(error).split())[:80]
    return f"does not support {type(model).__name__} ({type(error).__name__}: {text})"
