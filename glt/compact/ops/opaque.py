"""What was left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glt.compact.graphs import Prepared
from glt.compact.ops.base import Source, Step, dense


class Opaque(Step):
    """A call that was left alone: a layer or function, with its arguments as they were, values in their places.

    Attributes:
        layer, function: what is called; one of them.
        call: (values of the inputs, the graph's tensors) -> (args, kwargs).
        widths: channels of the inputs.
        why: why it was left alone.
    """

    kind = "opaque"
    layer: nn.Module | None
    function: Callable[..., Any] | None
    call: Callable[..., tuple[Any, Any]]
    widths: list[int]
    why: str

    def again(self, inputs: Sequence[int] | None = None, **changed: Any) -> Step:
        other = Opaque(self.inputs if inputs is None else inputs, self.width, self.name, **self.options)
        other.layer, other.function, other.call = self.layer, self.function, self.call
        other.widths, other.why = self.widths, self.why
        return other

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        return [torch.ones(width, dtype=torch.bool) for width in self.widths]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        return self.again([source.fit(need) for source, need in zip(sources, self.needs(kept, []), strict=True)])

    def run(self, graph: Prepared, *values: Any) -> Any:
        args, kwargs = self.call([dense(value) for value in values], graph.given)
        called: Any = self.layer if self.layer is not None else self.function
        return called(*args, **kwargs)
