"""Initial weights that a ticket does not hold but says how to make: backbone, widths, seed, sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from glt.errors import GltError
from glt.registry import build


class NoSeed(GltError):
    """Initial weights that no seed gives."""


def sha256(state: Mapping[str, Tensor]) -> str:
    """Of every tensor's name, type, shape and bytes, in order of names."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def recipe(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """How ``state`` is made again, after having done so.

    Raises:
        NoSeed: it cannot be: not a built-in backbone, or not what its seed gives.
    """
    if "backbone" in config and "seed" in config:
        shapes = {name: tensor.shape for name, tensor in state.items()}
        sizes = sorted({size for shape in shapes.values() for size in shape})
        backbone, digest = build("backbones", config["backbone"]), sha256(state)
        for widths in ((i, o) for i in sizes for o in sizes):
            with torch.device("meta"):
                same = {name: t.shape for name, t in backbone(*widths).state_dict().items()} == shapes
            if same and sha256(_made(config["backbone"], widths, config["seed"])) == digest:
                return {"widths": list(widths), "seed": config["seed"], "sha256": digest}
    raise NoSeed(
        "the initial weights are not those that a seed gives a built-in backbone: save the ticket with initial=True"
    )


def again(how: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict that :func:`recipe` describes.

    Raises:
        GltError: the backbone is not known here, or its weights come out differently.
    """
    if "backbone" not in config:
        raise GltError("the ticket holds no initial weights and names no built-in backbone to make them with")
    state = _made(config["backbone"], tuple(int(width) for width in how["widths"]), int(how["seed"]))
    if sha256(state) != how["sha256"]:
        raise GltError(
            "the ticket holds no initial weights, and seed {} gives other ones here (torch {}): load it with the "
            "versions that it names, and save it with initial=True".format(how["seed"], torch.__version__)
        )
    return state


def _made(backbone: Any, widths: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return {k: v.detach().clone() for k, v in build("backbones", backbone)(*widths).state_dict().items()}
