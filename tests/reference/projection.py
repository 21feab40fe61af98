"""Projection on the l0 ball by sorting all weights."""

import math

import numpy as np


def project(weights, sparsity):
    """Copies of ``weights`` (list of arrays), all but the largest absolute values set to zero.

    ``floor(sparsity * n + 1/2)`` of the n entries go; among equal ones those that come last go first.
    """
    entries = [(abs(value), -i) for i, value in enumerate(np.concatenate([w.ravel() for w in weights]).tolist())]
    gone = {-i for _, i in sorted(entries)[: math.floor(sparsity * len(entries) + 0.5)]}
    out, start = [], 0
    for weight in weights:
        flat = [0.0 if start + i in gone else value for i, value in enumerate(weight.ravel().tolist())]
        out.append(np.array(flat, dtype=weight.dtype).reshape(weight.shape))
        start += weight.size
    return out
