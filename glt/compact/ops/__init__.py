"""The steps of a recorded model, one kind per file, and what each says of its channels: constant, or needed.

A value is a table [nodes, channels]. ``known`` holds a number for every channel that is the same for all nodes of
every graph, NaN for the others. Channels that are needed and not known are *kept*; the rest is never computed.
"""

from __future__ import annotations

from glt.compact.ops.add import Add
from glt.compact.ops.affine import Affine
from glt.compact.ops.attend import Attend
from glt.compact.ops.attend_dots import AttendDots
from glt.compact.ops.base import Source, Step, dense
from glt.compact.ops.concatenate import Concatenate
from glt.compact.ops.expand import Expand
from glt.compact.ops.function import FUNCTIONS, Function
from glt.compact.ops.gate import Gate
from glt.compact.ops.input import Input
from glt.compact.ops.linear import Linear
from glt.compact.ops.mix import Mix
from glt.compact.ops.opaque import Opaque
from glt.compact.ops.propagate import Propagate
from glt.compact.ops.soft_mean import SoftMean

_KINDS = (Input, Linear, Propagate, Attend, AttendDots, SoftMean, Affine, Function, Add, Gate, Concatenate, Expand, Mix)
KINDS: dict[str, type[Step]] = {kind.kind: kind for kind in _KINDS}
"""By their names in files; those that are tensors and numbers alone."""

__all__ = [
    "FUNCTIONS",
    "KINDS",
    "Add",
    "Affine",
    "Attend",
    "AttendDots",
    "Concatenate",
    "Expand",
    "Function",
    "Gate",
    "Input",
    "Linear",
    "Mix",
    "Opaque",
    "Propagate",
    "SoftMean",
    "Source",
    "Step",
    "dense",
]
