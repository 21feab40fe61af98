"""The steps of a recorded model, and what each says of its channels: which are constant, which are needed.

A value is a table [nodes, channels]. ``known`` holds a number for every channel that is the same for all nodes of
every graph, NaN for the others. Channels that are needed and not known are *kept*; the rest is never computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.utils import softmax

from glt.compact.graphs import Csr, Prepared, multiply, multiply_rows


class Source:
    """An input of a step while the program is shrunk.

    Attributes:
        kept: bool [channels]; what is computed of it.
        known: float [channels]; see above.
        id: the step that gives the kept channels in the new program.
    """

    def __init__(self, kept: Tensor, known: Tensor, id: int, fit: Callable[[Tensor], int]) -> None:
        self.kept, self.known, self.id, self.fit = kept, known, id, fit


class Step(nn.Module):
    """One step; its tensors are buffers.

    Attributes:
        kind: its name in files.
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
    optional: ClassVar[tuple[str, ...]] = ()
    """Tensors that may be missing."""

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

    def again(self, inputs: Sequence[int] | None = None, **changed: Any) -> Step:
        """The same step with other inputs, tensors or options."""
        tensors = {k: changed.pop(k, v) for k, v in self._buffers.items()}
        width = changed.pop("width", self.width)
        step = type(self)(self.inputs if inputs is None else inputs, width, self.name, tensors)
        step.options = {**self.options, **changed}
        return step

    def known(self, known: list[Tensor]) -> Tensor:
        """Constant channels, from those of the inputs."""
        return _nothing(self.width)

    def needs(self, kept: Tensor) -> list[Tensor]:
        """Bool [channels] per input: what the ``kept`` channels depend on."""
        return [kept for _ in self.inputs]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        """The step for ``kept`` alone, or the step whose value it equals."""
        return self.again([source.fit(kept) for source in sources], width=int(kept.sum()))

    def run(self, graph: Prepared, *values: Any) -> Any:
        """The value."""
        raise NotImplementedError


def _nothing(width: int) -> Tensor:
    return torch.full((width,), float("nan"))


class Input(Step):
    """The node features, of which ``columns`` are read."""

    kind = "input"

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        columns = self.get_buffer("columns") if "columns" in self._buffers else torch.arange(self.width)
        return Input((), int(kept.sum()), self.name, {"columns": columns[kept]})

    def run(self, graph: Prepared, *values: Any) -> Any:
        return values[0]


class Linear(Step):
    """x W^T + b; W [out, in] is dense, or kept as CSR (``form`` says)."""

    kind = "linear"
    optional = ("bias",)
    weight: Tensor
    bias: Tensor | None

    def known(self, known: list[Tensor]) -> Tensor:
        varies = known[0].isnan()
        value = self.weight @ known[0].nan_to_num(0.0).to(self.weight)
        value = value if self.bias is None else value + self.bias
        return torch.where((self.weight[:, varies] != 0).any(1), float("nan"), value)

    def needs(self, kept: Tensor) -> list[Tensor]:
        return [(self.weight[kept] != 0).any(0)]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        (source,) = sources
        rows, bias = self.weight[kept], None if self.bias is None else self.bias[kept]
        constant = rows @ torch.where(source.kept, 0.0, source.known.nan_to_num(0.0)).to(rows)
        if bool(constant.any()):
            bias = constant if bias is None else bias + constant
        if bias is not None and not bool(bias.any()):
            bias = None
        return self.again([source.id], width=rows.size(0), weight=rows[:, source.kept], bias=bias)

    def stored(self, form: str, transposed: bool = False) -> Linear:
        """The same step with its weight in another form: ``dense``, for sparse features transposed, or ``csr``."""
        if form == "dense":
            weight = self.weight.t() if transposed else self.weight
            tensors: dict[str, Tensor | None] = {"weight": weight, "bias": self.bias}
            return Linear(self.inputs, self.width, self.name, tensors, form=form, transposed=transposed)
        packed = Csr.of(self.weight)
        tensors = {"ptr": packed.ptr, "index": packed.index, "values": packed.values, "bias": self.bias}
        return Linear(self.inputs, self.width, self.name, tensors, form=form, columns=packed.columns)

    def run(self, graph: Prepared, *values: Any) -> Any:
        (x,) = values
        if self.options.get("form") == "csr":
            weight = Csr(
                self.get_buffer("ptr"), self.get_buffer("index"), self.get_buffer("values"), self.options["columns"]
            )
            x, plain = dense(x), graph.multiply is not multiply
            out = graph.multiply(weight, x.t().contiguous()).t() if plain else multiply_rows(weight, x)
            return out if self.bias is None else out.add_(self.bias)
        if isinstance(x, Csr):
            out = graph.multiply(x, self.weight if self.options.get("transposed") else self.weight.t().contiguous())
            return out if self.bias is None else out.add_(self.bias)
        return F.linear(x, self.weight.t() if self.options.get("transposed") else self.weight, self.bias)


class Propagate(Step):
    """A x, where A is operator number ``graph``."""

    kind = "propagate"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[0] == 0, 0.0, float("nan"))

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = values[0]
        return graph.multiply(graph.operators[self.options["graph"]], dense(x))


class Attend(Step):
    """Attention per head over the entries of operator ``graph``: softmax(leaky_relu(s[source] + d[target])) h.

    Inputs: s and d [nodes, heads], h [nodes, sum of ``sizes``], where ``sizes`` are the channels of each head.

    Attributes:
        vectors: of a recorded step, the model's own vectors [1, heads, channels] that s and d are made with.
    """

    kind = "attend"
    vectors: tuple[str, ...] = ()

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[2] == 0, 0.0, float("nan"))

    def _heads(self, kept: Tensor) -> list[int]:
        return [int(part.sum()) for part in kept.split(self.options["sizes"])]

    def needs(self, kept: Tensor) -> list[Tensor]:
        heads = torch.tensor([size > 0 for size in self._heads(kept)])
        return [heads, heads, kept]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        sizes = [size for size in self._heads(kept) if size]
        inputs = [source.fit(need) for source, need in zip(sources, self.needs(kept), strict=True)]
        return self.again(inputs, width=int(kept.sum()), sizes=sizes)

    def run(self, graph: Prepared, *values: Any) -> Any:
        s, d, h = values
        arcs = graph.operators[self.options["graph"]]
        logits = F.leaky_relu(s[arcs.index] + d[arcs.target], self.options["slope"])
        plain = graph.multiply is not multiply
        alpha = attention(logits, arcs.target, graph.rows) if plain else softmax(logits, ptr=arcs.ptr)
        parts = [
            graph.multiply(Csr(arcs.ptr, arcs.index, weights.contiguous(), arcs.columns), features.contiguous())
            for weights, features in zip(alpha.unbind(1), h.split(self.options["sizes"], dim=1), strict=True)
        ]
        return torch.cat(parts, dim=1)


def attention(logits: Tensor, target: Tensor, rows: int) -> Tensor:
    """Softmax of [arcs, heads] over each target, in operators that every exporter has."""
    place = target.unsqueeze(1).expand_as(logits)
    top = logits.new_full((rows, logits.size(1)), float("-inf")).scatter_reduce(0, place, logits, "amax")
    weights = (logits - top.gather(0, place)).exp()
    total = logits.new_zeros(rows, logits.size(1)).scatter_add(0, place, weights)
    return weights / (total.gather(0, place) + 1e-16)


class Affine(Step):
    """x * scale + shift, channel by channel; either may be missing."""

    kind = "affine"
    optional = ("scale", "shift")
    scale: Tensor | None
    shift: Tensor | None

    def known(self, known: list[Tensor]) -> Tensor:
        value = known[0] if self.scale is None else torch.where(self.scale == 0, 0.0, known[0] * self.scale)
        return value if self.shift is None else value + self.shift

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        parts = {k: None if v is None else v[kept] for k, v in self._buffers.items()}
        return self.again([sources[0].fit(kept)], width=int(kept.sum()), **parts)

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.scale is not None:
            x = x * self.scale
        if self.shift is None:
            return x
        return x.add_(self.shift) if self.options.get("inplace") or self.scale is not None else x + self.shift


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": torch.relu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "selu": F.selu,
    "relu6": F.relu6,
    "softplus": F.softplus,
}


class Function(Step):
    """An activation, number by number: ``function`` of :data:`FUNCTIONS` with ``arguments``."""

    kind = "function"

    def _call(self, x: Tensor) -> Tensor:
        return FUNCTIONS[self.options["function"]](x, **self.options["arguments"])

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.where(known[0].isnan(), float("nan"), self._call(known[0].nan_to_num(0.0)))

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.options["function"] == "relu" and self.options.get("inplace"):
            return x.relu_()
        return self._call(x)


class Add(Step):
    """The sum of its inputs and ``shift``; input i gives the channels ``take_i`` of it to the channels ``put_i``."""

    kind = "add"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.stack(known).sum(0)

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        constant = torch.stack([torch.where(s.kept, 0.0, s.known.nan_to_num(0.0)) for s in sources]).sum(0)[kept]
        shift = constant if bool(constant.any()) else None
        tensors: dict[str, Tensor | None] = {"shift": shift}
        inputs: list[int] = []
        for source in sources:
            shared = kept & source.kept
            if not bool(shared.any()):
                continue
            i = len(inputs)
            if not torch.equal(shared, source.kept):
                tensors[f"take_{i}"] = shared[source.kept].nonzero().squeeze(1)
            if not torch.equal(shared, kept):
                tensors[f"put_{i}"] = shared[kept].nonzero().squeeze(1)
            inputs.append(source.id)
        if len(inputs) == 1 and shift is None and len(tensors) == 1:
            return inputs[0]
        return Add(inputs, int(kept.sum()), self.name, tensors)

    def run(self, graph: Prepared, *values: Any) -> Any:
        total: Any = None
        parts = [dense(value) for value in values]
        for i, part in enumerate(parts):
            if f"take_{i}" in self._buffers:
                part = part.index_select(1, self.get_buffer(f"take_{i}"))
            if f"put_{i}" in self._buffers:
                base = part.new_zeros(part.size(0), self.width) if total is None else total
                total = base.index_add(1, self.get_buffer(f"put_{i}"), part)
            else:
                total = part if total is None else total + part
        shift = self._buffers.get("shift")
        return total if shift is None else total + shift


class Concatenate(Step):
    """Its inputs' channels one after the other; ``sizes`` of each."""

    kind = "concatenate"

    def known(self, known: list[Tensor]) -> Tensor:
        return torch.cat(known)

    def needs(self, kept: Tensor) -> list[Tensor]:
        return list(kept.split(self.options["sizes"]))

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        parts = [(source, part) for source, part in zip(sources, self.needs(kept), strict=True) if bool(part.any())]
        inputs, sizes = [source.fit(part) for source, part in parts], [int(part.sum()) for _, part in parts]
        return inputs[0] if len(inputs) == 1 else self.again(inputs, width=sum(sizes), sizes=sizes)

    def run(self, graph: Prepared, *values: Any) -> Any:
        return torch.cat([dense(value) for value in values], dim=1)


class Expand(Step):
    """A row of constants for every node, with channels ``take`` of the input written to ``put``."""

    kind = "expand"
    row: Tensor

    def run(self, graph: Prepared, *values: Any) -> Any:
        if values and "put" not in self._buffers:
            return dense(values[0]).index_select(1, self.get_buffer("take"))
        full = self.row.expand(graph.rows, -1)
        if not values:
            return full.contiguous()
        x = dense(values[0])
        x = x.index_select(1, self.get_buffer("take")) if "take" in self._buffers else x
        return full.index_copy(1, self.get_buffer("put"), x)


class Mix(Step):
    """A function of all channels of a node: ``log_softmax``, ``softmax``, ``layer_norm``."""

    kind = "mix"

    def needs(self, kept: Tensor) -> list[Tensor]:
        return [torch.ones(self.width, dtype=torch.bool)]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        return self.again([sources[0].fit(torch.ones(self.width, dtype=torch.bool))])

    def run(self, graph: Prepared, *values: Any) -> Any:
        x = dense(values[0])
        if self.options["function"] == "layer_norm":
            weight, bias = self._buffers.get("weight"), self._buffers.get("bias")
            return F.layer_norm(x, (self.width,), weight, bias, self.options["eps"])
        return getattr(torch, self.options["function"])(x, dim=-1)


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

    def needs(self, kept: Tensor) -> list[Tensor]:
        return [torch.ones(width, dtype=torch.bool) for width in self.widths]

    def shrunk(self, kept: Tensor, sources: list[Source]) -> Step | int:
        return self.again([source.fit(need) for source, need in zip(sources, self.needs(kept), strict=True)])

    def run(self, graph: Prepared, *values: Any) -> Any:
        args, kwargs = self.call([dense(value) for value in values], graph.given)
        called: Any = self.layer if self.layer is not None else self.function
        return called(*args, **kwargs)


def dense(x: Any) -> Any:
    """Dense features; a no-op for anything but sparse ones."""
    return x.tensor.to_dense() if isinstance(x, Csr) else x


KINDS = {
    kind.kind: kind for kind in (Input, Linear, Propagate, Attend, Affine, Function, Add, Concatenate, Expand, Mix)
}
