"""Step: what all kinds of steps have in common, and what one sees of its inputs while a program is shrunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from glt.compact.checks import check_places, is_whole, need
from glt.compact.graphs import Csr, Prepared


class Source:
    """An input of a step while the program is shrunk.

    Attributes:
        kept: bool [channels]; what is computed of it.
        known: float [channels]; see the package.
        id: the step that gives the kept channels in the new program.
        fit: from channels, bool, to the step that gives those, constants among them.
    """

    def __init__(self, kept: Tensor, known: Tensor, id: int, fit: Callable[[Tensor], int]) -> None:
        self.kept, self.known, self.id, self.fit = kept, known, id, fit


class Step(nn.Module, ABC):
    """One step; its tensors are buffers.

    Attributes:
        kind: its name in files.
        work: whether it multiplies with weights or with the graph, and so costs what :meth:`macs` says.
        inputs: the steps whose values it takes.
        width: channels of its value.
        name: the layer or parameter it came from, for people.
        options: what else it needs, as JSON.
        along, across: of a recorded step, the model's own tensors along its channels and along its input's, each with
            the dimension; along None: it computes with something else than the model's own tensors as they are.
    """

    kind: ClassVar[str]
    along: tuple[tuple[str, int], ...] | None = None
    across: tuple[tuple[str, int], ...] = ()
    work: ClassVar[Literal["", "weights", "propagation"]] = ""
    optional: ClassVar[tuple[str, ...]] = ()
    """Tensors that may be missing."""
    overwrites: ClassVar[bool] = False
    """Whether the option ``inplace`` lets it write into its first input."""

    def __init__(
        self,
        inputs: Sequence[int] = (),
        width: int = 0,
        name: str = "",
        tensors: Mapping[str, Tensor | None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.inputs, self.width, self.name, self.options = tuple(inputs), width, name, options
        for key, tensor in (tensors or {}).items():
            self.register_buffer(key, None if tensor is None else tensor.detach().contiguous())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return dict(self.named_buffers())

    @property
    def derived(self) -> list[Tensor]:
        """Tensors that it made from these for a device."""
        return []

    def again(self, inputs: Sequence[int] | None = None, **changed: Any) -> Step:
        """The same step with other inputs, tensors or options."""
        tensors = {k: changed.pop(k, v) for k, v in self._buffers.items()}
        width = changed.pop("width", self.width)
        step = type(self)(self.inputs if inputs is None else inputs, width, self.name, tensors)
        step.options = {**self.options, **changed}
        return step

    def known(self, known: list[Tensor]) -> Tensor:
        """Constant channels, from those of the inputs."""
        return nothing(self.width)

    def needs(self, kept: Tensor, known: list[Tensor]) -> list[Tensor]:
        """Bool [channels] per input: what the ``kept`` channels depend on, where the inputs are ``known`` so far."""
        return [kept for _ in self.inputs]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        """The step for ``kept`` alone, or the step whose value it equals."""
        return self.again([source.fit(kept) for source in sources], width=int(kept.sum()))

    def macs(self, graph: Prepared, x: Any = None) -> int:
        """Multiply-adds of its kernel on a graph; ``x`` is its input where that is the features."""
        return 0

    @abstractmethod
    def run(self, graph: Prepared, *values: Any) -> Any:
        """The value."""

    # in files

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and options as a file holds them."""
        return self.tensors, {k: v for k, v in self.options.items() if k != "inplace"}  # which follows from the readers

    @classmethod
    def unpacked(cls, entry: Mapping[str, Any], tensors: Mapping[str, Tensor], widths: Sequence[int]) -> Step:
        """The step that was :meth:`packed`, of inputs of these widths.

        Raises:
            ValueError: it is inconsistent.
        """
        own = {**dict.fromkeys(cls.optional), **tensors}
        return cls(entry["inputs"], entry["width"], entry["name"], own, **entry["options"])

    def check(self, widths: Sequence[int], operators: int) -> None:
        """Of a step from a file: whether it can run on inputs of these widths and so many graph operators.

        Raises:
            ValueError: it cannot.
        """
        need(list(widths) == [self.width], f"{self.kind} {self.width} wide reads {list(widths)}")
        need(self.work != "propagation" or self._reads(operators), f"{self.kind} reads an operator that is not there")

    def _reads(self, operators: int) -> bool:
        return is_whole(self.options.get("graph"), 0, operators)

    def _has(self, name: str, *shape: int) -> bool:
        """Whether that tensor is there, which then has to be floats of this shape."""
        tensor = self._buffers.get(name)
        fine = tensor is None or (tensor.is_floating_point() and tensor.shape == shape)
        need(fine, f"{name} of {self.kind} is not {' x '.join(map(str, shape))} numbers")
        return tensor is not None

    def _places(self, name: str, below: int) -> int:
        """How many places a tensor holds; as many as there are, where it is not there."""
        tensor = self._buffers.get(name)
        if tensor is None:
            return below
        check_places(tensor, below, f"{name} of {self.kind}")
        return tensor.numel()


def nothing(width: int) -> Tensor:
    """No channel is constant: NaN [width]."""
    return torch.full((width,), float("nan"))


def dense(x: Any) -> Any:
    """Dense features; a no-op for anything but sparse ones."""
    return x.tensor.to_dense() if isinstance(x, Csr) else x
