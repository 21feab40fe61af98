"""Input features."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from glt.granularities.base import Axes, Whole, no_groups
from glt.groups import Groups, layers_of
from glt.registry import register


@register("granularities", "feature")
class Feature(Whole):
    """An input feature: its column in all matrices of the first layer [outputs, inputs].

    The first layer is the first in the order of the model's parameters (:func:`glt.groups.layers_of`). All other
    weights stay, so that a sparsity beyond the first layer's share is an error; allocations make no difference.
    """

    def groups(self, shapes: Mapping[str, torch.Size], device: torch.device) -> Groups:
        """One group per feature."""
        first = next(iter(layers_of(shapes)), None)
        if first is None:
            raise no_groups(self.name, "there is no weight matrix")
        out, into = shapes[first[0]]
        columns = dict.fromkeys(first, torch.arange(into))
        return Axes(shapes, {}, columns, [into], [(out, into)], 1, device)
