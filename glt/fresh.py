"""The model that a problem is about: with its initial weights, and known to work before anything is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from glt.check import num_classes
from glt.errors import GltError
from glt.tasks import is_multilabel


def fresh(
    model: nn.Module | Callable[[int, int], nn.Module],
    data: Data,
    seed: int,
    logits: Callable[[nn.Module, Data], Tensor],
) -> nn.Module:
    """A model with weights, moved to the data, that can be called on it and copied.

    Args:
        model: a module, which is copied, or a function of (features, classes) that makes one under ``seed``.
        data: the graph it is trained on.
        seed: of its weights; the global random state is left as it was.
        logits: called with (model, data); gives float [nodes, classes] or raises.

    Raises:
        GltError: it cannot be copied or called on the data, or gives something else than logits of its classes.
    """
    devices = [data.x.device] if data.x.is_cuda else []
    classes = num_classes(data)
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        model = _copied(model) if isinstance(model, nn.Module) else model(data.x.size(1), classes)
        model = model.to(data.x.device)
        try:
            out = logits(model, data)
        except GltError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise GltError(f"{type(model).__name__} cannot be called as model(x, edge_index): {reason}") from None
    if not isinstance(out, Tensor) or out.dim() != 2 or out.size(0) != data.num_nodes:
        shape = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise GltError(f"the model must give logits [{data.num_nodes}, classes], got {shape}")
    if out.size(1) < classes:
        raise GltError(f"the model gives {out.size(1)} classes, the labels have {classes}")
    if is_multilabel(data.y) and out.size(1) != classes:
        raise GltError(f"the model gives {out.size(1)} logits, the labels are of {classes} tasks")
    _copied(model)
    return model


def _copied(model: nn.Module) -> nn.Module:
    """A copy, through which the model's own state has gone once: every training starts so."""
    try:
        copied = copy.deepcopy(model)
        copied.load_state_dict(model.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise GltError(
            f"{type(model).__name__} cannot be copied and set to its own state_dict, as every training starts: {reason}"
        ) from None
    return copied
