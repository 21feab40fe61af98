"""The ticket file: one safetensors file whose header carries one JSON object. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from glt.errors import GltError
from glt.files import atomic

FORMAT = 2
"""The newest that is read. 1: all is there; 2: edges have weights, or initial weights are described and not held."""
KEY = "glt"


def write(path: str | Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Write header and tensors atomically; returns the digest of both.

    Args:
        path: file to make or replace.
        header: JSON-able; ``format`` (1 unless it says another) and ``digest`` are added.
        tensors: by name, any device.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": 1, **header}
    header["digest"] = digest(header, tensors)
    with atomic(path) as temporary:
        save_file(tensors, str(temporary), metadata={KEY: json.dumps(header, sort_keys=True)})
    return str(header["digest"])


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a ticket file.

    Raises:
        GltError: not there, truncated, not a safetensors file, not a ticket, of a newer format, or changed
            since it was written.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise GltError(f"{path} is a safetensors file but not a glt ticket: its header has no {KEY!r} entry")
            header = _parse(path, metadata[KEY])
            _check_format(path, header)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise GltError(f"there is no ticket {path}") from None
    except IsADirectoryError:
        raise GltError(f"{path} is a folder, not a ticket file") from None
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise GltError(f"{path} is not a readable ticket (truncated, or another kind of file): {error}") from None
    if header.get("digest") != digest(header, tensors):
        raise GltError(f"{path} was changed after it was written: its digest does not match its content")
    return header, tensors


def _parse(path: str | Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, a number of 5,000 digits, 5,000 brackets
        raise GltError(f"{path} is not a readable ticket: its header is not JSON") from None


def _check_format(path: str | Path, header: Any) -> None:
    version = header.get("format") if isinstance(header, dict) else None
    if not isinstance(version, int):
        raise GltError(f"{path} is not a glt ticket: its header has no format number")
    if version > FORMAT:
        raise GltError(f"{path} has ticket format {version}, this glt reads up to {FORMAT}: upgrade glt")


def digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """sha256 of the header (without its digest) and of every tensor's name, type, shape and bytes."""
    plain = {key: value for key, value in header.items() if key != "digest"}
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def pack(mask: Tensor) -> Tensor:
    """Bits of a bool tensor, uint8 [ceil(n / 8)], lowest bit first."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1), bitorder="little"))


def unpack(packed: Tensor, shape: tuple[int, ...], what: str) -> Tensor:
    """The bool tensor of ``shape`` that was packed; GltError where the number of bytes does not fit."""
    count = int(np.prod(shape))
    if packed.dtype != torch.uint8 or packed.shape != ((count + 7) // 8,):
        raise GltError(f"the ticket is inconsistent: {what} has {packed.numel()} bytes for {count} bits")
    bits = np.unpackbits(packed.numpy(), count=count, bitorder="little")
    return torch.from_numpy(bits.astype(bool)).view(shape)
