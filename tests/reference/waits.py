"""Which operations would make the host wait for a device, found on a CPU."""

import traceback
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import glt

PACKAGE = Path(glt.__file__).parent

READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_consecutive"}
"""Operations whose result, or its size, the host has to know."""
DRAWS = ("_local_scalar_dense", "backbones/dropout.py")
"""Dropout on a CPU; a device draws its own."""


class Waits(TorchDispatchMode):
    """Notes them with the line of glt they come from, while :attr:`on`."""

    def __init__(self):
        super().__init__()
        self.on, self.seen = False, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if self.on and (name in READS or self._masked(name, args) or self._counted(name, function, kwargs)):
            files = [Path(frame.filename) for frame in traceback.extract_stack()]
            ours = [file.relative_to(PACKAGE).as_posix() for file in files if file.is_relative_to(PACKAGE)]
            self.seen.add((name, ours[-1] if ours else ""))
        return function(*args, **kwargs)

    @staticmethod
    def _masked(name, args):
        """Indexing with a bool mask counts what is True."""
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)

    @staticmethod
    def _counted(name, function, kwargs):
        """How long the result is, is the sum of a tensor unless it is said."""
        return name == "repeat_interleave" and kwargs.get("output_size") is None
