"""Equal programs of other cost: which product comes first, and what is folded into what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from glt.compact.graphs import Operator
from glt.compact.ops import Affine, Input, Linear, Opaque, Propagate, Step

Rewrite = Callable[["Program"], bool]


class Program:
    """Steps and the number of the output, with what rewriting needs to know."""

    def __init__(self, steps: list[Step], output: int) -> None:
        self.steps, self.output = list(steps), output

    def readers(self, i: int) -> int:
        """How many inputs, or the output, are the value of step ``i``."""
        return sum(step.inputs.count(i) for step in self.steps) + (self.output == i)

    def sole(self, i: int, kind: type[Step]) -> bool:
        """Whether step ``i`` is of that kind and has one reader."""
        return isinstance(self.steps[i], kind) and self.readers(i) == 1

    def insert(self, at: int, step: Step) -> None:
        """Put ``step`` before step ``at``; later ones move up."""
        self.steps = [s.again([i + (i >= at) for i in s.inputs]) if _moves(s, at) else s for s in self.steps]
        self.output += self.output >= at
        self.steps.insert(at, step)


def _moves(step: Step, at: int) -> bool:
    return any(i >= at for i in step.inputs)


def weights_first(program: Program) -> None:
    """(A x) W + b becomes A (x W) + b: constants and dead channels are seen through products with weights alone."""

    def after_graph(p: Program, i: int) -> bool:
        return isinstance(p.steps[i], Linear) and p.sole(p.steps[i].inputs[0], Propagate)

    while (i := _find(program, after_graph)) is not None:
        linear = program.steps[i]
        middle = linear.inputs[0]
        graph = program.steps[middle]
        bias = linear._buffers["bias"]
        program.steps[middle] = linear.again(graph.inputs, bias=None)
        program.steps[i] = graph.again([middle], width=linear.width)
        if bias is not None:
            _after(program, i, Affine([i], linear.width, "", {"scale": None, "shift": bias}))


def narrow_first(program: Program, sparse: bool = True) -> None:
    """A (x W) becomes (A x) W where x is narrower than x W, unless x is the features and those are ``sparse``."""

    def wide(p: Program, i: int) -> bool:
        if not isinstance(p.steps[i], Propagate) or not p.sole(p.steps[i].inputs[0], Linear):
            return False
        linear = p.steps[p.steps[i].inputs[0]]
        source = p.steps[linear.inputs[0]]
        if sparse and source.kind == "input":
            return False
        return linear._buffers["bias"] is None and source.width < linear.width

    while (i := _find(program, wide)) is not None:
        graph = program.steps[i]
        middle = graph.inputs[0]
        linear = program.steps[middle]
        program.steps[middle] = graph.again(linear.inputs, width=program.steps[linear.inputs[0]].width)
        program.steps[i] = linear.again([middle])


def fold(program: Program) -> None:
    """Scales go into the weights before them, also through a product with the graph; shifts into biases."""

    def foldable(p: Program, i: int) -> bool:
        step = p.steps[i]
        if not isinstance(step, Affine):
            return False
        j = step.inputs[0]
        if p.sole(j, Linear) or p.sole(j, Affine):
            return True
        return step.scale is not None and p.sole(j, Propagate) and p.sole(p.steps[j].inputs[0], Linear)

    while (i := _find(program, foldable)) is not None:
        step = program.steps[i]
        j = step.inputs[0]
        scale, shift = step._buffers["scale"], step._buffers["shift"]
        below = program.steps[j]
        if isinstance(below, Affine):
            one, two = below._buffers["scale"], below._buffers["shift"]
            program.steps[i] = step.again(
                below.inputs, scale=_product(one, scale), shift=_plus(_times(two, scale), shift)
            )
            program.steps[j] = below.again([])  # nobody reads it
            _drop(program, j)
        elif isinstance(below, Linear):
            program.steps[j] = _scaled(below, scale, shift)
            _bypass(program, i, j)
        else:
            k = below.inputs[0]
            program.steps[k] = _scaled(program.steps[k], scale, None)
            program.steps[i] = step.again(scale=None)
            if shift is None:
                _bypass(program, i, j)


def used(program: Program, operators: Sequence[Operator]) -> list[Operator]:
    """The graph operators that a step still reads; steps refer to them by their new numbers."""
    numbers = [step.options.get("graph") for step in program.steps]
    kept = sorted({number for number in numbers if number is not None})
    for i, number in enumerate(numbers):
        if number is not None:
            program.steps[i] = program.steps[i].again(graph=kept.index(number))
    return [operators[number] for number in kept]


def in_place(program: Program) -> None:
    """Let steps write into what nobody else reads."""
    for i, step in enumerate(program.steps):
        if step.overwrites and step.inputs:
            source = step.inputs[0]
            fresh = not isinstance(program.steps[source], (Input, Opaque))
            program.steps[i] = step.again(inplace=fresh and program.readers(source) == 1)


def _scaled(linear: Step, scale: Tensor | None, shift: Tensor | None) -> Step:
    weight, bias = linear._buffers["weight"], linear._buffers["bias"]
    weight = weight if scale is None or weight is None else weight * scale.unsqueeze(1)
    return linear.again(weight=weight, bias=_plus(_times(bias, scale), shift))


def _times(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None or a is None else a * b


def _product(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a * b


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _find(program: Program, wanted: Callable[[Program, int], bool]) -> int | None:
    return next((i for i in range(len(program.steps)) if wanted(program, i)), None)


def _after(program: Program, i: int, step: Step) -> None:
    """Put ``step``, which reads ``i``, behind step ``i``: all others that read ``i`` read it instead."""
    program.insert(i + 1, step)
    for n, other in enumerate(program.steps):
        if n != i + 1 and i in other.inputs:
            program.steps[n] = other.again([i + 1 if j == i else j for j in other.inputs])
    program.output = i + 1 if program.output == i else program.output


def _bypass(program: Program, i: int, j: int) -> None:
    """All that read ``i`` read ``j`` instead; ``i`` goes."""
    for n, other in enumerate(program.steps):
        if i in other.inputs:
            program.steps[n] = other.again([j if k == i else k for k in other.inputs])
    program.output = j if program.output == i else program.output
    _drop(program, i)


def _drop(program: Program, i: int) -> None:
    del program.steps[i]
    program.steps = [s.again([j - (j > i) for j in s.inputs]) if _moves(s, i) else s for s in program.steps]
    program.output -= program.output > i
