"""Groups of weights as sets of entries, and the best of them entry by entry."""

import math
from itertools import pairwise

import numpy as np


def units(shapes):
    """Layer by layer, the entries (name, row, column) of every unit of a stack of matrices [out, in], by name."""
    names = list(shapes)
    layers = []
    for name, after in pairwise(names):
        out = shapes[name][0]
        if out == shapes[after][1]:
            rows = [[(name, i, j) for j in range(shapes[name][1])] for i in range(out)]
            columns = [[(after, i, j) for i in range(shapes[after][0])] for j in range(out)]
            layers.append([row + column for row, column in zip(rows, columns, strict=True)])
    return layers


def features(shapes):
    name, (out, into) = next(iter(shapes.items()))
    return [[[(name, i, j) for i in range(out)] for j in range(into)]]


def blocks(shapes, size):
    layers = []
    for name, (out, into) in shapes.items():
        corners = [(i, j) for i in range(0, out, size) for j in range(0, into, size)]
        layers.append(
            [
                [(name, a, b) for a in range(i, min(i + size, out)) for b in range(j, min(j + size, into))]
                for i, j in corners
            ]
        )
    return layers


def kept(layers, order, count, entries):
    """Entries of which no group is missing among the first ``count`` of ``order``."""
    gone = {entry for place in order[count:] for entry in layers[place[0]][place[1]]}
    return entries - gone


def best(layers, scores, sparsity, pool, least=0, density=None, alive=None):
    """The entries that stay, or None where nothing fits.

    ``density``: None for the global order, else one number per layer, to which densities of groups are in proportion.
    ``least``: groups of every layer that come first.
    """
    total = sum(s.size for s in scores.values())
    everything = {(name, *at) for name, s in scores.items() for at in np.ndindex(s.shape)}
    entries = {(name, i, j) for name, i, j in everything if alive is None or alive[name][i, j]}
    budget = total - math.floor(sparsity * total + 0.5)
    value = {}
    for i, layer in enumerate(layers):
        for j, group in enumerate(layer):
            numbers = [float(scores[n][a, b]) for n, a, b in group if (n, a, b) in entries]
            if numbers:
                value[i, j] = sum(x * x if pool == "rms" else x for x in numbers) / len(numbers)
    ranked = sorted(value, key=lambda at: (-value[at], at))
    place = {}
    for i, layer in enumerate(layers):
        here = [at for at in ranked if at[0] == i]
        for rank, at in enumerate(here):
            scale = ranked.index(at) if density is None else (rank + 1) / (len(layer) * density[i])
            place[at] = (-1.0 if rank < least else scale, i, rank)
    order = sorted(place, key=place.get)
    lost = [at for i, layer in enumerate(layers) for j in range(len(layer)) if (at := (i, j)) not in value]
    best = None
    for count in range(max(1, sum(p[0] == -1.0 for p in place.values())), len(order) + 1):
        stays = kept(layers, [*order, *lost], count, everything) & entries
        if len(stays) <= budget:
            best = stays
    return best
