"""A model written down by running it once: every layer and function it calls, in order.

Convolutions and functions that are known become steps that can be shrunk (:mod:`glt.compact.convs`,
:mod:`glt.compact.functions`); any other is written down as it is, and called as it is later.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch_geometric.data import Data
from torch_geometric.nn import BatchNorm, LayerNorm, MessagePassing

from glt.compact.graphs import Operator
from glt.compact.ops import Input, Opaque, Step
from glt.compact.rules import rules
from glt.forward import OPTIONS, arguments_of, evaluation

GIVEN = ("edge_index", *OPTIONS)


class NotRecordable(Exception):
    """The model does something that cannot be written down.

    Attributes:
        module: the innermost module that does it; None where no module is to blame.
    """

    module: nn.Module | None = None


class Record(TorchFunctionMode):
    """The steps of ``model`` on ``data``; steps refer to each other by number.

    Args:
        model: is called once.
        data: its graph.
        whole: modules that are not looked into: they are called as they are.

    Attributes:
        steps: in the order of calls; the first is the input.
        output: number of the step that gives the logits.
        operators: the graph operators that steps refer to.
        logits: what the model gave, float [nodes, classes].

    Raises:
        NotRecordable: see there; the model's own errors pass.
    """

    def __init__(self, model: nn.Module, data: Data, whole: Collection[nn.Module] = ()) -> None:
        super().__init__()
        (x, edge_index), options = arguments_of(model, data, plain=True)
        self.nodes = x.size(0)
        self.operators: list[Operator] = []
        self.steps: list[Step] = [Input((), x.size(1), "features")]
        own = [*model.named_buffers(remove_duplicate=False), *model.named_parameters(remove_duplicate=False)]
        self._names = {id(tensor): name for name, tensor in own}
        self._layers = {id(m): name or type(m).__name__ for name, m in model.named_modules()}
        self._values = {id(x): 0}
        self._alive: list[Any] = [x]
        self._given = {id(edge_index): "edge_index", **{id(v): k for k, v in options.items()}}
        self._paused = False
        with torch.no_grad(), evaluation(model), _layers_wrapped(model, self, whole), self:
            self.logits: Tensor = model(x, edge_index, **options)
        if id(self.logits) not in self._values or self.logits.dim() != 2:
            raise NotRecordable("its output does not come from its features")
        self.output = self._values[id(self.logits)]

    # what rules use

    def value(self, tensor: Any) -> int | None:
        """The step that gave ``tensor``, if it is a table [nodes, channels]."""
        value = self._values.get(id(tensor))
        if value is None or tensor.dim() != 2 or tensor.size(0) != self.nodes or not tensor.is_floating_point():
            return None
        return value

    def emit(self, step: Step) -> int:
        """Add a step; its number."""
        self.steps.append(step)
        return len(self.steps) - 1

    def bind(self, tensor: Tensor, value: int) -> None:
        """From now on ``tensor`` is the value of that step."""
        self._values[id(tensor)] = value
        self._alive.append(tensor)  # an id is of its object as long as that lives

    def operator(self, operator: Operator) -> int:
        """Number of a graph operator."""
        if operator not in self.operators:
            self.operators.append(operator)
        return self.operators.index(operator)

    def is_graph(self, edge_index: Any, edge_weight: Any = None) -> bool:
        """Whether these are the graph's own arcs, and its own weights or none."""
        weight = edge_weight is None or self._given.get(id(edge_weight)) == "edge_weight"
        return weight and self._given.get(id(edge_index)) == "edge_index"

    def constant(self, tensor: Any) -> bool:
        """Whether this is a tensor that does not come from features or graph."""
        return isinstance(tensor, Tensor) and id(tensor) not in self._values and id(tensor) not in self._given

    def name_of(self, thing: Any) -> str:
        """A parameter's, a buffer's or a module's name in the model."""
        return self._names.get(id(thing)) or self._layers.get(id(thing)) or ""

    def own(self, *places: tuple[Any, int]) -> tuple[tuple[str, int], ...] | None:
        """(name, dimension) of (tensor or None, dimension); None if a tensor is not the model's own as it is."""
        named = [(self._names.get(id(tensor), ""), dim) for tensor, dim in places if tensor is not None]
        return tuple(named) if all(name for name, _ in named) else None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Nothing is written down within the block."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    # what is called while the model runs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from glt.compact.functions import rule_of

        kwargs = kwargs or {}
        if self._paused or not any(self._follows(leaf) for leaf in tree_flatten((args, kwargs))[0]):
            return func(*args, **kwargs)
        before = [(leaf, leaf._version) for leaf in tree_flatten((args, kwargs))[0] if self._follows(leaf)]
        taken = {id(leaf): self._values[id(leaf)] for leaf, _ in before if id(leaf) in self._values}
        with self.pause():
            out = func(*args, **kwargs)
            changed = [leaf for leaf, version in before if leaf._version != version]
            if not isinstance(out, Tensor):
                if changed or any(isinstance(leaf, Tensor) for leaf in tree_flatten(out)[0]):
                    raise NotRecordable(f"{_called(func)} gives several tensors or writes into one")
                return out
            rule = rule_of(func)
            try:
                value = rule(self, out, *args, **kwargs) if rule else None
            except TypeError:  # arguments that the rule does not take
                value = None
            if value is None:
                if changed:
                    raise NotRecordable(f"{_called(func)} writes into a tensor")
                why = f"the function {_called(func)} is not known"
                value = self.opaque(func, _called(func), why, out, args, kwargs, taken)
        self.bind(out, value)
        return out

    def layer(self, module: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A convolution, or a module that is not looked into, is called."""
        if self._paused:
            return original(*args, **kwargs)
        rule = rules().get(type(module))
        count, value = len(self.steps), None
        if rule is not None:
            try:
                value = rule(self, module, **_by_name(original, args, kwargs))
            except TypeError:  # arguments that the rule does not take
                value = None
            if value is None:
                del self.steps[count:]
        with self.pause():
            out = original(*args, **kwargs)
            if not isinstance(out, Tensor):
                raise NotRecordable(f"layer {self.name_of(module)!r} gives something else than a tensor")
            if value is None:
                kind = type(module).__name__
                why = f"{kind} is used with options that have no exact rule" if rule else f"there is no rule for {kind}"
                value = self.opaque(module, self.name_of(module), why, out, args, kwargs)
        self.bind(out, value)
        return out

    def opaque(
        self,
        function: Callable[..., Any],
        name: str,
        why: str,
        out: Tensor,
        args: Any,
        kwargs: Any,
        taken: dict[int, int] | None = None,
    ) -> int:
        """Write a call down as it is."""
        leaves, form = tree_flatten((args, kwargs))
        numbers = taken if taken is not None else self._values
        places = [numbers.get(id(leaf)) if isinstance(leaf, Tensor) else None for leaf in leaves]
        inputs = [place for place in places if place is not None]
        given = [self._given.get(id(leaf)) if isinstance(leaf, Tensor) else None for leaf in leaves]
        kept = [
            None if place is not None or name else leaf.detach().clone() if isinstance(leaf, Tensor) else leaf
            for leaf, place, name in zip(leaves, places, given, strict=True)
        ]

        def call(values: list[Any], graph: dict[str, Tensor]) -> tuple[Any, Any]:
            rest = iter(values)
            filled = [
                next(rest) if place is not None else graph[name] if name else leaf
                for leaf, place, name in zip(kept, places, given, strict=True)
            ]
            args, kwargs = tree_unflatten(filled, form)
            return args, kwargs

        step = Opaque(inputs, out.size(1) if self._table(out) else 1, name)
        step.layer, step.function = (function, None) if isinstance(function, nn.Module) else (None, function)
        step.call, step.why = call, why
        step.widths = [self.steps[i].width for i in inputs]
        return self.emit(step)

    def _table(self, out: Tensor) -> bool:
        return out.dim() == 2 and out.size(0) == self.nodes and out.is_floating_point()

    def _follows(self, leaf: Any) -> bool:
        return isinstance(leaf, Tensor) and (id(leaf) in self._values or id(leaf) in self._given)


def recorded(model: nn.Module, data: Data) -> Record:
    """The steps of ``model``; the smallest modules that cannot be written down are called as they are.

    So are PyG's normalisations over nodes, function by function of which would be nothing but a long report.

    Raises:
        NotRecordable: the model itself is such a module.
    """
    whole = [module for module in model.modules() if _of_all_nodes(module)]
    while True:
        try:
            return Record(model, data, whole)
        except NotRecordable as error:
            if error.module is None or error.module is model:
                raise
            whole.append(error.module)


def _of_all_nodes(module: nn.Module) -> bool:
    """Whether it is one of PyG's normalisations that have no rule."""
    ours = type(module) is BatchNorm or (type(module) is LayerNorm and module.mode == "node")
    return type(module).__module__.startswith("torch_geometric.nn.norm.") and not ours


@contextmanager
def _layers_wrapped(model: nn.Module, record: Record, whole: Collection[nn.Module]) -> Iterator[None]:
    """Within the block every convolution, and what is in ``whole``, asks ``record`` what to do."""
    modules = list(model.modules())
    for module in modules:
        layer = isinstance(module, MessagePassing) or module in whole

        def forward(
            *args: Any, _module: Any = module, _original: Any = module.forward, _layer: bool = layer, **kwargs: Any
        ) -> Any:
            try:
                return record.layer(_module, _original, args, kwargs) if _layer else _original(*args, **kwargs)
            except NotRecordable as error:
                if error.module is None and _module not in whole:
                    error.module = _module
                raise

        module.forward = forward  # on the object alone, and for the length of the block
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _by_name(forward: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Arguments of a convolution as :func:`glt.compact.rules.lowers` says."""
    given = inspect.signature(forward).bind(*args, **kwargs).arguments
    x = given.get("x")
    if isinstance(x, tuple) and len(x) == 2 and x[0] is x[1]:
        given["x"] = x[0]
    return {name: argument for name, argument in given.items() if argument is not None}


def _called(function: Any) -> str:
    return getattr(function, "__name__", str(function))
