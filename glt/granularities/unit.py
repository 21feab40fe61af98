"""Hidden units."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from glt.granularities.base import Axes, Whole, no_groups
from glt.groups import Groups, layers_of
from glt.registry import register


@register("granularities", "unit")
class Unit(Whole):
    """A hidden unit: its row in a layer [outputs, inputs] and its column in the next one, which both go.

    With its column gone nothing reads the unit, whatever its bias, attention or normalisation make of it: the model
    without it gives the same logits, unless a skip connection reads it too. So biases are neither pruned nor counted.

    Layers are taken in the order of the model's parameters (:func:`glt.groups.layers_of`). Rows are hidden units
    where the next layer has as many inputs; other rows, those of the last layer (the classes) among them, are never
    taken. In a GAT a unit is one channel of one head. A weight between two units stays if both do. Every layer
    keeps its best unit.

    Where weights are projected while they train (``project_weights``, TEDDY) single weights may return. A unit whose
    row and column are zero has no gradient and does not, but for the optimiser's momentum: the first steps settle
    which units stay. Pruning after training (``imp``, ``oneshot``) looks at trained ones.
    """

    def groups(self, shapes: Mapping[str, torch.Size], device: torch.device) -> Groups:
        """One group per unit."""
        layers = layers_of(shapes)
        rows: dict[str, Tensor] = {}
        columns: dict[str, Tensor] = {}
        sizes: list[int] = []
        widths: list[tuple[int, int]] = []
        for layer, after in pairwise(layers):
            out, into = shapes[layer[0]]
            if out != shapes[after[0]][1]:
                continue
            ids = torch.arange(out) + sum(sizes)
            rows |= dict.fromkeys(layer, ids)
            columns |= dict.fromkeys(after, ids)
            sizes.append(out)
            widths.append((out, into))
        if not sizes:
            raise no_groups(self.name, "no layer has as many outputs as the next one has inputs")
        return Axes(shapes, rows, columns, sizes, widths, 1, device)
