"""Sparse products, one kernel a file; :mod:`glt.kernels.choice` decides which of them computes."""

from glt.kernels.choice import chosen, recording, use

__all__ = ["chosen", "recording", "use"]
